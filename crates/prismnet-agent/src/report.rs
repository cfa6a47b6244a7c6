//! Tells the store how ports are, below this host's own prefix, and that the agent is alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use nix::ifaddrs::getifaddrs;
use photon_agent::{
    alive::stay_alive,
    told::{put, remove},
};
use photon_store::{Error, PageRequest, Store, Stored};
use prismnet_model::{Alive, ObservedAgent, ObservedPort, PortId, observed};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    desired::Here,
    worker::{Outcomes, PortOutcome},
};

/// What changes within this time is told at once.
const TOGETHER: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_secs(2);
/// The most problems that are told.
const MOST_PROBLEMS: usize = 20;
/// The most orphans of a kind that are told: what they have is given to nobody else. A record has room for so many.
const MOST_ORPHANS: usize = 2_000;
/// Orders that were carried out are told so often at most: there are as many as things are deleted, on any host.
const ORDERS: Duration = Duration::from_secs(60);

/// Reports as long as it runs.
#[derive(Debug)]
pub struct Reporter {
    store: Store,
    here: Here,
    outcomes: Arc<Outcomes>,
}

/// The host's addresses, but for those that mean the same everywhere or are between it and a VPC.
fn own_addresses() -> BTreeSet<Ipv4Addr> {
    let devices = getifaddrs().into_iter().flatten();
    let addresses = devices.filter_map(|device| Some(device.address?.as_sockaddr_in()?.ip()));
    addresses
        .filter(|address| !address.is_loopback() && !address.is_link_local())
        .collect()
}

/// What was told, as the store has it.
#[derive(Default)]
struct Told {
    ports: BTreeMap<PortId, Stored<ObservedPort>>,
    agent: Option<Stored<ObservedAgent>>,
    /// Up to which order was told when.
    orders: Option<(i64, Instant)>,
}

impl Told {
    /// What is told of orders, of which so many are carried out now.
    fn orders(&mut self, done: i64) -> Option<i64> {
        let before = self.agent.as_ref()?.value.orders_done;
        let is_due = self.orders.is_none_or(|(_, at)| at.elapsed() >= ORDERS);
        if before == Some(done) || done == 0 || !is_due {
            return before;
        }
        self.orders = Some((done, Instant::now()));
        Some(done)
    }
}

impl Reporter {
    /// On what the workers tell.
    #[must_use]
    pub fn new(store: Store, here: Here, outcomes: Arc<Outcomes>) -> Self {
        Self {
            store,
            here,
            outcomes,
        }
    }

    /// Until it is stopped. While the store is away it tries again: what is told is always the last.
    pub async fn run(self, stop: CancellationToken) {
        let key = observed::alive_key(&self.here.host);
        let now = || Alive {
            since: Timestamp::now(),
        };
        let alive = stay_alive(&self.store, &key, now, stop.clone());
        let tell = async {
            let mut told = None;
            loop {
                match self.tell(&mut told).await {
                    Ok(()) => {
                        // Orders that were carried out are told late: then too, if nothing else happens.
                        let changed = self.outcomes.changed.notified();
                        let _ = tokio::time::timeout(ORDERS, changed).await;
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
            () = async { stop.run_until_cancelled(tell).await; std::future::pending().await } => {}
        }
    }

    async fn tell(&self, told: &mut Option<Told>) -> Result<(), Error> {
        let told = match told {
            Some(told) => told,
            None => told.insert(self.read().await?),
        };
        let (ports, mut agent) = self.now();
        agent.orders_done = told.orders(self.outcomes.orders());
        self.tell_ports(&mut told.ports, &ports).await?;
        if told.agent.as_ref().map(|stored| &stored.value) != Some(&agent) {
            let all = self.store.collection();
            let key = observed::agent_key(&self.here.host);
            told.agent = Some(put(&all, &key, agent, told.agent.take()).await?);
        }
        Ok(())
    }

    /// What an earlier run told.
    async fn read(&self) -> Result<Told, Error> {
        let host = &self.here.host;
        let request = PageRequest {
            prefix: observed::port_prefix(host),
            ..PageRequest::default()
        };
        let page = self
            .store
            .collection::<ObservedPort>()
            .list(&request)
            .await?;
        let ports = page.items.into_iter().filter_map(|stored| {
            let id = stored.key.rsplit('/').next()?.parse().ok()?;
            Some((id, stored))
        });
        Ok(Told {
            ports: ports.collect(),
            orders: None,
            agent: self
                .store
                .collection()
                .get(&observed::agent_key(host))
                .await?,
        })
    }

    fn now(&self) -> (BTreeMap<PortId, PortOutcome>, ObservedAgent) {
        let all = self.outcomes.all.lock();
        let ports = all
            .values()
            .flat_map(|outcome| outcome.ports.clone())
            .collect();
        let host = self.outcomes.host.lock();
        let of_vpcs = all.values().flat_map(|outcome| &outcome.problems);
        let problems: BTreeSet<&String> = of_vpcs.chain(&host.problems).collect();
        let orphans = all.values().flat_map(|outcome| outcome.orphans.clone());
        let adopted = all.values().flat_map(|outcome| outcome.adopted.clone());
        let floating = host.floating_orphans.iter().copied();
        let agent = ObservedAgent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vtep: self.here.vtep,
            addresses: own_addresses(),
            mtu: self.here.mtu,
            mode: self.here.mode.to_string(),
            problems: problems.into_iter().take(MOST_PROBLEMS).cloned().collect(),
            orphans: orphans.take(MOST_ORPHANS).collect(),
            adopted: adopted.take(MOST_ORPHANS).collect(),
            floating_orphans: floating.take(MOST_ORPHANS).collect(),
            orders_done: None,
        };
        (ports, agent)
    }

    async fn tell_ports(
        &self,
        told: &mut BTreeMap<PortId, Stored<ObservedPort>>,
        now: &BTreeMap<PortId, PortOutcome>,
    ) -> Result<(), Error> {
        let all = self.store.collection::<ObservedPort>();
        for (id, outcome) in now {
            let before = told.get(id);
            let is_told = before.is_some_and(|stored| {
                let value = &stored.value;
                (value.revision, value.state, &value.reason)
                    == (outcome.revision, outcome.state, &outcome.reason)
            });
            if is_told {
                continue;
            }
            let value = ObservedPort {
                revision: outcome.revision,
                state: outcome.state,
                reason: outcome.reason.clone(),
                at: Timestamp::now(),
            };
            let key = observed::port_key(&self.here.host, *id);
            let stored = put(&all, &key, value, before.cloned()).await?;
            told.insert(*id, stored);
        }
        let surplus: Vec<PortId> = told
            .keys()
            .filter(|id| !now.contains_key(id))
            .copied()
            .collect();
        for id in surplus {
            // Before the first passes nothing is known of what an earlier run told; then nothing is taken back.
            if self.outcomes.all.lock().is_empty() {
                break;
            }
            remove(&all, &observed::port_key(&self.here.host, id)).await?;
            told.remove(&id);
        }
        Ok(())
    }
}
