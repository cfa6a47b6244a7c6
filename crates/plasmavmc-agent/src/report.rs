//! Tells the store how VMs are, below this host's own prefix, and that the agent is alive.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use photon_agent::{
    alive::stay_alive,
    told::{put, remove},
};
use photon_core::Name;
use photon_store::{Error, PageRequest, Record, Store, Stored};
use plasmavmc_model::{Alive, GoneDone, ObservedAgent, ObservedVm, VmId, observed};
use tokio_util::sync::CancellationToken;

use crate::{
    outcome::{Facts, Outcome, Outcomes},
    volumes::report::Told as ToldVolumes,
};

/// What changes within this time is told at once.
const TOGETHER: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_secs(2);
/// The most problems that are told.
const MOST_PROBLEMS: usize = 20;
/// The most orphans that are told.
const MOST_ORPHANS: usize = 100;

/// Reports as long as it runs.
#[derive(Debug)]
pub struct Reporter {
    store: Store,
    host: Name,
    outcomes: Arc<Outcomes>,
}

/// What was told, as the store has it.
#[derive(Default)]
struct Told {
    vms: BTreeMap<VmId, Stored<ObservedVm>>,
    gone: BTreeMap<VmId, Stored<GoneDone>>,
    agent: Option<Stored<ObservedAgent>>,
    volumes: ToldVolumes,
}

impl Reporter {
    /// On what the workers tell.
    #[must_use]
    pub fn new(store: Store, host: Name, outcomes: Arc<Outcomes>) -> Self {
        Self {
            store,
            host,
            outcomes,
        }
    }

    /// Until it is stopped. While the store is away it tries again: what is told is always the last.
    pub async fn run(self, stop: CancellationToken) {
        let key = observed::alive_key(&self.host);
        let now = || Alive {
            since: Timestamp::now(),
        };
        let alive = stay_alive(&self.store, &key, now, stop.clone());
        let tell = async {
            let mut told = None;
            loop {
                match self.tell(&mut told).await {
                    Ok(()) => {
                        self.outcomes.changed.notified().await;
                        tokio::time::sleep(TOGETHER).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "nothing is told; trying again");
                        // Somebody wrote, or nobody knows who: it is read again.
                        told = None;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = alive => {}
            () = async { Box::pin(stop.run_until_cancelled(tell)).await; std::future::pending().await } => {}
        }
    }

    async fn tell(&self, told: &mut Option<Told>) -> Result<(), Error> {
        let told = match told {
            Some(told) => told,
            None => told.insert(self.read().await?),
        };
        let facts = self.outcomes.facts();
        let (vms, gone) = self.outcomes.vms();
        for (id, outcome) in vms {
            self.tell_vm(told, id, outcome).await?;
        }
        for id in gone {
            self.tell_gone(told, id).await?;
        }
        self.take_back(told, &facts).await?;
        let volumes = self.outcomes.volumes.lock().clone();
        told.volumes.tell(&self.store, &self.host, volumes).await?;
        if let Some(agent) = agent(&facts)
            && told.agent.as_ref().map(|stored| &stored.value) != Some(&agent)
        {
            let all = self.store.collection();
            let key = observed::agent_key(&self.host);
            told.agent = Some(put(&all, &key, agent, told.agent.take()).await?);
        }
        Ok(())
    }

    async fn tell_vm(&self, told: &mut Told, id: VmId, outcome: Outcome) -> Result<(), Error> {
        let before = told.vms.get(&id);
        let same_state = before.filter(|before| before.value.state == outcome.state);
        // A boot that began while nobody could be told is no stretch of the one before.
        let since = same_state.map_or_else(Timestamp::now, |before| {
            outcome.started.map_or(before.value.since, |started| {
                started.max(before.value.since)
            })
        });
        let value = ObservedVm {
            generation: outcome.generation,
            state: outcome.state,
            boot: outcome.boot,
            ended: outcome.ended,
            reason: outcome.reason,
            hypervisor: outcome.hypervisor,
            volumes: outcome.volumes,
            snapshots: outcome.snapshots,
            reverted: outcome.reverted,
            since,
        };
        if before.is_some_and(|before| before.value == value) {
            return Ok(());
        }
        let all = self.store.collection::<ObservedVm>();
        let key = observed::vm_key(&self.host, id);
        let stored = put(&all, &key, value, before.cloned()).await?;
        told.vms.insert(id, stored);
        Ok(())
    }

    /// In one transaction with what was told of the VM: whoever sees one does not see the other.
    async fn tell_gone(&self, told: &mut Told, id: VmId) -> Result<(), Error> {
        if told.gone.contains_key(&id) {
            return Ok(());
        }
        let all = self.store.collection::<GoneDone>();
        let key = observed::gone_key(&self.host, id);
        let done = GoneDone {
            id,
            at: Timestamp::now(),
        };
        let mut transaction = self.store.transaction();
        transaction.create(&all, &key, &done)?;
        if let Some(before) = told.vms.get(&id) {
            transaction.delete(&self.store.collection::<ObservedVm>(), before)?;
        }
        transaction.commit().await?;
        told.vms.remove(&id);
        if let Some(stored) = all.get(&key).await? {
            told.gone.insert(id, stored);
        }
        Ok(())
    }

    /// What is told of VMs that are neither known nor here, and answers to orders that are there no more.
    async fn take_back(&self, told: &mut Told, facts: &Facts) -> Result<(), Error> {
        let (Some(known), Some(orders)) = (&facts.known, &facts.orders) else {
            return Ok(());
        };
        let over = told.vms.keys().filter(|id| !known.contains(id)).copied();
        for id in Vec::from_iter(over) {
            let key = observed::vm_key(&self.host, id);
            remove(&self.store.collection::<ObservedVm>(), &key).await?;
            told.vms.remove(&id);
        }
        let over = told.gone.keys().filter(|id| !orders.contains(id)).copied();
        for id in Vec::from_iter(over) {
            let key = observed::gone_key(&self.host, id);
            remove(&self.store.collection::<GoneDone>(), &key).await?;
            told.gone.remove(&id);
        }
        Ok(())
    }

    /// What an earlier run told.
    async fn read(&self) -> Result<Told, Error> {
        let prefix = observed::prefix(&self.host);
        let agent = self.store.collection();
        Ok(Told {
            vms: self.below(&format!("{prefix}vm/")).await?,
            gone: self.below(&format!("{prefix}gone/")).await?,
            agent: agent.get(&observed::agent_key(&self.host)).await?,
            volumes: ToldVolumes::read(&self.store, &self.host).await?,
        })
    }

    async fn below<T: Record>(&self, prefix: &str) -> Result<BTreeMap<VmId, Stored<T>>, Error> {
        let request = PageRequest {
            prefix: prefix.to_owned(),
            ..PageRequest::default()
        };
        let page = self.store.collection::<T>().list(&request).await?;
        let records = page.items.into_iter().filter_map(|stored| {
            let id = stored.key.strip_prefix(prefix)?.parse().ok()?;
            Some((id, stored))
        });
        Ok(records.collect())
    }
}

/// Nothing before everything of it is known.
fn agent(facts: &Facts) -> Option<ObservedAgent> {
    if facts.pools.is_empty() {
        return None;
    }
    let problems = facts.problems.values().flatten();
    let orphans = facts.orphans.iter();
    Some(ObservedAgent {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        driver: facts.driver.clone(),
        capacity: facts.capacity,
        probe: facts.probe.clone()?,
        hardware: facts.hardware.clone()?,
        images: facts.images.clone(),
        blobs: facts.blobs.clone(),
        pools: facts.pools.clone(),
        door: facts.door.clone(),
        problems: problems.take(MOST_PROBLEMS).cloned().collect(),
        orphans: orphans.take(MOST_ORPHANS).cloned().collect(),
    })
}
