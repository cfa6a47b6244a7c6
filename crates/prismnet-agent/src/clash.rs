//! An orphan's address that the store has given to another port meanwhile, as after it was restored from an older snapshot.
//!
//! What runs, runs: on the orphan's host the address stays its own, whatever the other port is allowed, until a person has
//! purged it. The other port is not attached there, and says why.

use std::net::Ipv4Addr;

use prismnet_model::PortId;

use crate::{
    desired::Wanted,
    network::{Actual, Device, Ether, Network},
    plan::{is_of_way_out, orphans},
    rules,
    ruleset::{Family, Key, Target},
};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Whose address it was, and is here.
    pub orphan: PortId,
    /// The address.
    pub address: Ipv4Addr,
    /// The port that the store has given it to, if that is to be here.
    pub port: Option<PortId>,
    device: Device,
    mac: Ether,
    bridge: Device,
    /// The other port's device here.
    other: Option<Device>,
}

/// All of a VPC's.
#[must_use]
pub fn clashes(wanted: &Wanted, actual: &Actual) -> Vec<Clash> {
    let mut found = Vec::new();
    for (device, orphan) in orphans(wanted, actual) {
        let Some(bridge) = actual.network.plugs[&device].seat.bridge.clone() else {
            continue;
        };
        for (mac, address) in identities(&actual.network, &device) {
            let in_place = (bridge.clone(), address);
            if !wanted.network.neighbours.contains_key(&in_place) {
                continue;
            }
            let mut here = wanted.ports.iter();
            let other =
                here.find(|(_, port)| port.lease.address == address && port.lease.bridge == bridge);
            found.push(Clash {
                orphan,
                address,
                port: other.map(|(id, _)| *id),
                device: device.clone(),
                mac,
                bridge: bridge.clone(),
                other: other.map(|(_, port)| port.device.clone()),
            });
        }
    }
    found
}

/// What a device may send from, as its rules say.
#[must_use]
pub fn identities(network: &Network, device: &str) -> Vec<(Ether, Ipv4Addr)> {
    let named = (Family::Bridge, rules::ADDRESSES.to_owned());
    let set = network.rules.sets.get(&named);
    let keys = set.into_iter().flat_map(|set| set.elements.keys());
    let known = keys.filter_map(|key| match key.as_slice() {
        [of, mac, address] if of == device => Some((mac.parse().ok()?, address.parse().ok()?)),
        _ => None,
    });
    known.collect()
}

impl Clash {
    /// Why the other port is not attached.
    #[must_use]
    pub fn reason(&self) -> String {
        let (address, orphan) = (self.address, self.orphan);
        format!(
            "{address} is in use here by {orphan}, which the store does not know: `prismnet-agent purge {orphan}` sets it free"
        )
    }

    /// What is wanted becomes what is found, as far as the address goes.
    pub(crate) fn settle(&self, target: &mut Network, found: &Network) {
        if let Some(other) = &self.other {
            target.plugs.remove(other);
            target.forwarding.retain(|_, at| at != other);
        }
        if let Some(port) = self.port {
            target.insides.remove(&port);
        }
        let place = (self.bridge.clone(), self.mac);
        target.forwarding.insert(place, self.device.clone());
        target.remotes.retain(|(_, mac), _| *mac != self.mac);
        let place = (self.bridge.clone(), self.address);
        target.neighbours.insert(place, self.mac);
        for (named, set) in &mut target.rules.sets {
            set.elements
                .retain(|key, to| !self.is_about(key, to.as_ref()) && !self.is_of_other(key));
            // Which floating IP it has, its own record says, or nobody: then that stands by itself.
            if is_of_way_out(named) {
                continue;
            }
            let there = found.rules.sets.get(named);
            let there = there.into_iter().flat_map(|set| &set.elements);
            let as_found = there.filter(|(key, to)| self.is_about(key, to.as_ref()));
            set.elements
                .extend(as_found.map(|(key, to)| (key.clone(), to.clone())));
        }
    }

    /// Whether the element is one of the address alone: what it may, what it is a member of, what it is translated to.
    fn is_about(&self, key: &Key, target: Option<&Target>) -> bool {
        let is_it = |part: &String| part.parse() == Ok(self.address);
        let by_key = matches!(key.as_slice(), [one] if is_it(one));
        by_key || target == Some(&Target::Address(self.address))
    }

    /// Whether it says who the other port is.
    fn is_of_other(&self, key: &Key) -> bool {
        key.len() > 1 && key.first() == self.other.as_ref()
    }
}
