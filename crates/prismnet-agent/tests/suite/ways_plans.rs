//! Plans of the host's own side of ways out, done to a kernel that only remembers.

use std::collections::BTreeSet;

use photon_testkit::Seed;
use prismnet_agent::{
    host::{
        FLOATING_TABLE, desired,
        network::{Hop, HostActual, HostDevice, HostNetwork, HostWanted, WaySide},
        plan::{HostStep, plan},
        rules::{FLOATING, FORWARDERS, VTEPS},
        target::{forwarding, source_check, table_of, target},
    },
    records::{Known, Records},
    ruleset::{Family, RuleChange},
    transfer::{Transfer, Transfers},
    way_out::{self, Told},
};
use prismnet_model::{
    ExternalNetwork, FloatingIp, Gone, GoneFloatingIp, Port, PortKind, Subnet, Vpc, device,
};
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    model::{change, says_the_same},
    samples,
};

/// Two VPCs with two ports each, two external networks on two interfaces, four floating IPs.
struct World {
    records: Records,
    vpcs: Vec<Vpc>,
    ports: Vec<Port>,
    networks: Vec<ExternalNetwork>,
    floating: Vec<FloatingIp>,
}

impl World {
    /// As the control plane does it.
    fn release(&mut self, at: usize) {
        let floating = self.floating.remove(at);
        let gone = GoneFloatingIp::of(&floating, jiff::Timestamp::UNIX_EPOCH);
        self.records.put(Known::GoneFloatingIp(gone, 1));
        self.records
            .remove(&format!("floating-ip/{}", floating.key()));
    }

    fn new() -> Self {
        let mut world = Self {
            records: Records::default(),
            vpcs: Vec::new(),
            ports: Vec::new(),
            networks: vec![
                samples::external_network("198.51.100.0/24", &[("here", "eth1")]),
                samples::external_network("203.0.113.0/25", &[("here", "eth2"), ("there", "eth1")]),
            ],
            floating: Vec::new(),
        };
        for vni in [5001, 5002] {
            let vpc = samples::vpc("10.0.0.0/16");
            let subnet: Subnet = samples::subnet(&vpc, "10.0.1.0/24", vni);
            world.records.put(Known::Subnet(Box::new(subnet.clone())));
            for address in ["10.0.1.2", "10.0.1.3"] {
                let port = samples::port(&subnet, address, PortKind::Service, &[]);
                world.ports.push(port);
            }
            world.vpcs.push(vpc);
        }
        for (port, address) in [(0, "198.51.100.7"), (1, "203.0.113.7"), (2, "198.51.100.8")] {
            let network = &world.networks[usize::from(address.starts_with("203"))];
            let floating = samples::floating_ip(network, address, &world.ports[port]);
            world.floating.push(floating);
        }
        world.put_all();
        world
    }

    fn put_all(&mut self) {
        let records = &mut self.records;
        let vpcs = self.vpcs.iter().cloned();
        vpcs.for_each(|vpc| records.put(Known::Vpc(Box::new(vpc))));
        self.ports
            .iter()
            .for_each(|port| samples::put_port(records, port));
        for network in &self.networks {
            records.put(Known::ExternalNetwork(Box::new(network.clone())));
        }
        for floating in &self.floating {
            records.put(Known::FloatingIp(Box::new(floating.clone())));
        }
        records.put(Known::Host(samples::host("there", "192.0.2.2")));
    }

    fn wanted(&self, transfers: &mut Transfers, actual: &HostActual) -> HostWanted {
        let here = samples::here();
        let found = actual.owners.iter().filter_map(|(device, vpc)| {
            let side = actual.network.ways.get(device)?;
            let (address, _) = side.addresses.first()?;
            Some((*vpc, Transfer::of_host(*address)?))
        });
        transfers.give(&way_out::wanted(&self.records, &here), &found.collect());
        let deny = "192.0.2.0/24".parse().unwrap();
        let told = Told::of(&self.records, &BTreeSet::new());
        desired::desired(&self.records, &here, transfers, &[deny], &told)
    }
}

/// A host with its own routes out, and two interfaces more.
fn machine() -> HostActual {
    let up = HostDevice {
        up: true,
        carrier: true,
        master: None,
    };
    HostActual {
        devices: ["eth0", "eth1", "eth2"]
            .map(|name| (name.to_owned(), up.clone()))
            .into(),
        defaults: BTreeSet::from(["eth0".to_owned()]),
        ..HostActual::default()
    }
}

/// What the VPCs' workers do: a device for each that is to have one, and none for the others.
fn make_devices(wanted: &HostWanted, actual: &mut HostActual) {
    let surplus = |device: &String| !wanted.ways.contains_key(device);
    let gone: Vec<String> = actual
        .owners
        .keys()
        .filter(|device| surplus(device))
        .cloned()
        .collect();
    for device in gone {
        actual.owners.remove(&device);
        remove_device(&mut actual.network, &device);
    }
    for (device, way) in &wanted.ways {
        if actual.owners.insert(device.clone(), way.vpc).is_none() {
            actual
                .network
                .ways
                .insert(device.clone(), WaySide::default());
        }
    }
}

fn remove_device(network: &mut HostNetwork, device: &str) {
    network.ways.remove(device);
    network.settings.remove(&forwarding(device));
    network.routes.retain(|_, hop| match hop {
        Hop::Direct(at) | Hop::Via(_, at) => at != device,
        Hop::Nowhere => true,
    });
    network.proxies.retain(|(at, _)| at != device);
}

fn apply(actual: &mut HostActual, step: &HostStep) {
    let HostActual {
        network, devices, ..
    } = actual;
    let is_there = |network: &HostNetwork, device: &String| {
        devices.contains_key(device) || network.ways.contains_key(device)
    };
    match step.clone() {
        HostStep::Change(changes) => change(&mut network.rules, &changes),
        HostStep::Set(name, value) => drop(network.settings.insert(name, value)),
        HostStep::PutAddress(at, address, length) => {
            let side = network.ways.get_mut(&at).expect("no such way out");
            side.addresses.insert((address, length));
        }
        HostStep::RemoveAddress(at, address, length) => {
            let side = network.ways.get_mut(&at).expect("no such way out");
            assert!(side.addresses.remove(&(address, length)));
        }
        HostStep::Up(device) => {
            assert!(!network.rules.chains.is_empty(), "up before its rules");
            network.ways.get_mut(&device).expect("no such way out").up = true;
        }
        HostStep::PutRoute(key, hop) => {
            if let Hop::Direct(device) | Hop::Via(_, device) = &hop {
                assert!(is_there(network, device), "{device} is not there");
                assert!(
                    network.ways.get(device).is_none_or(|way| way.up),
                    "{device} is down"
                );
            }
            network.routes.insert(key, hop);
        }
        HostStep::RemoveRoute(key) => drop(network.routes.remove(&key).expect("no such route")),
        HostStep::PutLookup(lookup) => assert!(network.lookups.insert(lookup)),
        HostStep::RemoveLookup(lookup) => assert!(network.lookups.remove(&lookup)),
        HostStep::Announce(device, _) => assert!(is_there(network, &device)),
        HostStep::PutProxy(device, address) => {
            assert!(is_there(network, &device));
            assert!(network.proxies.insert((device, address)));
        }
        HostStep::RemoveProxy(device, address) => {
            assert!(network.proxies.remove(&(device, address)));
        }
    }
}

/// Only devices that are in the set of those that we switch forward, and all those do.
fn check_forwarding(actual: &HostActual) {
    let named = (Family::Ip, FORWARDERS.to_owned());
    let set = actual.network.rules.sets.get(&named);
    let forwards = |device: &str| {
        let value = actual.network.settings.get(&forwarding(device));
        value.is_some_and(|value| value == "1")
    };
    for device in actual.devices.keys() {
        let is_in = set.is_some_and(|set| set.elements.contains_key(&vec![device.clone()]));
        assert!(
            is_in || !forwards(device),
            "{device} makes the host a router"
        );
    }
}

fn settle(wanted: &HostWanted, actual: &mut HostActual) -> Vec<HostStep> {
    let mut done = Vec::new();
    for _ in 0..4 {
        let (wished, _) = target(wanted, actual);
        let steps = plan(wanted, &wished, actual);
        if steps.is_empty() {
            return done;
        }
        for step in &steps {
            apply(actual, step);
            check_forwarding(actual);
        }
        done.extend(steps);
    }
    let (wished, _) = target(wanted, actual);
    panic!("never ends: {:#?}", plan(wanted, &wished, actual));
}

fn check_reached(wanted: &HostWanted, actual: &HostActual) {
    let (wished, _) = target(wanted, actual);
    let found = &actual.network;
    assert_eq!(
        (
            &wished.ways,
            &wished.routes,
            &wished.lookups,
            &wished.proxies
        ),
        (&found.ways, &found.routes, &found.lookups, &found.proxies)
    );
    assert!(says_the_same(&wished.rules, &found.rules));
}

#[test]
fn floating_ips_lead_to_their_ports_and_nothing_is_left_of_them() {
    let mut world = World::new();
    let (mut actual, mut transfers) = (machine(), Transfers::default());
    let wanted = world.wanted(&mut transfers, &actual);
    assert_eq!((wanted.ways.len(), wanted.floating.len()), (2, 3));
    // Before the devices are there: rules, and nothing that leads to them.
    settle(&wanted, &mut actual);
    assert!(actual.network.proxies.is_empty());
    make_devices(&wanted, &mut actual);
    let steps = settle(&wanted, &mut actual);
    check_reached(&wanted, &actual);
    let announced = steps
        .iter()
        .filter(|step| matches!(step, HostStep::Announce(..)));
    assert_eq!(announced.count(), 3);
    let forwards = |actual: &HostActual, device: &str| {
        let value = actual.network.settings.get(&forwarding(device));
        value.is_some_and(|value| value == "1")
    };
    let all = |actual: &HostActual| ["eth0", "eth1", "eth2"].map(|device| forwards(actual, device));
    assert_eq!(
        all(&actual),
        [false, true, true],
        "no VPC has internet access"
    );

    world.vpcs[0].internet_access = true;
    world.put_all();
    let wanted = world.wanted(&mut transfers, &actual);
    settle(&wanted, &mut actual);
    assert_eq!(all(&actual), [true; 3]);

    // One goes by an order, one moves, one is released.
    world.vpcs[0].internet_access = false;
    let gone = world.ports.remove(0);
    world.records.put(Known::Gone(
        Gone::of(&gone, jiff::Timestamp::UNIX_EPOCH).unwrap(),
        1,
    ));
    world.records.remove(&format!("port/{}", gone.key()));
    world.ports[0].host = Some(samples::name("there"));
    world.release(2);
    world.put_all();
    let wanted = world.wanted(&mut transfers, &actual);
    make_devices(&wanted, &mut actual);
    settle(&wanted, &mut actual);
    assert_eq!(all(&actual), [false; 3]);
    let nothing = HostNetwork {
        settings: actual.network.settings.clone(),
        ..HostNetwork::default()
    };
    let guard = BTreeSet::from([VTEPS, "tunnels"]);
    let left = &mut actual.network.rules;
    let names = left.sets.keys().chain(left.chains.keys());
    assert_eq!(
        names.map(|(_, name)| &**name).collect::<BTreeSet<_>>(),
        guard
    );
    *left = Default::default();
    assert_eq!(actual.network, nothing);
}

#[test]
fn tunnels_are_fed_by_hosts_that_are_known() {
    let mut world = World::new();
    let (mut actual, mut transfers) = (machine(), Transfers::default());
    let set = |actual: &HostActual| {
        let set = actual
            .network
            .rules
            .sets
            .get(&(Family::Ip, VTEPS.to_owned()));
        let keys = set.into_iter().flat_map(|set| set.elements.keys());
        keys.flatten().cloned().collect::<Vec<_>>()
    };
    let wanted = world.wanted(&mut transfers, &actual);
    assert_eq!(wanted.tunnels, BTreeSet::from([5001, 5002]));
    settle(&wanted, &mut actual);
    assert_eq!(set(&actual), ["192.0.2.1", "192.0.2.2"]);

    // Another host is one element more.
    let third = samples::host("third", "192.0.2.3");
    world.records.put(Known::Host(third));
    let wanted = world.wanted(&mut transfers, &actual);
    let steps = settle(&wanted, &mut actual);
    let [HostStep::Change(changes)] = &steps[..] else {
        panic!("{steps:#?}");
    };
    let others = changes
        .iter()
        .filter(|change| !matches!(change, RuleChange::Table(_)));
    let element = (vec!["192.0.2.3".to_owned()], None);
    let named = (Family::Ip, VTEPS.to_owned());
    assert_eq!(
        others.collect::<Vec<_>>(),
        [&RuleChange::AddElements(named, vec![element])]
    );

    // Its record is lost: it is believed until it is known that nothing here leads there.
    world.records.remove("host/third");
    let mut wanted = world.wanted(&mut transfers, &actual);
    assert_eq!(settle(&wanted, &mut actual), Vec::new());
    wanted.is_led_known = true;
    wanted.led = BTreeSet::from(["192.0.2.3".parse().unwrap()]);
    assert_eq!(settle(&wanted, &mut actual), Vec::new());
    wanted.led.clear();
    settle(&wanted, &mut actual);
    assert_eq!(set(&actual), ["192.0.2.1", "192.0.2.2"]);

    // Nothing is here any more.
    for port in &mut world.ports {
        port.host = Some(samples::name("there"));
    }
    world.put_all();
    let wanted = world.wanted(&mut transfers, &actual);
    make_devices(&wanted, &mut actual);
    settle(&wanted, &mut actual);
    assert!(actual.network.rules.sets.is_empty() && actual.network.rules.chains.is_empty());
}

#[test]
fn what_stands_for_a_port_that_nobody_knows_stands() {
    let mut world = World::new();
    let (mut actual, mut transfers) = (machine(), Transfers::default());
    let wanted = world.wanted(&mut transfers, &actual);
    make_devices(&wanted, &mut actual);
    settle(&wanted, &mut actual);
    let before = actual.network.clone();
    // All the ports' records are lost.
    for port in std::mem::take(&mut world.ports) {
        world.records.remove(&format!("port/{}", port.key()));
    }
    let wanted = world.wanted(&mut transfers, &actual);
    assert_eq!((wanted.ways.len(), actual.kept(&wanted).len()), (0, 3));
    let steps = settle(&wanted, &mut actual);
    assert_eq!(actual.network.routes, before.routes, "{steps:#?}");
    assert_eq!(actual.network.lookups, before.lookups);
    assert_eq!(actual.network.proxies, before.proxies);
    assert_eq!(actual.network.ways, before.ways);
    let set = (Family::Ip, FLOATING.to_owned());
    assert_eq!(
        actual.network.rules.sets[&set].elements,
        before.rules.sets[&set].elements
    );
    assert_eq!(actual.network.settings, before.settings);
    // The floating IPs' records are lost, too.
    for floating in &world.floating {
        world
            .records
            .remove(&format!("floating-ip/{}", floating.key()));
    }
    let wanted = world.wanted(&mut transfers, &actual);
    settle(&wanted, &mut actual);
    assert_eq!(actual.network.routes, before.routes);
    assert_eq!(actual.network.proxies, before.proxies);
    // They are released: that is an order.
    while !world.floating.is_empty() {
        world.release(0);
    }
    settle(&world.wanted(&mut transfers, &actual), &mut actual);
    assert!(actual.network.routes.is_empty() && actual.network.proxies.is_empty());
}

#[test]
fn an_uplink_that_cannot_be_is_a_problem_and_nothing_else() {
    let mut world = World::new();
    let (mut actual, mut transfers) = (machine(), Transfers::default());
    let wanted = world.wanted(&mut transfers, &actual);
    make_devices(&wanted, &mut actual);
    settle(&wanted, &mut actual);

    // Part of a bridge.
    let eth1 = actual.devices.get_mut("eth1").unwrap();
    eth1.master = Some("br0".to_owned());
    let (_, problems) = target(&wanted, &actual);
    assert!(problems[0].contains("br0"), "{problems:?}");
    actual.devices.get_mut("eth1").unwrap().master = None;

    // Not there: nothing of its network leaves by another way.
    let name = samples::name("here");
    let nowhere = "nowhere0".to_owned().try_into().unwrap();
    world.networks[0].uplinks.insert(name, nowhere);
    world.put_all();
    let wanted = world.wanted(&mut transfers, &actual);
    settle(&wanted, &mut actual);
    let (_, problems) = target(&wanted, &actual);
    assert!(problems[0].contains("nowhere0"), "{problems:?}");
    let table = table_of(world.networks[0].cidr_block);
    let routes = actual
        .network
        .routes
        .iter()
        .filter(|(key, _)| key.table == table);
    assert!(routes.map(|(_, hop)| hop).eq([&Hop::Nowhere]));
    let elsewhere = actual.network.proxies.iter().map(|(device, _)| &**device);
    assert!(elsewhere.eq(["eth2"]));

    // No uplink on this host at all.
    world.networks[1].uplinks.remove(&samples::name("here"));
    world.put_all();
    let wanted = world.wanted(&mut transfers, &actual);
    let said = wanted.problems.join(" ");
    assert!(said.contains("203.0.113.7"), "{said}");
    settle(&wanted, &mut actual);
    assert!(actual.network.proxies.is_empty());
}

#[test]
fn a_host_that_forwards_for_others_goes_on_with_it() {
    let mut world = World::new();
    world.vpcs[0].internet_access = true;
    world.put_all();
    let (mut actual, mut transfers) = (machine(), Transfers::default());
    actual.forwards = true;
    for device in ["all", "eth1"] {
        actual
            .network
            .settings
            .insert(source_check(device), "1".to_owned());
    }
    for device in ["eth0", "eth1", "eth2"] {
        actual
            .network
            .settings
            .insert(forwarding(device), "1".to_owned());
    }
    let wanted = world.wanted(&mut transfers, &actual);
    make_devices(&wanted, &mut actual);
    let mut steps = Vec::new();
    for _ in 0..3 {
        let (wished, _) = target(&wanted, &actual);
        let next = plan(&wanted, &wished, &actual);
        next.iter().for_each(|step| apply(&mut actual, step));
        steps.extend(next);
    }
    let forwards = |step: &&HostStep| matches!(step, HostStep::Set(name, _) if name.contains("eth") && name.ends_with("forwarding"));
    assert_eq!(steps.iter().find(forwards), None);
    // Loosely, where it was strict.
    let loose = HostStep::Set(source_check("eth1"), "2".to_owned());
    assert!(steps.contains(&loose), "{steps:#?}");
    let named = (Family::Ip, FORWARDERS.to_owned());
    assert!(actual.network.rules.sets[&named].elements.is_empty());
}

fn mutate(world: &mut World, rng: &mut StdRng) {
    match rng.random_range(0..6) {
        0 => {
            let vpc = rng.random_range(0..2);
            world.vpcs[vpc].internet_access = rng.random();
        }
        1 => {
            let port = rng.random_range(0..4);
            let host = *["here", "there"].choose(rng).unwrap();
            world.ports[port].host = Some(samples::name(host));
        }
        2 => {
            let network = rng.random_range(0..2);
            let uplink = *["eth1", "eth2", "nowhere0"].choose(rng).unwrap();
            let interface = uplink.to_owned().try_into().unwrap();
            world.networks[network]
                .uplinks
                .insert(samples::name("here"), interface);
        }
        3 => {
            let network = rng.random_range(0..2);
            let gateway = &mut world.networks[network].gateway_ip;
            *gateway = match gateway {
                Some(_) => None,
                None => Some("198.51.100.1".parse().unwrap()),
            };
        }
        _ => {
            let at = rng.random_range(0..3);
            let port = world.ports.choose(rng).map(|port| port.id);
            let taken = world.floating.iter().any(|other| other.port == port);
            world.floating[at].port = port.filter(|_| !taken);
        }
    }
    world.put_all();
}

fn disturb(actual: &mut HostActual, rng: &mut StdRng) {
    let network = &mut actual.network;
    match rng.random_range(0..7) {
        0 => network.routes.clear(),
        1 => network.lookups.clear(),
        2 => network.proxies.clear(),
        3 => network
            .ways
            .values_mut()
            .for_each(|side| *side = WaySide::default()),
        4 => {
            let owners: Vec<String> = actual.owners.keys().cloned().collect();
            if let Some(device) = owners.choose(rng) {
                actual.owners.remove(device);
                remove_device(network, device);
            }
        }
        5 => {
            let up = &mut actual.devices.get_mut("eth1").unwrap().up;
            *up = !*up;
        }
        _ => {
            let at = rng.random_range(0..=network.rules.chains.len());
            if let Some(chain) = network.rules.chains.values_mut().nth(at) {
                chain.rules.clear();
            }
        }
    }
}

#[test]
fn whatever_happens_a_few_passes_reach_what_is_wanted_outside() {
    let seed = Seed::for_test("whatever_happens_a_few_passes_reach_what_is_wanted_outside");
    for case in 0..25 {
        let mut rng = seed.rng(case);
        let mut world = World::new();
        let (mut actual, mut transfers) = (machine(), Transfers::default());
        for _ in 0..40 {
            mutate(&mut world, &mut rng);
            if rng.random_bool(0.3) {
                disturb(&mut actual, &mut rng);
            }
            if rng.random_bool(0.2) {
                // It is started anew, and knows no more than the kernel.
                transfers = Transfers::default();
            }
            let wanted = world.wanted(&mut transfers, &actual);
            if rng.random_bool(0.7) {
                make_devices(&wanted, &mut actual);
            }
            // It is killed somewhere in between.
            let (wished, _) = target(&wanted, &actual);
            let steps = plan(&wanted, &wished, &actual);
            let done = rng.random_range(0..=steps.len());
            steps[..done]
                .iter()
                .for_each(|step| apply(&mut actual, step));
            make_devices(&wanted, &mut actual);
            settle(&wanted, &mut actual);
            check_reached(&wanted, &actual);
            let devices: BTreeSet<String> = wanted
                .ways
                .values()
                .map(|way| device::uplink(way.vpc))
                .collect();
            assert!(actual.network.ways.keys().eq(&devices));
            let inward = actual
                .network
                .routes
                .iter()
                .filter(|(key, _)| key.table == FLOATING_TABLE);
            for (key, hop) in inward {
                let (Hop::Direct(device) | Hop::Via(_, device)) = hop else {
                    panic!("{key} leads nowhere");
                };
                assert!(devices.contains(device), "{key} {hop}");
            }
        }
    }
}
