//! What a person decides about a VM that the store does not know: `adopt` and `purge`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use photon_agent::{Memory, connection::connect};
use photon_store::Store;
use plasmavmc_model::{ObservedAgent, VmId, observed};
use tokio::time::Instant;

use crate::{
    config::Config,
    feed::Follower,
    files::Files,
    verdicts::{Verdict, Verdicts},
};

/// How long the running agent may take.
const LIMIT: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Decides, and waits until the running agent has done it.
///
/// # Errors
/// The store knows the VM, or is not what it was; it is not here; the agent does not run, or has not done it in time.
pub async fn decide(config: &Config, vm: VmId, verdict: Verdict) -> anyhow::Result<()> {
    let store = connect(&config.store, &Memory::new(&config.state_directory)).await?;
    if let Some(change) = store.change() {
        bail!("the store is not what it was ({change}): nothing is changed until accept-store");
    }
    let mut follower = Follower::new(store.clone(), &config.host);
    let known = tokio::time::timeout(LIMIT, follower.next()).await;
    known.context("the store does not answer")??;
    if follower.records.know(vm) {
        bail!("{vm} is no orphan: the store knows it");
    }
    let agent = store.collection::<ObservedAgent>();
    let key = observed::agent_key(&config.host);
    let told = agent.get(&key).await?;
    let is_listed = told.is_some_and(|told| lists(&told.value, vm));
    let verdicts = Verdicts::new(&config.state_directory);
    let is_decided = verdicts.all()?.contains_key(&vm);
    if !is_listed && !is_decided && !Files::new(&config.state_directory).of(vm).exist() {
        bail!("{vm} is no orphan of this host");
    }
    verdicts.decide(vm, verdict)?;
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        if is_done(config, &store, vm, verdict).await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!(
        "it is decided, but the agent has not done it within {} s: does it run?",
        LIMIT.as_secs()
    )
}

fn lists(agent: &ObservedAgent, vm: VmId) -> bool {
    agent.orphans.iter().any(|orphan| orphan.id == vm)
}

/// An adopted one is no longer listed; of a purged one nothing is left, and the agent has withdrawn the verdict.
async fn is_done(
    config: &Config,
    store: &Store,
    vm: VmId,
    verdict: Verdict,
) -> anyhow::Result<bool> {
    let agent = store.collection::<ObservedAgent>();
    let told = agent.get(&observed::agent_key(&config.host)).await?;
    let is_listed = told.is_some_and(|told| lists(&told.value, vm));
    if is_listed {
        return Ok(false);
    }
    Ok(match verdict {
        Verdict::Adopted => true,
        Verdict::Purged => !Verdicts::new(&config.state_directory)
            .all()?
            .contains_key(&vm),
    })
}
