//! The rules of a VPC's namespace.
//!
//! ```text
//!  frame ─> bridge prerouting: who it says it is ─> bridge forward: no DHCP between ports ─> (mode) forward: groups
//!                                                   └─> ip input: what the gateway answers
//! ```
//!
//! Groups are asked twice: `egress` by the sender's port, if it is here, and `ingress` by the receiver's, if it is. So a packet
//! between hosts is decided by each host for its own port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use prismnet_model::{
    Direction, GroupId, PortId, PortKind, Protocol, Remote, Rule as GroupRule, Services,
    device::{self, short},
};
use serde_json::{Value, json};

use crate::{
    desired::Here,
    hops::Hops,
    metadata,
    mode::Mode,
    network::Ether,
    records::{KnownPort, Records},
    ruleset::{Chain, Family, Hook, Key, Rule, Ruleset, Set, SetKind, Target, say},
    way_out::{self, WayOut},
};

/// Devices that may send DHCP requests, with their MACs.
pub const DHCP: &str = "dhcp";
/// Devices with the MAC and the address that they send from.
pub const ADDRESSES: &str = "addresses";
/// The same for what ARP packets say.
pub const ARP: &str = "arp";
/// Devices that routes lead to, with their MACs: they are given what is for others, too.
pub const HOPS: &str = "hops";
/// The addresses of all of the VPC's ports that have a host.
pub const KNOWN: &str = "known";
/// From the address of a port here to the chain of what it may send.
pub const EGRESS: &str = "egress";
/// From the address of a port here to the chain of what it may get.
pub const INGRESS: &str = "ingress";

/// The chain of what a port may send.
#[must_use]
pub fn out_chain(port: PortId) -> String {
    format!("out-{}", short(port))
}

/// The chain of what a port may get.
#[must_use]
pub fn in_chain(port: PortId) -> String {
    format!("in-{}", short(port))
}

fn group_out(group: GroupId) -> String {
    format!("gout-{}", short(group))
}

fn group_in(group: GroupId) -> String {
    format!("gin-{}", short(group))
}

fn members(group: GroupId) -> String {
    format!("members-{}", short(group))
}

/// The families that hold the groups' chains. Where the bridge family keeps state, what is routed between subnets still
/// passes the ip family only.
fn group_families(mode: Mode) -> &'static [Family] {
    if mode.bridges_through_ip() {
        &[Family::Ip]
    } else {
        &[Family::Bridge, Family::Ip]
    }
}

/// All rules of a VPC with these ports, and with that way out, if it has one.
#[must_use]
pub fn of(
    records: &Records,
    here: &Here,
    ports: &BTreeMap<PortId, KnownPort>,
    way: Option<&WayOut>,
) -> Ruleset {
    let mut rules = Ruleset::default();
    let local: Vec<(&PortId, &KnownPort)> = ports
        .iter()
        .filter(|(_, port)| port.host.as_ref() == Some(&here.host) && port.kind != PortKind::Vip)
        .collect();
    let hops = hops(records, &local);
    put_frame(&mut rules, &hops);
    hops.put_elements(&mut rules);
    for (id, port) in &local {
        put_identity(&mut rules, **id, port);
    }
    put_known(&mut rules, ports, &hops);
    for family in group_families(here.mode) {
        put_groups(&mut rules, *family, records, ports, &local, &hops);
    }
    if let Some(way) = way {
        way_out::put_rules(&mut rules, way);
    }
    rules
}

/// Those of the VPC's routes that lead to ports here.
fn hops(records: &Records, local: &[(&PortId, &KnownPort)]) -> Hops {
    let subnets = local
        .iter()
        .find_map(|(_, port)| records.subnets.get(&port.subnet));
    let Some(vpc) = subnets.map(|subnet| subnet.vpc) else {
        return Hops::default();
    };
    let own = records.vpcs.get(&vpc).map(|vpc| vpc.cidr_block.block());
    let routes = records.routes.values().filter(|route| route.vpc == vpc);
    Hops::of(routes, own, local)
}

/// What is there whatever ports there are: drop by default.
fn put_frame(rules: &mut Ruleset, hops: &Hops) {
    let sets = [
        (DHCP, SetKind::DeviceMac),
        (ADDRESSES, SetKind::DeviceMacAddress),
        (ARP, SetKind::DeviceArp),
        (HOPS, SetKind::DeviceMac),
    ];
    for (name, kind) in sets {
        put_set(rules, Family::Bridge, name, kind);
    }
    let identity = Hook {
        kind: "filter",
        name: "prerouting",
        priority: -300,
        policy: "drop",
    };
    put_chain(
        rules,
        Family::Bridge,
        "identity",
        Some(identity),
        identity_rules(hops),
    );
    let between = Hook {
        kind: "filter",
        name: "forward",
        priority: -300,
        policy: "drop",
    };
    put_chain(
        rules,
        Family::Bridge,
        "between",
        Some(between),
        between_rules(),
    );
    let input = Hook {
        kind: "filter",
        name: "input",
        priority: 0,
        policy: "drop",
    };
    put_chain(rules, Family::Ip, "input", Some(input), input_rules());
}

/// What is for an address of the VPC's own that nobody has goes nowhere: the kernel would look for its owner, and it has room for
/// a thousand such questions, of all namespaces together.
fn put_known(rules: &mut Ruleset, ports: &BTreeMap<PortId, KnownPort>, hops: &Hops) {
    let Some(own) = hops.own() else { return };
    put_set(rules, Family::Ip, KNOWN, SetKind::Address);
    for port in ports.values().filter(|port| port.host.is_some()) {
        put_element(
            rules,
            Family::Ip,
            KNOWN,
            vec![port.address.to_string()],
            None,
        );
    }
    let hook = Hook {
        kind: "filter",
        name: "forward",
        priority: -10,
        policy: "accept",
    };
    let address = || say::field("ip", "daddr");
    let nobody = Rule::new(vec![
        say::is(address(), say::block(own)),
        say::is_not(address(), in_set(KNOWN)),
        say::drop(),
    ]);
    put_chain(rules, Family::Ip, KNOWN, Some(hook), vec![nobody]);
}

/// Who a frame says it is from is held against the device it came in by.
fn identity_rules(hops: &Hops) -> Vec<Rule> {
    let ether = || say::field("ether", "saddr");
    let device_and =
        |parts: Vec<Value>| say::together(std::iter::once(say::device_in()).chain(parts).collect());
    let arp = device_and(vec![
        ether(),
        say::field("arp", "saddr ether"),
        say::field("arp", "saddr ip"),
    ]);
    let known = vec![
        // Nothing else, and nothing with a tag before it (802.1Q): the ip family does not see that, and who gets it reads it.
        Rule::new(vec![
            say::is_not(say::field("ether", "type"), json!({"set": ["ip", "arp"]})),
            say::drop(),
        ]),
        // From other hosts, where it was held against their ports.
        Rule::new(vec![say::is(say::device_in(), "pnx*"), say::accept()]),
        Rule::new(vec![say::is(arp, in_set(ARP)), say::accept()]),
        Rule::new(vec![
            say::is(
                device_and(vec![ether(), say::field("ip", "saddr")]),
                in_set(ADDRESSES),
            ),
            say::accept(),
        ]),
        Rule::new(vec![
            say::is(say::field("ip", "saddr"), "0.0.0.0"),
            say::is(say::field("udp", "sport"), 68),
            say::is(say::field("udp", "dport"), 67),
            say::is(device_and(vec![ether()]), in_set(DHCP)),
            say::accept(),
        ]),
    ];
    known.into_iter().chain(hops.identity_rules()).collect()
}

/// Nobody is asked for an address but the gateway, and nobody else gives one.
fn no_dhcp() -> [Rule; 2] {
    [
        Rule::new(vec![say::is(say::field("udp", "dport"), 67), say::drop()]),
        Rule::new(vec![
            say::is(say::field("udp", "sport"), 67),
            say::is(say::field("udp", "dport"), 68),
            say::drop(),
        ]),
    ]
}

/// A port gets what is for its own address, which is what its groups decide about: no broadcasts, and nothing that only has
/// its MAC.
fn between_rules() -> Vec<Rule> {
    let to = |parts: Vec<Value>| {
        let ether = say::field("ether", "daddr");
        say::together([vec![say::device_out(), ether], parts].concat())
    };
    let address = to(vec![say::field("ip", "daddr")]);
    let rest = vec![
        Rule::new(vec![
            say::is(say::field("ether", "type"), "arp"),
            say::accept(),
        ]),
        // To other hosts, where it is held against their ports.
        Rule::new(vec![say::is(say::device_out(), "pnx*"), say::accept()]),
        Rule::new(vec![say::is(address, in_set(ADDRESSES)), say::accept()]),
        Rule::new(vec![say::is(to(Vec::new()), in_set(HOPS)), say::accept()]),
    ];
    no_dhcp().into_iter().chain(rest).collect()
}

/// What the gateway itself answers.
fn input_rules() -> Vec<Rule> {
    vec![
        Rule::new(vec![say::is(say::device_in(), "lo"), say::accept()]),
        Rule::new(vec![say::is_established(), say::accept()]),
        // By the way out the gateway is nobody.
        Rule::new(vec![
            say::is(say::device_in(), device::UPLINK_INSIDE),
            say::drop(),
        ]),
        Rule::new(vec![
            say::is(say::field("icmp", "type"), "echo-request"),
            say::accept(),
        ]),
        Rule::new(vec![
            say::is(say::field("udp", "sport"), 68),
            say::is(say::field("udp", "dport"), 67),
            say::accept(),
        ]),
        Rule::new(vec![
            say::is(say::field("ip", "daddr"), metadata::ADDRESS.to_string()),
            say::is(say::field("tcp", "dport"), metadata::PORT),
            say::accept(),
        ]),
    ]
}

/// By what a port is told from others.
fn put_identity(rules: &mut Ruleset, id: PortId, port: &KnownPort) {
    let device = match port.kind {
        PortKind::Guest => device::tap(id),
        PortKind::Pod | PortKind::Service => device::veth(id),
        PortKind::Vip => return,
    };
    let mac = Ether(port.mac.bytes()).to_string();
    let address = port.address.to_string();
    put_element(
        rules,
        Family::Bridge,
        DHCP,
        vec![device.clone(), mac.clone()],
        None,
    );
    let by_address = vec![device.clone(), mac.clone(), address.clone()];
    put_element(rules, Family::Bridge, ADDRESSES, by_address, None);
    let by_arp = vec![device, mac.clone(), mac, address];
    put_element(rules, Family::Bridge, ARP, by_arp, None);
}

fn put_groups(
    rules: &mut Ruleset,
    family: Family,
    records: &Records,
    ports: &BTreeMap<PortId, KnownPort>,
    local: &[(&PortId, &KnownPort)],
    hops: &Hops,
) {
    let egress: Vec<Rule> = hops.egress_rules().collect();
    let ingress: Vec<Rule> = hops.ingress_rules().collect();
    let directions = [
        (EGRESS, "saddr", 0, egress),
        (INGRESS, "daddr", 10, ingress),
    ];
    for (name, field, priority, beyond) in directions {
        put_set(rules, family, name, SetKind::AddressVerdict);
        let hook = Hook {
            kind: "filter",
            name: "forward",
            priority,
            policy: "accept",
        };
        let own = [
            Rule::new(vec![say::is_established(), say::accept()]),
            Rule::new(vec![say::look_up(say::field("ip", field), name)]),
        ];
        // The gateway does not pass on what ports are not to hear from each other.
        let decide = no_dhcp().into_iter().chain(own).chain(beyond);
        put_chain(rules, family, name, Some(hook), decide.collect());
    }
    let mut used = BTreeSet::new();
    for (id, port) in local {
        used.extend(port.groups.iter().copied());
        put_port(rules, family, **id, port);
    }
    let mut named = BTreeSet::new();
    for group in used {
        let of_group = records.rules.get(&group);
        let of_group = || of_group.into_iter().flat_map(BTreeMap::values);
        let say = |direction| {
            let rules = of_group().filter(move |rule| rule.direction == direction);
            rules.map(group_rule).collect()
        };
        put_chain(
            rules,
            family,
            &group_out(group),
            None,
            say(Direction::Egress),
        );
        put_chain(
            rules,
            family,
            &group_in(group),
            None,
            say(Direction::Ingress),
        );
        named.extend(of_group().filter_map(|rule| match rule.remote {
            Remote::Group(other) => Some(other),
            Remote::Cidr(_) => None,
        }));
    }
    for group in &named {
        put_set(rules, family, &members(*group), SetKind::Address);
    }
    for port in ports.values() {
        for group in port.groups.iter().filter(|group| named.contains(group)) {
            let address = vec![port.address.to_string()];
            put_element(rules, family, &members(*group), address, None);
        }
    }
}

/// A port's chains: what one of its groups accepts, and nothing else.
fn put_port(rules: &mut Ruleset, family: Family, id: PortId, port: &KnownPort) {
    let groups = |chain: fn(GroupId) -> String| {
        let jumps = port
            .groups
            .iter()
            .map(|group| Rule::new(vec![say::jump(&chain(*group))]));
        jumps.chain([Rule::new(vec![say::drop()])]).collect()
    };
    put_chain(rules, family, &out_chain(id), None, groups(group_out));
    put_chain(rules, family, &in_chain(id), None, groups(group_in));
    let address = || vec![port.address.to_string()];
    put_element(
        rules,
        family,
        EGRESS,
        address(),
        Some(Target::Chain(out_chain(id))),
    );
    put_element(
        rules,
        family,
        INGRESS,
        address(),
        Some(Target::Chain(in_chain(id))),
    );
}

/// What a rule of a group accepts.
fn group_rule(rule: &GroupRule) -> Rule {
    let field = match rule.direction {
        Direction::Ingress => "saddr",
        Direction::Egress => "daddr",
    };
    let mut expressions = Vec::new();
    match rule.remote {
        Remote::Group(group) => {
            expressions.push(say::is(say::field("ip", field), in_set(&members(group))));
        }
        Remote::Cidr(block) if block.prefix_length() > 0 => {
            expressions.push(say::is(say::field("ip", field), say::block(block)));
        }
        Remote::Cidr(_) => {}
    }
    expressions.extend(services(rule.services));
    expressions.push(say::accept());
    Rule::new(expressions)
}

fn services(services: Services) -> Vec<Value> {
    match services {
        Services::All(Protocol::Any) => Vec::new(),
        Services::All(Protocol::Number(number)) => {
            vec![say::is(say::field("ip", "protocol"), number)]
        }
        Services::Ports { protocol, min, max } => {
            let word = if protocol == Protocol::UDP {
                "udp"
            } else {
                "tcp"
            };
            let ports = if min == max {
                json!(min)
            } else {
                json!({"range": [min, max]})
            };
            vec![say::is(say::field(word, "dport"), ports)]
        }
        Services::Icmp { kind, code } => {
            let kind = say::is(say::field("icmp", "type"), kind);
            let code = code.map(|code| say::is(say::field("icmp", "code"), code));
            std::iter::once(kind).chain(code).collect()
        }
    }
}

pub(crate) fn in_set(name: &str) -> String {
    format!("@{name}")
}

pub(crate) fn put_set(rules: &mut Ruleset, family: Family, name: &str, kind: SetKind) {
    let set = Set {
        is_map: kind.is_map(),
        kind: Some(kind),
        elements: BTreeMap::new(),
    };
    rules.sets.insert((family, name.to_owned()), set);
}

pub(crate) fn put_element(
    rules: &mut Ruleset,
    family: Family,
    set: &str,
    key: Key,
    target: Option<Target>,
) {
    if let Some(set) = rules.sets.get_mut(&(family, set.to_owned())) {
        set.elements.insert(key, target);
    }
}

pub(crate) fn put_chain(
    rules: &mut Ruleset,
    family: Family,
    name: &str,
    hook: Option<Hook>,
    said: Vec<Rule>,
) {
    rules
        .chains
        .insert((family, name.to_owned()), Chain::new(hook, said));
}

/// Which addresses a port's connections are known by.
#[must_use]
pub fn address_of(key: &Key) -> Option<Ipv4Addr> {
    key.last()?.parse().ok()
}
