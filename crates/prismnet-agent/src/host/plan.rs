//! From what a host has of ways out to what it is to have. Pure.
//!
//! Adding before removing, and rules first: a way out comes up when they stand. What stands for a floating IP whose port the
//! store does not know, stands (decision 9).

use std::{collections::BTreeSet, fmt, net::Ipv4Addr};

use super::{
    FLOATING_TABLE,
    network::{Hop, HostActual, HostNetwork, HostWanted, Lookup, RouteKey},
    target::{devices_of, forwarding},
};
use crate::{
    network::Device,
    plan::{additions, host_removals},
    ruleset::{Family, RuleChange, Ruleset, Summary},
    transfer::Transfer,
};

/// One thing to do. Doing it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// All of these at once.
    Change(Vec<RuleChange>),
    /// A setting.
    Set(String, String),
    /// The way out has the address.
    PutAddress(Device, Ipv4Addr, u8),
    /// The way out is up.
    Up(Device),
    /// The route is there and leads there.
    PutRoute(RouteKey, Hop),
    /// The rule is there.
    PutLookup(Lookup),
    /// Everybody on that device is told that the address is here, three times within a second.
    Announce(Device, Ipv4Addr),
    /// Who asks for the address there is answered.
    PutProxy(Device, Ipv4Addr),
    /// No longer.
    RemoveProxy(Device, Ipv4Addr),
    /// No longer.
    RemoveLookup(Lookup),
    /// No longer.
    RemoveRoute(RouteKey),
    /// No longer.
    RemoveAddress(Device, Ipv4Addr, u8),
}

impl fmt::Display for HostStep {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(changes) => write!(f, "change rules: {}", Summary(changes)),
            Self::Set(name, value) => write!(f, "set net/{name} = {value}"),
            Self::PutAddress(at, address, length) => {
                write!(f, "put address {address}/{length} on {at}")
            }
            Self::Up(device) => write!(f, "bring {device} up"),
            Self::PutRoute(key, hop) => write!(f, "put route {key} {hop}"),
            Self::PutLookup(lookup) => write!(f, "put rule {lookup}"),
            Self::Announce(at, address) => write!(f, "announce {address} on {at}"),
            Self::PutProxy(at, address) => write!(f, "answer for {address} on {at}"),
            Self::RemoveProxy(at, address) => write!(f, "answer no longer for {address} on {at}"),
            Self::RemoveLookup(lookup) => write!(f, "remove rule {lookup}"),
            Self::RemoveRoute(key) => write!(f, "remove route {key}"),
            Self::RemoveAddress(at, address, length) => {
                write!(f, "remove address {address}/{length} from {at}")
            }
        }
    }
}

/// What is to be done to have `target`.
#[must_use]
pub fn plan(wanted: &HostWanted, target: &HostNetwork, actual: &HostActual) -> Vec<HostStep> {
    let found = &actual.network;
    let mut steps = Vec::new();
    let changes = additions(&target.rules, &found.rules);
    if !changes.is_empty() {
        // The bridge family's table has no business here.
        let is_ours = |change: &RuleChange| *change != RuleChange::Table(Family::Bridge);
        steps.push(HostStep::Change(
            changes.into_iter().filter(is_ours).collect(),
        ));
    }
    for (name, value) in &target.settings {
        if found.settings.get(name) != Some(value) {
            steps.push(HostStep::Set(name.clone(), value.clone()));
        }
    }
    add_ways(&mut steps, target, found);
    add_entries(&mut steps, target, found);
    let kept: BTreeSet<Ipv4Addr> = actual.kept(wanted).into_keys().collect();
    remove_entries(&mut steps, &kept, target, found);
    for device in switched_off(&target.rules, actual) {
        steps.push(HostStep::Set(forwarding(&device), "0".to_owned()));
    }
    let changes = if target.rules.chains.is_empty() && !found.rules.chains.is_empty() {
        vec![RuleChange::RemoveTable(Family::Ip)]
    } else {
        host_removals(&target.rules, &found.rules)
    };
    if !changes.is_empty() {
        steps.push(HostStep::Change(changes));
    }
    steps
}

fn add_ways(steps: &mut Vec<HostStep>, target: &HostNetwork, found: &HostNetwork) {
    for (device, side) in &target.ways {
        let there = found.ways.get(device).cloned().unwrap_or_default();
        for (address, length) in side.addresses.difference(&there.addresses) {
            steps.push(HostStep::PutAddress(device.clone(), *address, *length));
        }
        if !there.up {
            steps.push(HostStep::Up(device.clone()));
        }
    }
}

fn add_entries(steps: &mut Vec<HostStep>, target: &HostNetwork, found: &HostNetwork) {
    for (key, hop) in &target.routes {
        if found.routes.get(key) != Some(hop) {
            steps.push(HostStep::PutRoute(*key, hop.clone()));
        }
    }
    for lookup in target.lookups.difference(&found.lookups) {
        steps.push(HostStep::PutLookup(lookup.clone()));
    }
    for (device, address) in target.proxies.difference(&found.proxies) {
        // Before it is answered for: who dies in between does both again.
        steps.push(HostStep::Announce(device.clone(), *address));
        steps.push(HostStep::PutProxy(device.clone(), *address));
    }
}

fn remove_entries(
    steps: &mut Vec<HostStep>,
    kept: &BTreeSet<Ipv4Addr>,
    target: &HostNetwork,
    found: &HostNetwork,
) {
    for (device, address) in found.proxies.difference(&target.proxies) {
        if !kept.contains(address) {
            steps.push(HostStep::RemoveProxy(device.clone(), *address));
        }
    }
    let mut kept_tables = BTreeSet::new();
    for lookup in found.lookups.difference(&target.lookups) {
        let leads_there = match lookup.from {
            Some(block) => kept.iter().any(|address| block.has(*address)),
            None => !kept.is_empty(),
        };
        if leads_there {
            kept_tables.insert(lookup.table);
        } else {
            steps.push(HostStep::RemoveLookup(lookup.clone()));
        }
    }
    for key in found.routes.keys() {
        let is_kept = if key.table == FLOATING_TABLE {
            // And the ways back to VPCs that answers take.
            let address = key.block.network();
            kept.contains(&address) || !kept.is_empty() && Transfer::of_inside(address).is_some()
        } else {
            kept_tables.contains(&key.table)
        };
        if !target.routes.contains_key(key) && !is_kept {
            steps.push(HostStep::RemoveRoute(*key));
        }
    }
    for (device, side) in &target.ways {
        let there = found.ways.get(device).cloned().unwrap_or_default();
        for (address, length) in there.addresses.difference(&side.addresses) {
            steps.push(HostStep::RemoveAddress(device.clone(), *address, *length));
        }
    }
}

/// Devices that were made to forward and need not any more. Where the host itself forwards it says so for all of them.
fn switched_off(target: &Ruleset, actual: &HostActual) -> Vec<Device> {
    if actual.forwards {
        return Vec::new();
    }
    let wanted: BTreeSet<&Device> = devices_of(target, crate::host::rules::FORWARDERS).collect();
    let surplus = devices_of(&actual.network.rules, crate::host::rules::FORWARDERS)
        .filter(|device| !wanted.contains(device));
    let there = surplus.filter(|device| actual.devices.contains_key(*device));
    there.cloned().collect()
}
