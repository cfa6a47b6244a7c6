//! Plans, done to a kernel that only remembers.

use std::collections::{BTreeMap, BTreeSet};

use photon_testkit::Seed;
use prismnet_agent::{
    clash::clashes,
    desired::{Here, Wanted, desired},
    network::{Actual, Network},
    plan::{Step, lost_floating, orphans, plan},
    records::{Known, Records},
    rules,
    ruleset::{Family, RuleChange, Target},
    served::served,
    transfer::Transfers,
    way_out::{self, Told},
};
use prismnet_model::{
    Direction, Gone, GoneFloatingIp, Port, PortKind, Protocol, Remote, Rule, SecurityGroup,
    Services, Subnet, Vpc,
};
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    model::{apply, remove_bridge, says_the_same},
    samples,
};

/// Passes until nothing is left to do; more than a few would be one that never ends.
fn settle(wanted: &Wanted, actual: &mut Actual) -> Vec<Step> {
    let mut done = Vec::new();
    for _ in 0..4 {
        let steps = plan(wanted, actual);
        if steps.is_empty() {
            return done;
        }
        check_order(&steps);
        for step in &steps {
            apply(actual, step);
            check_guarded(actual);
        }
        done.extend(steps);
    }
    panic!("never ends: {:#?}", plan(wanted, actual));
}

fn removes(step: &Step) -> bool {
    matches!(
        step,
        Step::RemoveRoute(..)
            | Step::RemoveNeighbour(..)
            | Step::RemoveRemote(..)
            | Step::RemoveForwarding(..)
            | Step::RemovePlug(..)
            | Step::RemoveAddress(..)
            | Step::RemoveTunnel(..)
            | Step::RemoveBridge(..)
            | Step::RemoveUplink
            | Step::RemoveNamespace
    )
}

fn adds(step: &Step) -> bool {
    match step {
        Step::Change(changes) => changes
            .iter()
            .any(|change| matches!(change, RuleChange::Table(_))),
        // Belongs to the change before it.
        Step::Forget(..) => false,
        other => !removes(other),
    }
}

/// Nothing is added after something was removed.
fn check_order(steps: &[Step]) {
    let first_removal = steps.iter().position(removes).unwrap_or(steps.len());
    let late = steps[first_removal..].iter().find(|step| adds(step));
    assert!(late.is_none(), "{late:?} comes after removals: {steps:#?}");
}

/// A port that is attached has rules that say who it is and what it may.
fn check_guarded(actual: &Actual) {
    let network = &actual.network;
    for (name, plug) in &network.plugs {
        let is_attached = plug.seat.bridge.is_some() && plug.seat.up;
        if !is_attached {
            continue;
        }
        let named = (Family::Bridge, rules::ADDRESSES.to_owned());
        let addresses = &network.rules.sets[&named].elements;
        assert!(
            addresses.keys().any(|key| key[0] == *name),
            "{name} may be anybody"
        );
        assert!(
            network
                .rules
                .chains
                .contains_key(&(Family::Bridge, "identity".to_owned()))
        );
        for chain in [rules::in_chain(plug.port), rules::out_chain(plug.port)] {
            let chain = &network.rules.chains[&(Family::Ip, chain)];
            assert!(!chain.rules.is_empty(), "{name} may do anything");
        }
    }
}

fn check_reached(wanted: &Wanted, actual: &Actual) {
    let target = &wanted.network;
    let found = &actual.network;
    assert_eq!(
        Network {
            rules: found.rules.clone(),
            ..target.clone()
        },
        *found
    );
    assert!(
        says_the_same(&target.rules, &found.rules),
        "{:#?}\n{:#?}",
        target.rules,
        found.rules
    );
}

/// A VPC with two subnets, a port here and one elsewhere.
struct World {
    records: Records,
    vpc: Vpc,
    subnets: Vec<Subnet>,
    groups: Vec<SecurityGroup>,
    rules: Vec<Rule>,
    ports: Vec<Port>,
    next: u8,
}

impl World {
    fn new() -> Self {
        let vpc = samples::vpc("10.0.0.0/16");
        let subnets = vec![
            samples::subnet(&vpc, "10.0.1.0/24", 5001),
            samples::subnet(&vpc, "10.0.2.0/24", 5002),
        ];
        let groups = vec![samples::group(), samples::group()];
        let mut world = Self {
            records: Records::default(),
            vpc,
            subnets,
            groups,
            rules: Vec::new(),
            ports: Vec::new(),
            next: 1,
        };
        world.records.put(Known::Vpc(Box::new(world.vpc.clone())));
        for subnet in &world.subnets {
            world.records.put(Known::Subnet(Box::new(subnet.clone())));
        }
        for group in world.groups.clone() {
            world.records.put(Known::Group(Box::new(group.clone())));
            for rule in samples::default_rules(group.id) {
                world.put_rule(rule);
            }
        }
        world
            .records
            .put(Known::Host(samples::host("there", "192.0.2.2")));
        world
    }

    fn put_rule(&mut self, rule: Rule) {
        self.records.put(Known::Rule(Box::new(rule.clone())));
        self.rules.push(rule);
    }

    fn put_port(
        &mut self,
        subnet: usize,
        kind: PortKind,
        host: Option<&str>,
        groups: &[usize],
    ) -> Port {
        self.next += 1;
        let address = format!("10.0.{}.{}", subnet + 1, self.next);
        let groups: Vec<_> = groups.iter().map(|at| self.groups[*at].id).collect();
        let mut port = samples::port(&self.subnets[subnet], &address, kind, &groups);
        port.host = host.map(samples::name);
        samples::put_port(&mut self.records, &port);
        self.ports.push(port.clone());
        port
    }

    /// As the control plane does it.
    fn delete_port(&mut self, at: usize) {
        let port = self.ports.remove(at);
        if let Some(gone) = Gone::of(&port, jiff::Timestamp::UNIX_EPOCH) {
            self.records.put(Known::Gone(gone, 1));
        }
        self.records.remove(&format!("port/{}", port.key()));
    }

    fn wanted(&self, here: &Here) -> Wanted {
        let mut transfers = Transfers::default();
        transfers.give(&way_out::wanted(&self.records, here), &BTreeMap::new());
        let told = Told::of(&self.records, &BTreeSet::new());
        desired(&self.records, here, &transfers, &told)
            .remove(&self.vpc.id)
            .unwrap_or_default()
    }
}

#[test]
fn a_port_here_makes_its_vpc_and_the_last_one_ends_it() {
    let here = samples::here();
    let mut world = World::new();
    world.put_port(0, PortKind::Service, Some("here"), &[0]);
    world.put_port(1, PortKind::Guest, Some("there"), &[0, 1]);
    let mut actual = Actual::default();
    let wanted = world.wanted(&here);
    settle(&wanted, &mut actual);
    check_reached(&wanted, &actual);
    let network = &actual.network;
    assert_eq!(
        (
            network.bridges.len(),
            network.plugs.len(),
            network.remotes.len()
        ),
        (2, 1, 1)
    );

    world.delete_port(0);
    let steps = settle(&world.wanted(&here), &mut actual);
    assert_eq!(steps.last(), Some(&Step::RemoveNamespace));
    assert_eq!(actual, Actual::default());
    assert!(
        plan(&world.wanted(&here), &actual).is_empty(),
        "what is not here is not missed"
    );
}

#[test]
fn what_leads_to_a_port_elsewhere_goes_by_an_order_only() {
    let here = samples::here();
    let mut world = World::new();
    world.put_port(0, PortKind::Service, Some("here"), &[0]);
    let lost = world.put_port(0, PortKind::Service, Some("there"), &[0]);
    let mut actual = Actual::default();
    settle(&world.wanted(&here), &mut actual);
    let before = actual.clone();
    let known = (Family::Ip, rules::KNOWN.to_owned());
    let is_known = |actual: &Actual| {
        let elements = &actual.network.rules.sets[&known].elements;
        elements.contains_key(&vec![lost.ip_address.to_string()])
    };
    assert!(is_known(&before));

    // A store that went back does not know it: it runs on, and is reached.
    world.records.remove(&format!("port/{}", lost.key()));
    let steps = settle(&world.wanted(&here), &mut actual);
    assert_eq!(actual.network.remotes, before.network.remotes, "{steps:#?}");
    assert_eq!(actual.network.forwarding, before.network.forwarding);
    assert_eq!(actual.network.neighbours, before.network.neighbours);
    assert!(is_known(&actual));

    // Deleted, it is not.
    samples::put_port(&mut world.records, &lost);
    world.delete_port(1);
    let wanted = world.wanted(&here);
    settle(&wanted, &mut actual);
    check_reached(&wanted, &actual);
    assert!(actual.network.remotes.is_empty() && !is_known(&actual));
}

#[test]
fn absence_is_no_order() {
    let here = samples::here();
    let mut world = World::new();
    let kept = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    world.put_port(0, PortKind::Service, Some("here"), &[0, 1]);
    let mut actual = Actual::default();
    settle(&world.wanted(&here), &mut actual);
    let before = actual.clone();

    // The record vanishes; nobody said "gone".
    world.records.remove(&format!("port/{}", kept.key()));
    let wanted = world.wanted(&here);
    settle(&wanted, &mut actual);
    let device = prismnet_model::device::veth(kept.id);
    assert_eq!(orphans(&wanted, &actual).get(&device), Some(&kept.id));
    assert_eq!(actual.network.plugs, before.network.plugs);
    assert_eq!(actual.network.neighbours, before.network.neighbours);
    assert_eq!(actual.network.forwarding, before.network.forwarding);
    check_guarded(&actual);
    let members = |actual: &Actual| {
        let sets = actual
            .network
            .rules
            .sets
            .iter()
            .filter(|((_, name), _)| name.starts_with("members-"));
        sets.map(|(name, set)| (name.clone(), set.elements.clone()))
            .collect::<Vec<_>>()
    };
    let was_member = members(&before)
        .iter()
        .any(|(_, set)| set.contains_key(&vec![kept.ip_address.to_string()]));
    assert!(was_member);
    let still = members(&actual);
    let is_member = |set: &(_, std::collections::BTreeMap<Vec<String>, _>)| {
        set.1.contains_key(&vec![kept.ip_address.to_string()])
    };
    assert!(
        still.iter().any(is_member),
        "whom it may reach, it may reach on"
    );

    // The whole VPC vanishes.
    let all = Wanted::default();
    let steps = settle(&all, &mut actual);
    assert_eq!(actual.network.plugs, before.network.plugs, "{steps:#?}");
    assert!(actual.exists && actual.network.bridges.len() == 1);
    check_guarded(&actual);

    // It is back: adopted as it stands.
    samples::put_port(&mut world.records, &kept);
    let wanted = world.wanted(&here);
    settle(&wanted, &mut actual);
    check_reached(&wanted, &actual);

    // Now somebody says so.
    let at = world
        .ports
        .iter()
        .position(|port| port.id == kept.id)
        .unwrap();
    world.delete_port(at);
    let steps = settle(&world.wanted(&here), &mut actual);
    assert!(steps.contains(&Step::RemovePlug(device, kept.id)));
    check_reached(&world.wanted(&here), &actual);
}

#[test]
fn an_orphan_keeps_its_address_though_the_store_gave_it_away() {
    let here = samples::here();
    let mut world = World::new();
    let orphan = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    world.put_port(0, PortKind::Service, Some("here"), &[0, 1]);
    let mut actual = Actual::default();
    settle(&world.wanted(&here), &mut actual);
    let before = actual.clone();
    world.records.remove(&format!("port/{}", orphan.key()));
    world.ports.remove(0);
    settle(&world.wanted(&here), &mut actual);

    // Its address is given to another port, here or elsewhere, in another group.
    for (kind, host) in [
        (PortKind::Guest, "here"),
        (PortKind::Service, "here"),
        (PortKind::Service, "there"),
    ] {
        let address = orphan.ip_address.to_string();
        let mut other = samples::port(&world.subnets[0], &address, kind, &[world.groups[1].id]);
        other.mac_address = prismnet_model::Mac::ours(77);
        other.host = Some(samples::name(host));
        samples::put_port(&mut world.records, &other);
        actual.outside.insert(prismnet_model::device::tap(other.id));
        let wanted = world.wanted(&here);
        settle(&wanted, &mut actual);
        let clash = &clashes(&wanted, &actual)[..];
        assert_eq!(clash.len(), 1);
        assert_eq!(
            (clash[0].orphan, clash[0].port),
            (orphan.id, (host == "here").then_some(other.id))
        );
        assert_eq!(actual.network.plugs, before.network.plugs);
        assert_eq!(actual.network.neighbours, before.network.neighbours);
        let of_orphan = |actual: &Actual| {
            let sets = &actual.network.rules.sets;
            let alone = vec![orphan.ip_address.to_string()];
            let has = sets
                .iter()
                .filter(|(_, set)| set.elements.contains_key(&alone));
            has.map(|(name, set)| (name.clone(), set.elements[&alone].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(of_orphan(&actual), of_orphan(&before));
        assert!(of_orphan(&before).iter().any(|(_, target)| {
            target.as_ref().and_then(Target::chain) == Some(&rules::out_chain(orphan.id))
        }));
        // Nobody is told that it is the other one, and the orphan goes on being told who it is.
        let served = served(&wanted, &actual);
        assert_eq!(served.ports[&orphan.ip_address], orphan.id);
        assert!(
            served
                .leases
                .iter()
                .any(|lease| lease.mac == orphan.mac_address && lease.address == orphan.ip_address)
        );
        assert!(
            served
                .leases
                .iter()
                .all(|lease| lease.mac != other.mac_address)
        );

        // Purged, it makes room.
        let mut purged = actual.clone();
        let mut wanted = wanted;
        wanted.removed.insert(orphan.id);
        settle(&wanted, &mut purged);
        check_reached(&wanted, &purged);
        world.records.remove(&format!("port/{}", other.key()));
        actual.outside.clear();
        settle(&world.wanted(&here), &mut actual);
    }
}

#[test]
fn a_floating_ip_goes_by_what_is_said_only() {
    let here = samples::here();
    let mut world = World::new();
    let port = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    let network = samples::external_network("198.51.100.0/24", &[("here", "eth1")]);
    let floating = samples::floating_ip(&network, "198.51.100.7", &port);
    world
        .records
        .put(Known::ExternalNetwork(Box::new(network.clone())));
    world
        .records
        .put(Known::FloatingIp(Box::new(floating.clone())));
    let mut actual = Actual::default();
    settle(&world.wanted(&here), &mut actual);
    let before = actual.clone();
    let lost = |wanted: &Wanted, actual: &Actual| lost_floating(wanted, actual);

    // Its record is lost.
    let key = format!("floating-ip/{}", floating.key());
    world.records.remove(&key);
    let wanted = world.wanted(&here);
    let steps = settle(&wanted, &mut actual);
    assert_eq!(steps, Vec::new());
    assert!(wanted.network.uplink.is_none());
    assert_eq!(lost(&wanted, &actual), BTreeSet::from([floating.address]));

    // Another one for the same port: that is translated to, and both lead to it.
    let second = samples::floating_ip(&network, "198.51.100.8", &port);
    world
        .records
        .put(Known::FloatingIp(Box::new(second.clone())));
    settle(&world.wanted(&here), &mut actual);
    let set = |actual: &Actual, name: &str| {
        let set = &actual.network.rules.sets[&(Family::Ip, name.to_owned())];
        set.elements.keys().flatten().cloned().collect::<Vec<_>>()
    };
    assert_eq!(
        set(&actual, way_out::INWARD),
        ["198.51.100.7", "198.51.100.8"]
    );
    assert_eq!(set(&actual, way_out::FLOATERS), ["10.0.1.2"]);
    world
        .records
        .remove(&format!("floating-ip/{}", second.key()));
    let gone = |floating| GoneFloatingIp::of(floating, jiff::Timestamp::UNIX_EPOCH);
    world.records.put(Known::GoneFloatingIp(gone(&second), 1));
    settle(&world.wanted(&here), &mut actual);
    assert_eq!(set(&actual, way_out::INWARD), ["198.51.100.7"]);

    // The port goes, and another one gets its address: what led to it does not lead to that.
    let mut other = actual.clone();
    let records = world.records.clone();
    world.next = 1;
    let next = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    assert_eq!(next.ip_address, port.ip_address);
    world.delete_port(0);
    let wanted = world.wanted(&here);
    settle(&wanted, &mut other);
    assert_eq!(lost(&wanted, &other), BTreeSet::new());
    assert!(other.network.uplink.is_none());
    world.records = records;

    // An order.
    let mut actual = before;
    world.records.put(Known::GoneFloatingIp(gone(&floating), 1));
    let wanted = world.wanted(&here);
    settle(&wanted, &mut actual);
    assert_eq!(lost(&wanted, &actual), BTreeSet::new());
    assert!(actual.network.uplink.is_none());
}

#[test]
fn only_who_loses_something_is_forgotten() {
    let here = samples::here();
    let mut world = World::new();
    let one = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    world.put_port(0, PortKind::Service, Some("here"), &[1]);
    let both = world.put_port(1, PortKind::Service, Some("here"), &[0, 1]);
    let web = Services::new(Protocol::TCP, Some(80), None).unwrap();
    let remote = Remote::Cidr("10.9.0.0/16".parse().unwrap());
    let rule = samples::rule(world.groups[0].id, Direction::Ingress, web, remote);
    let mut actual = Actual::default();
    settle(&world.wanted(&here), &mut actual);
    let forgotten = |steps: &[Step]| -> Vec<_> {
        let each = steps.iter().filter_map(|step| match step {
            Step::Forget(addresses, _) => Some(addresses.iter().copied().collect::<Vec<_>>()),
            _ => None,
        });
        each.flatten().collect()
    };
    world.put_rule(rule.clone());
    let none: Vec<std::net::Ipv4Addr> = Vec::new();
    assert_eq!(
        forgotten(&settle(&world.wanted(&here), &mut actual)),
        none,
        "more is allowed"
    );
    world.records.remove(&format!("rule/{}", rule.key()));
    let steps = settle(&world.wanted(&here), &mut actual);
    assert_eq!(forgotten(&steps), [one.ip_address, both.ip_address]);

    // Out of a group that others let in.
    let mut alone = both.clone();
    alone.security_groups.truncate(1);
    samples::put_port(&mut world.records, &alone);
    assert!(forgotten(&settle(&world.wanted(&here), &mut actual)).contains(&both.ip_address));

    // What somebody broke is repaired, and nobody loses by that.
    actual.network.rules = Default::default();
    assert_eq!(forgotten(&settle(&world.wanted(&here), &mut actual)), none);
}

#[test]
fn a_port_that_moves_away_is_reached_there_before_it_goes_here() {
    let here = samples::here();
    let mut world = World::new();
    let mut port = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    world.put_port(0, PortKind::Service, Some("here"), &[0]);
    let mut actual = Actual::default();
    settle(&world.wanted(&here), &mut actual);
    port.host = Some(samples::name("there"));
    samples::put_port(&mut world.records, &port);
    let wanted = world.wanted(&here);
    let steps = plan(&wanted, &actual);
    let at = |what: fn(&Step) -> bool| steps.iter().position(what).unwrap();
    let put = at(|step| matches!(step, Step::PutForwarding(..)));
    assert!(put < at(|step| matches!(step, Step::RemovePlug(..))));
    settle(&wanted, &mut actual);
    check_reached(&wanted, &actual);
}

#[test]
fn a_guest_waits_for_its_tap_and_keeps_nobody_else_waiting() {
    let here = samples::here();
    let mut world = World::new();
    let guest = world.put_port(0, PortKind::Guest, Some("here"), &[0]);
    world.put_port(0, PortKind::Service, Some("here"), &[0]);
    let mut actual = Actual::default();
    let wanted = world.wanted(&here);
    settle(&wanted, &mut actual);
    assert_eq!(actual.network.plugs.len(), 1);
    let tap = prismnet_model::device::tap(guest.id);
    actual.outside.insert(tap.clone());
    let steps = settle(&wanted, &mut actual);
    assert_eq!(steps[0], Step::MoveIn(tap));
    check_reached(&wanted, &actual);
}

#[test]
fn a_device_that_says_it_is_something_else_is_left_alone() {
    let here = samples::here();
    let mut world = World::new();
    let port = world.put_port(0, PortKind::Service, Some("here"), &[0]);
    let device = prismnet_model::device::veth(port.id);
    let mut actual = Actual {
        exists: true,
        ..Actual::default()
    };
    actual.foreign.insert(device.clone());
    let wanted = world.wanted(&here);
    let steps = settle(&wanted, &mut actual);
    let touches = |step: &Step| match step {
        Step::PutPlug(name, _) | Step::PutInside(name, ..) | Step::RemovePlug(name, _) => {
            *name == device
        }
        _ => false,
    };
    assert!(!steps.iter().any(touches), "{steps:#?}");
}

/// Something happens to the records.
fn mutate(world: &mut World, rng: &mut StdRng) {
    let kinds = [
        PortKind::Service,
        PortKind::Guest,
        PortKind::Pod,
        PortKind::Vip,
    ];
    let hosts = [
        Some("here"),
        Some("here"),
        Some("there"),
        Some("unheard-of"),
        None,
    ];
    match rng.random_range(0..12) {
        0..4 if world.next < 250 => {
            let kind = *kinds.choose(rng).unwrap();
            let host = if kind == PortKind::Vip {
                None
            } else {
                *hosts.choose(rng).unwrap()
            };
            let groups: &[usize] = [&[][..], &[0], &[1], &[0, 1]].choose(rng).unwrap();
            world.put_port(rng.random_range(0..2), kind, host, groups);
        }
        4..6 if !world.ports.is_empty() => {
            let at = rng.random_range(0..world.ports.len());
            world.delete_port(at);
        }
        6 if !world.ports.is_empty() => {
            let at = rng.random_range(0..world.ports.len());
            let port = &mut world.ports[at];
            if port.kind != PortKind::Vip {
                port.host = hosts.choose(rng).unwrap().map(samples::name);
            }
            port.security_groups.truncate(1);
            samples::put_port(&mut world.records, &port.clone());
        }
        7 => {
            let group = world.groups.choose(rng).unwrap().id;
            let port = rng.random_range(1..1000);
            let services = Services::new(Protocol::TCP, Some(port), None).unwrap();
            let remote = match rng.random_range(0..2) {
                0 => Remote::Group(world.groups.choose(rng).unwrap().id),
                _ => Remote::Cidr("10.9.0.0/16".parse().unwrap()),
            };
            world.put_rule(samples::rule(group, Direction::Ingress, services, remote));
        }
        8 if !world.rules.is_empty() => {
            let at = rng.random_range(0..world.rules.len());
            let rule = world.rules.remove(at);
            world.records.remove(&format!("rule/{}", rule.key()));
        }
        9 => {
            let route = samples::route(&world.subnets[0], "172.16.0.0/12", "10.0.1.250");
            let key = format!("route/{}", route.key());
            world.records.put(Known::Route(Box::new(route)));
            if rng.random_bool(0.5) {
                world.records.remove(&key);
            }
        }
        10 => {
            world.vpc.internet_access = rng.random();
            world.records.put(Known::Vpc(Box::new(world.vpc.clone())));
        }
        11 => {
            let network = samples::external_network("198.51.100.0/24", &[("here", "eth1")]);
            world.records.floating_ips.clear();
            if let Some(port) = world.ports.choose(rng) {
                let floating = samples::floating_ip(&network, "198.51.100.7", port);
                world.records.put(Known::FloatingIp(Box::new(floating)));
            }
            world.records.put(Known::ExternalNetwork(Box::new(network)));
        }
        _ => {}
    }
}

/// Something happens to the kernel.
fn disturb(actual: &mut Actual, rng: &mut StdRng) {
    let network = &mut actual.network;
    match rng.random_range(0..9) {
        0 => {
            let names: Vec<_> = network.bridges.keys().cloned().collect();
            if let Some(name) = names.choose(rng) {
                remove_bridge(network, name);
            }
        }
        1 => network.rules = Default::default(),
        2 => network.neighbours.clear(),
        3 => network.forwarding.clear(),
        4 => {
            let at = rng.random_range(0..=network.rules.chains.len());
            if let Some(chain) = network.rules.chains.values_mut().nth(at) {
                chain.rules.clear();
                chain.jumps.clear();
                chain.looks.clear();
            }
        }
        5 => {
            if let Some(bridge) = network.bridges.values_mut().next() {
                bridge.addresses.clear();
                bridge.mtu = 1500;
            }
        }
        6 => network.settings.clear(),
        7 => {
            network.uplink = None;
            network.routes.clear();
        }
        _ => {}
    }
}

#[test]
fn whatever_happens_a_few_passes_reach_what_is_wanted() {
    let seed = Seed::for_test("whatever_happens_a_few_passes_reach_what_is_wanted");
    for case in 0..25 {
        let mut rng = seed.rng(case);
        let here = samples::here();
        let mut world = World::new();
        let mut actual = Actual::default();
        for _ in 0..40 {
            mutate(&mut world, &mut rng);
            // Guests and pods come with their devices at once.
            for port in world.wanted(&here).ports.values() {
                if !actual.network.plugs.contains_key(&port.device) {
                    actual.outside.insert(port.device.clone());
                }
            }
            if rng.random_bool(0.3) {
                disturb(&mut actual, &mut rng);
            }
            let wanted = world.wanted(&here);
            if rng.random_bool(0.5) {
                // It is killed somewhere in between.
                let steps = plan(&wanted, &actual);
                let mut done = rng.random_range(0..=steps.len());
                // What is moved in and not attached would be found by its name, which this kernel does not know.
                while done > 0 && matches!(steps[done - 1], Step::MoveIn(_)) {
                    done += 1;
                }
                steps[..done]
                    .iter()
                    .for_each(|step| apply(&mut actual, step));
            }
            // What was disturbed is not guarded before it is repaired; afterwards it is.
            for _ in 0..4 {
                let steps = plan(&wanted, &actual);
                check_order(&steps);
                steps.iter().for_each(|step| apply(&mut actual, step));
            }
            assert!(
                plan(&wanted, &actual).is_empty(),
                "{:#?}",
                plan(&wanted, &actual)
            );
            check_reached(&wanted, &actual);
            check_guarded(&actual);
            actual.outside.clear();
        }
    }
}
