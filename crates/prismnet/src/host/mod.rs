//! Hosts: what their agents report, and where others reach them.
//!
//! ```text
//!   /photon/prismnet/host/<host>/…  ──feed──> Hosts ──> status of ports, when they are shown
//!                                               └──> public/host/<host>, which other hosts' agents follow
//! ```
//!
//! Every process follows it; what it knows is lost and read again. A port's status is told, and is no state of the port. What
//! is decided by it: an address that something on a host has, of which the store knows nothing, is given to nobody else. That is
//! care and no promise, as a host may say it a moment later.

mod publish;
mod seen;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::RwLock;
use photon_core::Name;
use photon_store::{FeedEvent, Store};
use prismnet_model::{AddressRange, Port, PortId, VpcId};
use tokio_util::sync::CancellationToken;

use self::{publish::Publisher, seen::Seen};
use crate::{config::Config, external::ranges::has, versioned::Versioned};

/// Where agents report.
const PREFIX: &str = "/photon/prismnet/host/";

/// What is known of hosts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Arc<RwLock<Seen>>);

/// How a port is, in the word that is shown, and why and since when, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortStatus {
    pub(crate) word: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) since: Option<Timestamp>,
}

impl Hosts {
    /// How a port is on the host it is to be on.
    pub(crate) fn status(&self, port: &Versioned<Port>) -> PortStatus {
        match &port.value.host {
            None => PortStatus::bare("down"),
            Some(host) => self.0.read().status(host, port.value.id, port.revision),
        }
    }

    /// A host that says that such an address is its own.
    pub(crate) fn find_address(
        &self,
        is_such: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<(Name, Ipv4Addr)> {
        self.0.read().find_address(is_such)
    }

    /// The port that has an address of a VPC on some host, and that the store does not know: after a restore, its record is
    /// lost and it runs on.
    pub(crate) fn holder(&self, vpc: VpcId, address: Ipv4Addr) -> Option<PortId> {
        self.0.read().holder(vpc, address)
    }

    /// The addresses of a VPC that such ports have.
    pub(crate) fn held(&self, vpc: VpcId) -> BTreeSet<Ipv4Addr> {
        self.0.read().held(vpc)
    }

    /// The addresses of a pool that are a host's own, or answered for by one without a record; each with its host. A host may
    /// have come after the pool.
    pub(crate) fn outside(&self, pool: &[AddressRange]) -> BTreeMap<Ipv4Addr, Name> {
        self.0.read().outside(|address| has(pool, address))
    }

    /// Whether every host has carried out the orders up to a revision, and this one is among them if it is named.
    pub(crate) fn have_done(&self, revision: i64, named: Option<&Name>) -> bool {
        self.0.read().have_done(revision, named)
    }

    /// Whether an address outside is a host's own, or answered for by one without a record.
    pub(crate) fn has_outside(&self, address: Ipv4Addr) -> bool {
        !self.0.read().outside(|one| one == address).is_empty()
    }

    /// Follows what agents report, until it is stopped.
    pub(crate) async fn follow(self, store: Store, config: Arc<Config>, stop: CancellationToken) {
        let mut publisher = Publisher::new(store.clone(), &config);
        let mut feed = store.feed(PREFIX);
        // What was said last of what goes wrong: it may go on for long.
        let mut said = None;
        loop {
            let events = match stop.run_until_cancelled(feed.next_batch()).await {
                Some(Ok(events)) => events,
                Some(Err(error)) => {
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::warn!(%error, "what hosts report cannot be followed");
                        said = Some(text);
                    }
                    let pause = tokio::time::sleep(std::time::Duration::from_secs(5));
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                    continue;
                }
                None => return,
            };
            said = None;
            let agents = self.take(&store, events);
            for (host, agent) in agents {
                let publishing = publisher.publish(&host, &agent);
                if stop.run_until_cancelled(publishing).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Takes what was told, and returns the agents that told of themselves.
    fn take(&self, store: &Store, events: Vec<FeedEvent>) -> Vec<seen::Agent> {
        let mut seen = self.0.write();
        let mut agents = Vec::new();
        for event in events {
            match event {
                FeedEvent::Snapshot { entries, .. } => {
                    seen.forget();
                    for entry in entries {
                        agents.extend(seen.put(store, entry));
                    }
                }
                FeedEvent::Put(entry) => agents.extend(seen.put(store, entry)),
                FeedEvent::Delete { key, .. } => seen.delete(&key, Timestamp::now()),
                FeedEvent::Synced { .. } => {}
            }
        }
        agents
    }
}

impl PortStatus {
    fn bare(word: &'static str) -> Self {
        Self {
            word,
            reason: None,
            since: None,
        }
    }
}
