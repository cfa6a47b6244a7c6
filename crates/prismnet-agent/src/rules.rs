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
    mode::Mode,
    network::Ether,
    records::{KnownPort, Records},
    ruleset::{Chain, Family, Hook, Key, Rule, Ruleset, Set, SetKind, say},
};

/// Devices that may send DHCP requests, with their MACs.
pub const DHCP: &str = "dhcp";
/// Devices with the MAC and the address that they send from.
pub const ADDRESSES: &str = "addresses";
/// The same for what ARP packets say.
pub const ARP: &str = "arp";
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

/// All rules of a VPC with these ports.
#[must_use]
pub fn of(records: &Records, here: &Here, ports: &BTreeMap<PortId, KnownPort>) -> Ruleset {
    let mut rules = Ruleset::default();
    let local: Vec<(&PortId, &KnownPort)> = ports
        .iter()
        .filter(|(_, port)| port.host.as_ref() == Some(&here.host) && port.kind != PortKind::Vip)
        .collect();
    put_frame(&mut rules);
    for (id, port) in &local {
        put_identity(&mut rules, **id, port);
    }
    for family in group_families(here.mode) {
        put_groups(&mut rules, *family, records, ports, &local);
    }
    rules
}

/// What is there whatever ports there are: drop by default.
fn put_frame(rules: &mut Ruleset) {
    let sets = [
        (DHCP, SetKind::DeviceMac),
        (ADDRESSES, SetKind::DeviceMacAddress),
        (ARP, SetKind::DeviceArp),
    ];
    for (name, kind) in sets {
        put_set(rules, Family::Bridge, name, kind);
    }
    let identity = Hook {
        name: "prerouting",
        priority: -300,
        policy: "drop",
    };
    put_chain(
        rules,
        Family::Bridge,
        "identity",
        Some(identity),
        identity_rules(),
    );
    let between = Hook {
        name: "forward",
        priority: -300,
        policy: "accept",
    };
    put_chain(
        rules,
        Family::Bridge,
        "between",
        Some(between),
        between_rules(),
    );
    let input = Hook {
        name: "input",
        priority: 0,
        policy: "drop",
    };
    put_chain(rules, Family::Ip, "input", Some(input), input_rules());
}

/// Who a frame says it is from is held against the device it came in by.
fn identity_rules() -> Vec<Rule> {
    let ether = || say::field("ether", "saddr");
    let device_and =
        |parts: Vec<Value>| say::together(std::iter::once(say::device_in()).chain(parts).collect());
    let arp = device_and(vec![
        ether(),
        say::field("arp", "saddr ether"),
        say::field("arp", "saddr ip"),
    ]);
    vec![
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
    ]
}

/// No port is asked for an address, and none gives one.
fn between_rules() -> Vec<Rule> {
    vec![
        Rule::new(vec![say::is(say::field("udp", "dport"), 67), say::drop()]),
        Rule::new(vec![
            say::is(say::field("udp", "sport"), 67),
            say::is(say::field("udp", "dport"), 68),
            say::drop(),
        ]),
    ]
}

/// What the gateway itself answers.
fn input_rules() -> Vec<Rule> {
    vec![
        Rule::new(vec![say::is(say::device_in(), "lo"), say::accept()]),
        Rule::new(vec![say::is_established(), say::accept()]),
        Rule::new(vec![
            say::is(say::field("icmp", "type"), "echo-request"),
            say::accept(),
        ]),
        Rule::new(vec![
            say::is(say::field("udp", "sport"), 68),
            say::is(say::field("udp", "dport"), 67),
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
) {
    for (name, field, priority) in [(EGRESS, "saddr", 0), (INGRESS, "daddr", 10)] {
        put_set(rules, family, name, SetKind::AddressVerdict);
        let hook = Hook {
            name: "forward",
            priority,
            policy: "accept",
        };
        let decide = vec![
            Rule::new(vec![say::is_established(), say::accept()]),
            Rule::new(vec![say::look_up(say::field("ip", field), name)]),
        ];
        put_chain(rules, family, name, Some(hook), decide);
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
    put_element(rules, family, EGRESS, address(), Some(out_chain(id)));
    put_element(rules, family, INGRESS, address(), Some(in_chain(id)));
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
            let prefix = json!({"prefix": {
                "addr": block.network().to_string(), "len": block.prefix_length(),
            }});
            expressions.push(say::is(say::field("ip", field), prefix));
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

fn in_set(name: &str) -> String {
    format!("@{name}")
}

fn put_set(rules: &mut Ruleset, family: Family, name: &str, kind: SetKind) {
    let set = Set {
        is_map: kind == SetKind::AddressVerdict,
        kind: Some(kind),
        elements: BTreeMap::new(),
    };
    rules.sets.insert((family, name.to_owned()), set);
}

fn put_element(rules: &mut Ruleset, family: Family, set: &str, key: Key, target: Option<String>) {
    if let Some(set) = rules.sets.get_mut(&(family, set.to_owned())) {
        set.elements.insert(key, target);
    }
}

fn put_chain(rules: &mut Ruleset, family: Family, name: &str, hook: Option<Hook>, said: Vec<Rule>) {
    rules
        .chains
        .insert((family, name.to_owned()), Chain::new(hook, said));
}

/// Which addresses a port's connections are known by.
#[must_use]
pub fn address_of(key: &Key) -> Option<Ipv4Addr> {
    key.last()?.parse().ok()
}
