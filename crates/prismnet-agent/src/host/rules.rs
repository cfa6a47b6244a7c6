//! The rules of the host's namespace: `table ip photon`.
//!
//! A VPC reaches nothing of the host, no other VPC but by its floating IPs, and no host's tunnel address. Our tunnels are fed by
//! our hosts only. What another table of the host drops stays dropped.

use std::{collections::BTreeSet, net::Ipv4Addr};

use prismnet_model::Block;
use serde_json::{Value, json};

use super::network::HostWanted;
use crate::{
    kernel::netlink::VXLAN_PORT,
    network::Device,
    rules::{in_set, put_chain, put_element, put_set},
    ruleset::{Family, Hook, Rule, Ruleset, SetKind, say},
    transfer::BLOCK,
};

/// Floating IPs here.
pub const FLOATING: &str = "floating";
/// Tunnel addresses of hosts.
pub const VTEPS: &str = "vteps";
/// Devices that forward because we said so: those alone are switched off again.
pub const FORWARDERS: &str = "forwarders";
/// Devices by which VPCs get out: uplinks and those of default routes.
pub const EXITS: &str = "exits";

/// The host's sides of ways out.
const WAYS: &str = "pnu*";

/// The addresses of hosts.
pub(super) fn put_vteps(rules: &mut Ruleset, vteps: impl IntoIterator<Item = Ipv4Addr>) {
    put_set(rules, Family::Ip, VTEPS, SetKind::Address);
    for address in vteps {
        put_element(rules, Family::Ip, VTEPS, vec![address.to_string()], None);
    }
}

/// What comes for these tunnels of ours comes from a host of ours, or not at all. Tunnels that others have on this host, by
/// other numbers, are theirs: they may have the same UDP port. [`VTEPS`] must be there.
pub(super) fn put_guard(rules: &mut Ruleset, tunnels: &BTreeSet<u32>) {
    let numbers: Vec<u32> = tunnels.iter().copied().collect();
    let forged = Rule::new(vec![
        say::is(say::field("udp", "dport"), VXLAN_PORT),
        say::is(vni(), json!({"set": numbers})),
        say::is_not(source(), in_set(VTEPS)),
        say::count(),
        say::drop(),
    ]);
    // Before conntrack: what is dropped is no connection.
    let hook = Hook::open("filter", "input", -300);
    put_chain(rules, Family::Ip, "tunnels", Some(hook), vec![forged]);
}

/// The 24 bits of a VXLAN packet that say which network it is of (RFC 7348): behind the UDP header and 32 bits of flags.
fn vni() -> Value {
    json!({"payload": {"base": "th", "offset": 96, "len": 24}})
}

/// Those of the ways out, with these devices as [`EXITS`] and [`FORWARDERS`], and with floating IPs that stand. [`VTEPS`] must be
/// there.
pub(super) fn put_ways(
    rules: &mut Ruleset,
    wanted: &HostWanted,
    kept: impl IntoIterator<Item = Ipv4Addr>,
    exits: &BTreeSet<Device>,
    forwarders: &BTreeSet<Device>,
) {
    let sets = [
        (FLOATING, SetKind::Address),
        (FORWARDERS, SetKind::Device),
        (EXITS, SetKind::Device),
    ];
    for (name, kind) in sets {
        put_set(rules, Family::Ip, name, kind);
    }
    let mut put = |set: &str, element: String| {
        put_element(rules, Family::Ip, set, vec![element], None);
    };
    let floating = wanted.floating.keys().copied().chain(kept);
    floating.for_each(|address| put(FLOATING, address.to_string()));
    forwarders
        .iter()
        .for_each(|device| put(FORWARDERS, device.clone()));
    exits.iter().for_each(|device| put(EXITS, device.clone()));
    let mut put = |name, hook, said| put_chain(rules, Family::Ip, name, hook, said);
    put("to-host", Some(Hook::open("filter", "input", 0)), to_host());
    put(
        "through",
        Some(Hook::open("filter", "forward", 0)),
        through(&wanted.deny),
    );
    put(
        "leaving",
        Some(Hook::open("nat", "postrouting", 100)),
        leaving(),
    );
}

fn comes_in() -> Value {
    say::is(say::device_in(), WAYS)
}

fn goes_out() -> Value {
    say::is(say::device_out(), WAYS)
}

fn transfers() -> Value {
    prefix(BLOCK)
}

fn prefix((network, length): (Ipv4Addr, u8)) -> Value {
    json!({"prefix": {"addr": network.to_string(), "len": length}})
}

fn source() -> Value {
    say::field("ip", "saddr")
}

fn destination() -> Value {
    say::field("ip", "daddr")
}

fn to_host() -> Vec<Rule> {
    vec![
        Rule::new(vec![comes_in(), say::is_established(), say::accept()]),
        Rule::new(vec![comes_in(), say::drop()]),
    ]
}

fn through(deny: &[Block]) -> Vec<Rule> {
    let mut rules = vec![
        Rule::new(vec![comes_in(), say::is_established(), say::accept()]),
        // What a VPC did not translate is no business of anybody outside.
        Rule::new(vec![
            comes_in(),
            say::is_not(source(), transfers()),
            say::is_not(source(), in_set(FLOATING)),
            say::drop(),
        ]),
        Rule::new(vec![
            comes_in(),
            say::is(destination(), in_set(FLOATING)),
            say::accept(),
        ]),
        Rule::new(vec![comes_in(), goes_out(), say::drop()]),
        // The underlay and whatever else the host is in is nobody's way out.
        Rule::new(vec![
            comes_in(),
            say::is_not(say::device_out(), in_set(EXITS)),
            say::drop(),
        ]),
        // Link-local: other VPCs' transfer addresses, and what a provider of the host itself tells it there.
        Rule::new(vec![
            comes_in(),
            say::is(destination(), prefix((Ipv4Addr::new(169, 254, 0, 0), 16))),
            say::drop(),
        ]),
        Rule::new(vec![
            comes_in(),
            say::is(destination(), in_set(VTEPS)),
            say::drop(),
        ]),
    ];
    for block in deny {
        let denied = say::is(destination(), say::block(*block));
        rules.push(Rule::new(vec![comes_in(), denied, say::drop()]));
    }
    rules.extend([
        Rule::new(vec![goes_out(), say::is_established(), say::accept()]),
        Rule::new(vec![
            goes_out(),
            say::is(destination(), in_set(FLOATING)),
            say::accept(),
        ]),
        Rule::new(vec![goes_out(), say::drop()]),
        // For us a device forwards answers and floating IPs only: the host does not become a router.
        Rule::new(vec![
            say::is(say::device_in(), in_set(FORWARDERS)),
            say::drop(),
        ]),
    ]);
    rules
}

fn leaving() -> Vec<Rule> {
    vec![Rule::new(vec![
        say::is(source(), transfers()),
        say::is_not(say::device_out(), WAYS),
        say::masquerade(),
    ])]
}
