//! What agents have reported, by host.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::Ipv4Addr,
};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::{Entry, Record, Store};
use prismnet_model::{ObservedAgent, ObservedPort, PortId, PortState, VpcId};

use super::{PREFIX, PortStatus};
use crate::clock;

/// An agent and what it says of itself.
pub(super) type Agent = (Name, ObservedAgent);

/// The most ports without a record that are believed of a host.
const MOST_ORPHANS: usize = 10_000;

/// All hosts that have ever reported and whose reports still are there.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<Name, Host>);

#[derive(Debug, Default)]
struct Host {
    alive: bool,
    /// When this process saw it go.
    gone_since: Option<Timestamp>,
    addresses: BTreeSet<Ipv4Addr>,
    /// What ports have that are there without a record, orphans or adopted.
    held: HashMap<(VpcId, Ipv4Addr), PortId>,
    /// What is answered for outside without a record.
    outside: BTreeSet<Ipv4Addr>,
    /// Up to which revision it has carried out the orders to take something down.
    orders_done: Option<i64>,
    ports: HashMap<PortId, ObservedPort>,
}

impl Host {
    fn hear(&mut self, agent: &ObservedAgent) {
        self.addresses.clone_from(&agent.addresses);
        let without_record = agent.orphans.iter().chain(&agent.adopted);
        self.held = without_record
            .take(MOST_ORPHANS)
            .filter_map(|one| Some(((one.vpc, one.address?), one.port)))
            .collect();
        self.orders_done = agent.orders_done;
        let outside = agent.floating_orphans.iter().take(MOST_ORPHANS);
        self.outside = outside.map(|one| one.address).collect();
    }

    fn forget_agent(&mut self) {
        self.orders_done = None;
        self.addresses.clear();
        self.held.clear();
        self.outside.clear();
    }
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
                seen.hear(&agent);
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

    /// The port without a record that has an address of a VPC.
    pub(super) fn holder(&self, vpc: VpcId, address: Ipv4Addr) -> Option<PortId> {
        let mut hosts = self.0.values();
        hosts.find_map(|host| host.held.get(&(vpc, address)).copied())
    }

    /// The addresses of a VPC that ports without a record have.
    pub(super) fn held(&self, vpc: VpcId) -> BTreeSet<Ipv4Addr> {
        let hosts = self.0.values().flat_map(|host| host.held.keys());
        let of_vpc = hosts.filter(|(one, _)| *one == vpc);
        of_vpc.map(|(_, address)| *address).collect()
    }

    /// The addresses outside that a host has, or answers for without a record, and that are such; each with its host.
    pub(super) fn outside(&self, is_such: impl Fn(Ipv4Addr) -> bool) -> BTreeMap<Ipv4Addr, Name> {
        let hosts = self.0.iter().flat_map(|(host, seen)| {
            let own = seen.addresses.iter().chain(&seen.outside);
            own.map(move |address| (*address, host))
        });
        let such = hosts.filter(|(address, _)| is_such(*address));
        such.map(|(address, host)| (address, host.clone()))
            .collect()
    }

    /// Whether all hosts say that they have carried out the orders up to a revision, and run; the named one is among them.
    pub(super) fn have_done(&self, revision: i64, named: Option<&Name>) -> bool {
        let is_done = |host: &Host| host.alive && host.orders_done >= Some(revision);
        // Who never reported may still be to come.
        let is_heard = named.map_or(!self.0.is_empty(), |named| self.0.contains_key(named));
        is_heard && self.0.values().all(is_done)
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
            About::Agent => seen.forget_agent(),
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
