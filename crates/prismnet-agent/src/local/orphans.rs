//! A person decides about ports that the store does not know.

use std::{collections::BTreeSet, sync::Arc};

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

fn decide(local: &Local, orphan: &Orphan, verdict: Verdict) -> Result<(), Refusal> {
    local.verdicts.decide(orphan.vpc, orphan.port, verdict)?;
    tracing::info!(port = %orphan.port, ?verdict, "a person has decided");
    local.decided.notify_one();
    Ok(())
}

fn find(local: &Local, port: PortId) -> Result<Orphan, Refusal> {
    let known = local.now();
    match known.store {
        StoreState::Heard => {}
        StoreState::Unheard => {
            let problem = "the store has not answered since the agent started: nobody knows what is an orphan";
            return Err(Refusal::Unfit(problem.to_owned()));
        }
        StoreState::Changed => {
            let problem = "the store is not what it was: nothing is changed until `prismnet-agent accept-store`";
            return Err(Refusal::Unfit(problem.to_owned()));
        }
    }
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
