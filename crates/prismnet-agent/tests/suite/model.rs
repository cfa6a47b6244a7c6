//! A kernel that only remembers: what steps do to it, and what goes with what.

use prismnet_agent::{
    network::{Actual, Network},
    plan::Step,
    ruleset::{Chain, RuleChange, Ruleset, Set, Target},
    transfer::Transfer,
};

/// Does a step, and complains of what the kernel would refuse.
pub(crate) fn apply(actual: &mut Actual, step: &Step) {
    let network = &mut actual.network;
    match step.clone() {
        Step::MakeNamespace => actual.exists = true,
        Step::Set(name, value) => drop(network.settings.insert(name, value)),
        Step::PutBridge(name, bridge) => {
            let addresses = network
                .bridges
                .get(&name)
                .map(|there| there.addresses.clone());
            let mut bridge = bridge;
            bridge.addresses = addresses.unwrap_or_default();
            network.bridges.insert(name, bridge);
        }
        Step::PutAddress(at, address, length) => {
            let bridge = network
                .bridges
                .get_mut(&at)
                .expect("an address on no bridge");
            bridge.addresses.insert((address, length));
        }
        Step::PutTunnel(name, tunnel) => {
            let is_new = network
                .tunnels
                .get(&name)
                .is_none_or(|there| (there.vni, there.local) != (tunnel.vni, tunnel.local));
            if is_new {
                remove_device(network, &name);
            }
            network.tunnels.insert(name, tunnel);
        }
        Step::Change(changes) => change(&mut network.rules, &changes),
        Step::Forget(..) => {}
        Step::MoveIn(name) => {
            assert!(actual.outside.remove(&name), "{name} is not there");
        }
        Step::PutInside(_, port, inside) => drop(network.insides.insert(port, inside)),
        Step::PutPlug(name, plug) => {
            let bridge = plug.seat.bridge.as_ref().unwrap();
            assert!(network.bridges.contains_key(bridge), "{name} at no bridge");
            network.plugs.insert(name, plug);
        }
        Step::PutForwarding(bridge, mac, at) => {
            assert!(
                network.bridges.contains_key(&bridge),
                "{bridge} is not there"
            );
            let is_there = network.plugs.contains_key(&at) || network.tunnels.contains_key(&at);
            assert!(is_there, "{at} is not there");
            network.forwarding.insert((bridge, mac), at);
        }
        Step::PutRemote(tunnel, mac, host) => {
            assert!(
                network.tunnels.contains_key(&tunnel),
                "{tunnel} is not there"
            );
            network.remotes.insert((tunnel, mac), host);
        }
        Step::PutNeighbour(bridge, address, mac) => {
            assert!(
                network.bridges.contains_key(&bridge),
                "{bridge} is not there"
            );
            network.neighbours.insert((bridge, address), mac);
        }
        Step::PutUplink(uplink) => network.uplink = Some(uplink),
        Step::RemoveUplink => {
            network.uplink = None;
            network
                .routes
                .retain(|_, hop| Transfer::of_host(*hop).is_none());
        }
        Step::PutRoute(block, hop) => {
            let is_out = Transfer::of_host(hop).is_some();
            assert!(
                !is_out || network.uplink.is_some(),
                "a way that is not there"
            );
            network.routes.insert(block, hop);
        }
        Step::RemoveRoute(block, _) => drop(network.routes.remove(&block)),
        Step::RemoveNeighbour(bridge, address) => {
            network.neighbours.remove(&(bridge, address));
        }
        Step::RemoveRemote(tunnel, mac, _) => drop(network.remotes.remove(&(tunnel, mac))),
        Step::RemoveForwarding(bridge, mac, _) => drop(network.forwarding.remove(&(bridge, mac))),
        Step::RemovePlug(name, port) => {
            network.plugs.remove(&name);
            network.insides.remove(&port);
            remove_device(network, &name);
        }
        Step::RemoveAddress(at, address, length) => {
            network
                .bridges
                .get_mut(&at)
                .unwrap()
                .addresses
                .remove(&(address, length));
        }
        Step::RemoveTunnel(name) => remove_device(network, &name),
        Step::RemoveBridge(name) => remove_bridge(network, &name),
        Step::RemoveNamespace => {
            assert!(network.plugs.is_empty(), "a port goes with its namespace");
            *actual = Actual::default();
        }
    }
}

fn remove_device(network: &mut Network, name: &str) {
    network.tunnels.remove(name);
    network.forwarding.retain(|_, at| at != name);
    network.remotes.retain(|(at, _), _| at != name);
}

/// As `ip link delete` of a bridge: what was attached stays, alone.
pub(crate) fn remove_bridge(network: &mut Network, name: &str) {
    network.bridges.remove(name);
    network.forwarding.retain(|(bridge, _), _| bridge != name);
    network.neighbours.retain(|(bridge, _), _| bridge != name);
    let seats = network.plugs.values_mut().map(|plug| &mut plug.seat);
    for seat in seats.chain(network.tunnels.values_mut().map(|tunnel| &mut tunnel.seat)) {
        if seat.bridge.as_deref() == Some(name) {
            seat.bridge = None;
        }
    }
}

pub(crate) fn change(rules: &mut Ruleset, changes: &[RuleChange]) {
    for change in changes {
        match change.clone() {
            RuleChange::Table(_) => {}
            RuleChange::AddSet(named, kind) => {
                let set = Set {
                    is_map: kind.is_map(),
                    kind: None,
                    elements: Default::default(),
                };
                rules.sets.entry(named).or_insert(set);
            }
            RuleChange::AddChain(named, _) => drop(rules.chains.entry(named).or_default()),
            RuleChange::Fill(named, said, _) => {
                let filled = Chain::new(None, said);
                for next in &filled.jumps {
                    assert!(
                        rules.chains.contains_key(&(named.0, next.clone())),
                        "{named:?} -> {next}"
                    );
                }
                for set in &filled.looks {
                    assert!(
                        rules.sets.contains_key(&(named.0, set.clone())),
                        "{named:?} -> {set}"
                    );
                }
                *rules.chains.get_mut(&named).expect("no such chain") = filled;
            }
            RuleChange::AddElements(named, elements) => {
                for (key, to) in elements {
                    if let Some(to) = to.as_ref().and_then(Target::chain) {
                        assert!(
                            rules.chains.contains_key(&(named.0, to.clone())),
                            "{named:?} -> {to}"
                        );
                    }
                    let set = rules.sets.get_mut(&named).expect("no such set");
                    let before = set.elements.insert(key, to.clone());
                    assert!(
                        before.is_none_or(|before| before == to),
                        "two verdicts in {named:?}"
                    );
                }
            }
            RuleChange::RemoveElements(named, elements) => {
                for (key, to) in elements {
                    let before = rules
                        .sets
                        .get_mut(&named)
                        .expect("no such set")
                        .elements
                        .remove(&key);
                    assert_eq!(before, Some(to), "an element that is not there");
                }
            }
            RuleChange::RemoveChain(named) => {
                rules.chains.remove(&named).expect("no such chain");
                for (other, chain) in &rules.chains {
                    let uses = other.0 == named.0 && chain.jumps.contains(&named.1);
                    assert!(!uses, "{other:?} still jumps to {named:?}");
                }
                let maps = rules.sets.iter().filter(|(other, _)| other.0 == named.0);
                for (other, set) in maps {
                    let uses = set
                        .elements
                        .values()
                        .flatten()
                        .filter_map(Target::chain)
                        .any(|to| *to == named.1);
                    assert!(!uses, "{other:?} still leads to {named:?}");
                }
            }
            RuleChange::RemoveTable(family) => {
                rules.sets.retain(|(one, _), _| *one != family);
                rules.chains.retain(|(one, _), _| *one != family);
            }
            RuleChange::RemoveSet(named, _) => {
                rules.sets.remove(&named).expect("no such set");
                for (other, chain) in &rules.chains {
                    let uses = other.0 == named.0 && chain.looks.contains(&named.1);
                    assert!(!uses, "{other:?} still looks into {named:?}");
                }
            }
        }
    }
}

/// Whether two rulesets say the same; one may have been read.
pub(crate) fn says_the_same(one: &Ruleset, other: &Ruleset) -> bool {
    let elements = |rules: &Ruleset| -> Vec<_> {
        rules
            .sets
            .iter()
            .map(|(name, set)| (name.clone(), set.elements.clone()))
            .collect()
    };
    let chains = one.chains.len() == other.chains.len()
        && one.chains.iter().all(|(name, chain)| {
            other
                .chains
                .get(name)
                .is_some_and(|there| there.says_the_same(chain))
        });
    elements(one) == elements(other) && chains
}
