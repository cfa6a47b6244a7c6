//! What a host can have of what is wanted, with the devices that it has. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use prismnet_model::{Block, ExternalNetworkId};

use super::{
    EXTERNAL_PRIORITY, FLOATING_PRIORITY, FLOATING_TABLE, LAST,
    network::{External, Hop, HostActual, HostNetwork, HostWanted, Lookup, RouteKey, WaySide},
    rules,
};
use crate::{
    network::Device,
    ruleset::{Family, Ruleset},
    transfer::LENGTH,
};

/// All of it, and what is in the way of the rest.
#[must_use]
pub fn target(wanted: &HostWanted, actual: &HostActual) -> (HostNetwork, Vec<String>) {
    let mut target = HostNetwork::default();
    let mut problems = wanted.problems.clone();
    put_ways(&mut target, wanted, actual);
    let uplinks = uplinks(wanted, actual, &mut problems);
    let mut forwarders: BTreeSet<Device> = BTreeSet::new();
    for (id, external) in &wanted.networks {
        let uplink = uplinks.get(id);
        put_external(&mut target, external, uplink, actual);
        forwarders.extend(uplink.cloned());
    }
    put_floating(&mut target, wanted, &uplinks);
    put_back(&mut target, wanted);
    if wanted.internet {
        forwarders.extend(actual.defaults.iter().cloned());
    }
    let kept = actual.kept(wanted);
    if !kept.is_empty() {
        // What leads to floating IPs that stand.
        let forward = devices_of(&actual.network.rules, rules::EXITS);
        let there = forward.filter(|device| actual.devices.contains_key(*device));
        forwarders.extend(there.cloned());
    }
    let exits = forwarders.clone();
    if actual.forwards {
        // It forwards for others already: nothing is to be switched on, nor what they send to be dropped.
        forwarders.clear();
    }
    for device in &forwarders {
        target.settings.insert(forwarding(device), "1".to_owned());
    }
    let has_ways = !wanted.ways.is_empty() || !actual.owners.is_empty();
    if has_ways || !wanted.tunnels.is_empty() {
        rules::put_vteps(&mut target.rules, vteps(wanted, actual));
    }
    if has_ways {
        let kept = kept.into_keys();
        rules::put_ways(&mut target.rules, wanted, kept, &exits, &forwarders);
    }
    if !wanted.tunnels.is_empty() {
        rules::put_guard(&mut target.rules, &wanted.tunnels);
    }
    (target, problems)
}

/// Those of the records, and those that were believed and that something here still leads to: that a host's record is lost does
/// not cut its ports off (decision 9).
fn vteps(wanted: &HostWanted, actual: &HostActual) -> BTreeSet<Ipv4Addr> {
    let named = (Family::Ip, rules::VTEPS.to_owned());
    let found = actual.network.rules.sets.get(&named);
    let found = found.into_iter().flat_map(|set| set.elements.keys());
    let believed = found.filter_map(crate::rules::address_of);
    let led = believed.filter(|host| !wanted.is_led_known || wanted.led.contains(host));
    led.chain(wanted.vteps.iter().copied()).collect()
}

/// The devices of one of our sets.
pub(crate) fn devices_of<'a>(rules: &'a Ruleset, set: &str) -> impl Iterator<Item = &'a Device> {
    let named = (Family::Ip, set.to_owned());
    let set = rules.sets.get(&named);
    set.into_iter()
        .flat_map(|set| set.elements.keys())
        .flatten()
}

/// The setting by which packets that come in by a device are forwarded.
#[must_use]
pub fn forwarding(device: &str) -> String {
    format!("ipv4/conf/{device}/forwarding")
}

/// How strictly a device holds sources against routes.
#[must_use]
pub fn source_check(device: &str) -> String {
    format!("ipv4/conf/{device}/rp_filter")
}

/// How long a device waits before it answers for others.
#[must_use]
pub fn proxy_delay(device: &str) -> String {
    format!("ipv4/neigh/{device}/proxy_delay")
}

/// Whether a way out knows IPv6: none of them does.
#[must_use]
pub fn no_ipv6(device: &str) -> String {
    format!("ipv6/conf/{device}/disable_ipv6")
}

/// The table of an external network: its first address as a number. Blocks that do not overlap have different ones, and none
/// is in 0.0.0.0/8, where other tables have their numbers.
#[must_use]
pub fn table_of(block: Block) -> u32 {
    block.network().to_bits()
}

/// The block that holds nothing but the address.
fn alone(address: Ipv4Addr) -> Option<Block> {
    format!("{address}/32").parse().ok()
}

fn put_ways(target: &mut HostNetwork, wanted: &HostWanted, actual: &HostActual) {
    for (device, way) in &wanted.ways {
        // Its VPC's worker makes it, and removes it.
        if actual.owners.get(device) != Some(&way.vpc) {
            continue;
        }
        let side = WaySide {
            addresses: BTreeSet::from([(way.transfer.host(), LENGTH)]),
            up: true,
        };
        target.ways.insert(device.clone(), side);
        target.settings.insert(forwarding(device), "1".to_owned());
        let ipv6 = no_ipv6(device);
        if actual.network.settings.contains_key(&ipv6) {
            target.settings.insert(ipv6, "1".to_owned());
        }
    }
}

/// The uplinks that can be used.
fn uplinks(
    wanted: &HostWanted,
    actual: &HostActual,
    problems: &mut Vec<String>,
) -> BTreeMap<ExternalNetworkId, Device> {
    let mut uplinks = BTreeMap::new();
    for (id, external) in &wanted.networks {
        let name = external.uplink.as_str();
        let problem = match actual.devices.get(name) {
            None => format!("this host has no interface {name}"),
            Some(device) => match &device.master {
                Some(master) => format!("{name} is attached to {master}: that is the uplink"),
                None => {
                    if !(device.up && device.carrier) {
                        problems.push(format!("the uplink {name} of {id} is down"));
                    }
                    uplinks.insert(*id, name.to_owned());
                    continue;
                }
            },
        };
        problems.push(format!("{id} is not reached: {problem}"));
    }
    uplinks
}

/// Its table: its block, its gateway, and the end.
fn put_external(
    target: &mut HostNetwork,
    external: &External,
    uplink: Option<&Device>,
    actual: &HostActual,
) {
    let key = |block, metric| RouteKey {
        table: table_of(external.block),
        block,
        metric,
    };
    target.routes.insert(key(Block::ANY, LAST), Hop::Nowhere);
    let Some(uplink) = uplink else { return };
    target.settings.insert(proxy_delay(uplink), "0".to_owned());
    if is_strict(uplink, actual) {
        // Answers leave by the tables of floating IPs, which this check does not ask: loosely is the most that can be.
        target.settings.insert(source_check(uplink), "2".to_owned());
    }
    if !actual.devices.get(uplink).is_some_and(|device| device.up) {
        return;
    }
    let direct = Hop::Direct(uplink.clone());
    target.routes.insert(key(external.block, 0), direct);
    if let Some(gateway) = external.gateway {
        let via = Hop::Via(gateway, uplink.clone());
        target.routes.insert(key(Block::ANY, 0), via);
    }
}

/// Whether the device takes nothing from whom the host would answer by another one. The stricter of two settings counts.
fn is_strict(device: &str, actual: &HostActual) -> bool {
    let value = |device| actual.network.settings.get(&source_check(device));
    let own = value(device).into_iter().chain(value("all"));
    own.max().is_some_and(|value| value == "1")
}

fn put_floating(
    target: &mut HostNetwork,
    wanted: &HostWanted,
    uplinks: &BTreeMap<ExternalNetworkId, Device>,
) {
    for (address, float) in &wanted.floating {
        let external = wanted.networks.get(&float.network);
        let (Some(way), Some(external)) = (wanted.ways.get(&float.way), external) else {
            continue;
        };
        if !target.ways.contains_key(&float.way) {
            continue;
        }
        let Some(block) = alone(*address) else {
            continue;
        };
        let key = RouteKey {
            table: FLOATING_TABLE,
            block,
            metric: 0,
        };
        let inside = Hop::Via(way.transfer.inside(), float.way.clone());
        target.routes.insert(key, inside);
        target.lookups.insert(Lookup {
            priority: FLOATING_PRIORITY,
            device: None,
            from: None,
            table: FLOATING_TABLE,
        });
        target.lookups.insert(Lookup {
            priority: EXTERNAL_PRIORITY,
            device: Some(float.way.clone()),
            from: Some(external.block),
            table: table_of(external.block),
        });
        if let Some(uplink) = uplinks.get(&float.network) {
            target.proxies.insert((uplink.clone(), *address));
        }
    }
}

/// What a floating IP answers to another VPC's transfer address goes there: its own network's table knows better ways to
/// everywhere else.
fn put_back(target: &mut HostNetwork, wanted: &HostWanted) {
    if target.lookups.is_empty() {
        return;
    }
    for (device, way) in &wanted.ways {
        if !target.ways.contains_key(device) {
            continue;
        }
        let Some(block) = alone(way.transfer.inside()) else {
            continue;
        };
        let key = RouteKey {
            table: FLOATING_TABLE,
            block,
            metric: 0,
        };
        target.routes.insert(key, Hop::Direct(device.clone()));
    }
}
