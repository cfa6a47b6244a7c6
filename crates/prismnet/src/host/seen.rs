//! What agents have reported, by host.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::{Entry, Record, Store};
use prismnet_model::{ObservedAgent, ObservedPort, PortId, PortState};

use super::{PREFIX, PortStatus};
use crate::clock;

/// An agent and what it says of itself.
pub(super) type Agent = (Name, ObservedAgent);

/// All hosts that have ever reported and whose reports still are there.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<Name, Host>);

#[derive(Debug, Default)]
struct Host {
    alive: bool,
    /// When this process saw it go.
    gone_since: Option<Timestamp>,
    addresses: BTreeSet<Ipv4Addr>,
    ports: HashMap<PortId, ObservedPort>,
}

/// What a key is about.
enum About {
    Alive,
    Agent,
    Port(PortId),
}

fn parse(key: &str) -> Option<(Name, About)> {
    let (host, rest) = key.strip_prefix(PREFIX)?.split_once('/')?;
    let about = match rest {
        "alive" => About::Alive,
        "observed/agent" => About::Agent,
        rest => About::Port(rest.strip_prefix("observed/port/")?.parse().ok()?),
    };
    Some((Name::new(host).ok()?, about))
}

fn read<T: Record>(store: &Store, entry: Entry) -> Option<T> {
    // What cannot be read is in the log, and as good as not reported.
    let stored = store.collection::<T>().read(entry).ok()?;
    Some(stored.value)
}

impl Seen {
    /// Before everything is told anew.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Takes a report; returns it if it is of the agent itself.
    pub(super) fn put(&mut self, store: &Store, entry: Entry) -> Option<Agent> {
        let (host, about) = parse(&entry.key)?;
        match about {
            About::Alive => {
                let seen = self.0.entry(host).or_default();
                seen.alive = true;
                seen.gone_since = None;
                None
            }
            About::Agent => {
                let agent: ObservedAgent = read(store, entry)?;
                let seen = self.0.entry(host.clone()).or_default();
                seen.addresses.clone_from(&agent.addresses);
                Some((host, agent))
            }
            About::Port(port) => {
                let observed = read(store, entry)?;
                self.0.entry(host).or_default().ports.insert(port, observed);
                None
            }
        }
    }

    /// A host with an address of its own that is such.
    pub(super) fn find_address(
        &self,
        is_such: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<(Name, Ipv4Addr)> {
        self.0.iter().find_map(|(host, seen)| {
            let address = seen.addresses.iter().copied().find(|one| is_such(*one))?;
            Some((host.clone(), address))
        })
    }

    /// Takes that a report is gone.
    pub(super) fn delete(&mut self, key: &str, now: Timestamp) {
        let Some((host, about)) = parse(key) else {
            return;
        };
        let Some(seen) = self.0.get_mut(&host) else {
            return;
        };
        match about {
            About::Alive => {
                seen.alive = false;
                seen.gone_since = Some(now);
            }
            About::Agent => {}
            About::Port(port) => {
                seen.ports.remove(&port);
            }
        }
        if !seen.alive && seen.ports.is_empty() && seen.gone_since.is_none() {
            self.0.remove(&host);
        }
    }

    /// How a port is on a host, as of its record's revision.
    pub(super) fn status(&self, host: &Name, port: PortId, revision: i64) -> PortStatus {
        // Nobody has ever reported from there.
        let Some(host) = self.0.get(host) else {
            return PortStatus::bare("building");
        };
        if !host.alive {
            return PortStatus {
                word: "unknown",
                reason: Some("its host does not report".to_owned()),
                since: host.gone_since.map(clock::whole),
            };
        }
        let observed = host.ports.get(&port);
        let Some(observed) = observed.filter(|observed| observed.revision >= revision) else {
            return PortStatus::bare("building");
        };
        let word = match observed.state {
            PortState::Building => "building",
            PortState::Active => "active",
            PortState::Error => "error",
        };
        PortStatus {
            word,
            reason: Some(observed.reason.clone()).filter(|reason| !reason.is_empty()),
            since: Some(clock::whole(observed.at)),
        }
    }
}
