//! A person decides about ports, and floating IPs, that the store does not know.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use prismnet_model::{Orphan, PortId};
use tokio::time::Instant;

use super::{
    deadline::until,
    known::{Local, StoreState},
    ports::blocking,
    refusal::Refusal,
    verdicts::Verdict,
};
use crate::kernel::far;

/// All that nobody has decided about.
#[must_use]
pub fn list(local: &Local) -> Vec<Orphan> {
    let all = local.outcomes.all.lock();
    all.values()
        .flat_map(|outcome| outcome.orphans.clone())
        .collect()
}

/// It stays, and is no longer listed.
///
/// # Errors
/// If it is no orphan.
pub async fn adopt(local: &Local, port: PortId, end: Instant) -> Result<(), Refusal> {
    if local.verdicts.get(port) == Some(Verdict::Adopted) {
        return Ok(());
    }
    let orphan = find(local, port)?;
    decide(local, &orphan, Verdict::Adopted)?;
    let listed = || async {
        let is_listed = list(local).iter().any(|orphan| orphan.port == port);
        Ok::<_, Refusal>((!is_listed).then_some(()))
    };
    match until(end, listed).await? {
        Some(()) => Ok(()),
        None => Err(Refusal::Late(format!(
            "{port} is adopted, but still listed"
        ))),
    }
}

/// It is taken down. Answers when it is gone.
///
/// # Errors
/// If it is no orphan.
pub async fn purge(local: &Arc<Local>, port: PortId, end: Instant) -> Result<(), Refusal> {
    let orphan = find(local, port)?;
    decide(local, &orphan, Verdict::Purged)?;
    local.plugged.forget(port)?;
    let gone = until(end, || async {
        // What belongs to it goes in the same pass, after which it is no longer listed.
        if listed(local, port).is_some() {
            return Ok(None);
        }
        let (namespaces, orphan) = (local.namespaces.clone(), orphan.clone());
        let is_there = blocking(move || far::is_there(&namespaces, orphan.vpc, &orphan.device));
        Ok::<_, Refusal>((!is_there.await?).then_some(()))
    });
    if gone.await?.is_none() {
        return Err(Refusal::Late(format!(
            "{} of {port} is still there",
            orphan.device
        )));
    }
    // What is left of it, nobody asks for any more.
    local.verdicts.withdraw(&BTreeSet::from([port]))?;
    tracing::info!(%port, vpc = %orphan.vpc, "purged");
    Ok(())
}

/// A floating IP that the store does not know is answered for no longer. Answers when that is so. Nothing of it is remembered:
/// cut off in the middle, a person says it again.
///
/// # Errors
/// If the store knows it, or it is not answered for here.
pub async fn purge_floating(local: &Local, address: Ipv4Addr, end: Instant) -> Result<(), Refusal> {
    is_heard(local)?;
    let is_listed = || {
        let all = local.outcomes.all.lock();
        let mut in_vpcs = all.values().map(|outcome| &outcome.lost_floating);
        let orphans = &local.outcomes.host.lock().floating_orphans;
        let is_answered = orphans.iter().any(|orphan| orphan.address == address);
        is_answered || in_vpcs.any(|lost| lost.contains(&address))
    };
    if !is_listed() {
        let problem = format!("{address} is no floating IP of this host that nobody knows");
        return Err(Refusal::Unknown(problem));
    }
    local.released.lock().insert(address);
    tracing::info!(%address, "a person has decided: it goes");
    local.decided.notify_one();
    let gone = || async { Ok::<_, Refusal>((!is_listed()).then_some(())) };
    let gone = until(end, gone).await;
    local.released.lock().remove(&address);
    match gone? {
        Some(()) => Ok(()),
        None => Err(Refusal::Late(format!("{address} is still answered for"))),
    }
}

fn decide(local: &Local, orphan: &Orphan, verdict: Verdict) -> Result<(), Refusal> {
    local.verdicts.decide(orphan.vpc, orphan.port, verdict)?;
    tracing::info!(port = %orphan.port, %verdict, "a person has decided");
    local.decided.notify_one();
    Ok(())
}

/// Only of a store that was heard, and is the one it was, one can say what it does not know.
fn is_heard(local: &Local) -> Result<(), Refusal> {
    let problem = match local.now().store {
        StoreState::Heard => return Ok(()),
        StoreState::Unheard => {
            "the store has not answered since the agent started: nobody knows what is an orphan"
        }
        StoreState::Changed => {
            "the store is not what it was: nothing is changed until `prismnet-agent accept-store`"
        }
    };
    Err(Refusal::Unfit(problem.to_owned()))
}

fn find(local: &Local, port: PortId) -> Result<Orphan, Refusal> {
    is_heard(local)?;
    let known = local.now();
    if known.here.contains_key(&port) || known.away.contains(&port) {
        return Err(Refusal::Unfit(format!(
            "{port} is no orphan: the store knows it"
        )));
    }
    let found = listed(local, port);
    found.ok_or_else(|| Refusal::Unknown(format!("{port} is no orphan of this host")))
}

/// Whether a worker has found it, decided about or not.
fn listed(local: &Local, port: PortId) -> Option<Orphan> {
    let all = local.outcomes.all.lock();
    let mut listed = all
        .values()
        .flat_map(|outcome| outcome.orphans.iter().chain(&outcome.adopted));
    listed.find(|orphan| orphan.port == port).cloned()
}
