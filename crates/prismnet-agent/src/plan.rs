//! From what is found to what is wanted. Pure.
//!
//! The steps are in the order of `docs/network.md`, "Order": adding before removing, a port's rules before the port. Each
//! may be done again. What nobody ordered away is left standing: a port that the store does not know keeps its device,
//! its rules and its place (decision 9).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    sync::Arc,
};

use prismnet_model::{Block, PortId, VpcId, device};

use crate::{
    allowed::Allowed,
    clash::clashes,
    desired::Wanted,
    network::{Actual, Bridge, Device, Ether, Inside, Network, Plug, Tunnel, Uplink},
    rules::{self, in_chain, out_chain},
    ruleset::{Chain, Family, Key, Loses, Named, RuleChange, Ruleset, Set, Summary, Target},
    transfer::Transfer,
    way_out,
};

/// One thing to do. Doing it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The namespace is there, with `lo` up.
    MakeNamespace,
    /// A setting of the namespace.
    Set(&'static str, String),
    /// The bridge is there and so, but for its addresses.
    PutBridge(Device, Bridge),
    /// The bridge has the address.
    PutAddress(Device, Ipv4Addr, u8),
    /// The tunnel is there and so.
    PutTunnel(Device, Tunnel),
    /// All of these at once.
    Change(Vec<RuleChange>),
    /// Those connections of these addresses end that nothing allows any more.
    Forget(BTreeSet<Ipv4Addr>, Arc<Allowed>),
    /// The device of a port is brought in from the host's namespace.
    MoveIn(Device),
    /// A service's veth and the namespace at its other end are there.
    PutInside(Device, PortId, Inside),
    /// The port's device is attached and so.
    PutPlug(Device, Plug),
    /// On which device of the bridge the MAC is.
    PutForwarding(Device, Ether, Device),
    /// On which host the MAC is.
    PutRemote(Device, Ether, Ipv4Addr),
    /// Who has the address.
    PutNeighbour(Device, Ipv4Addr, Ether),
    /// The way out is there and so.
    PutUplink(Uplink),
    /// Where the block goes.
    PutRoute(Block, Ipv4Addr),
    /// No longer.
    RemoveRoute(Block, Ipv4Addr),
    /// No longer.
    RemoveNeighbour(Device, Ipv4Addr),
    /// No longer.
    RemoveRemote(Device, Ether, Ipv4Addr),
    /// No longer on that device.
    RemoveForwarding(Device, Ether, Device),
    /// The port's device is gone, and its namespace if it is a service's.
    RemovePlug(Device, PortId),
    /// No longer.
    RemoveAddress(Device, Ipv4Addr, u8),
    /// No longer.
    RemoveUplink,
    /// No longer.
    RemoveTunnel(Device),
    /// No longer.
    RemoveBridge(Device),
    /// No longer; there is nothing in it.
    RemoveNamespace,
}

impl fmt::Display for Step {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeNamespace => write!(f, "make the namespace"),
            Self::Set(name, value) => write!(f, "set net/{name} = {value}"),
            Self::PutBridge(name, bridge) => {
                write!(f, "put bridge {name} mac {} mtu {}", bridge.mac, bridge.mtu)
            }
            Self::PutAddress(at, address, length) => {
                write!(f, "put address {address}/{length} on {at}")
            }
            Self::PutTunnel(name, tunnel) => {
                write!(
                    f,
                    "put tunnel {name} vni {} local {}",
                    tunnel.vni, tunnel.local
                )
            }
            Self::Change(changes) => write!(f, "change rules: {}", Summary(changes)),
            Self::Forget(addresses, _) => {
                write!(
                    f,
                    "end what nothing allows any more of {} addresses",
                    addresses.len()
                )
            }
            Self::MoveIn(name) => write!(f, "move {name} in"),
            Self::PutInside(name, port, inside) => {
                let (address, length) = inside.address;
                write!(
                    f,
                    "put {address}/{length} into the namespace of {port}, behind {name}"
                )
            }
            Self::PutPlug(name, plug) => {
                let bridge = plug.seat.bridge.as_deref().unwrap_or("nothing");
                write!(f, "attach {name} ({}) to {bridge}", plug.port)
            }
            Self::PutForwarding(bridge, mac, to) => write!(f, "put {mac} of {bridge} on {to}"),
            Self::PutRemote(tunnel, mac, host) => write!(f, "put {mac} of {tunnel} on host {host}"),
            Self::PutNeighbour(bridge, address, mac) => {
                write!(f, "put {address} of {bridge} at {mac}")
            }
            Self::PutUplink(uplink) => {
                write!(f, "put the way out to {}", uplink.host)?;
                for (address, length) in &uplink.addresses {
                    write!(f, " with {address}/{length}")?;
                }
                Ok(())
            }
            Self::PutRoute(block, hop) => write!(f, "put route {block} over {hop}"),
            Self::RemoveRoute(block, hop) => write!(f, "remove route {block} over {hop}"),
            Self::RemoveNeighbour(bridge, address) => write!(f, "remove {address} of {bridge}"),
            Self::RemoveRemote(tunnel, mac, host) => {
                write!(f, "remove {mac} of {tunnel} from host {host}")
            }
            Self::RemoveForwarding(bridge, mac, at) => {
                write!(f, "remove {mac} of {bridge} from {at}")
            }
            Self::RemovePlug(name, port) => write!(f, "remove {name} ({port})"),
            Self::RemoveAddress(at, address, length) => {
                write!(f, "remove address {address}/{length} from {at}")
            }
            Self::RemoveUplink => write!(f, "remove the way out"),
            Self::RemoveTunnel(name) => write!(f, "remove tunnel {name}"),
            Self::RemoveBridge(name) => write!(f, "remove bridge {name}"),
            Self::RemoveNamespace => write!(f, "remove the namespace"),
        }
    }
}

/// What is to be done.
#[must_use]
pub fn plan(wanted: &Wanted, actual: &Actual) -> Vec<Step> {
    let keep = Kept::of(wanted, actual);
    let target = reachable(wanted, actual);
    let found = &actual.network;
    if target == Network::default() && !actual.exists {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if !actual.exists {
        steps.push(Step::MakeNamespace);
    }
    add_frame(&mut steps, &target, found);
    push_changes(
        &mut steps,
        additions(&target.rules, &found.rules),
        &found.rules,
        &wanted.allowed,
    );
    add_ports(&mut steps, &target, actual);
    add_entries(&mut steps, &target, found);
    // A port goes before its rules: no packet without them.
    remove_plugs(&mut steps, wanted, found, &keep);
    remove_entries(&mut steps, &target, found, &keep);
    push_changes(
        &mut steps,
        removals(&target.rules, &found.rules, &keep),
        &found.rules,
        &wanted.allowed,
    );
    remove_frame(&mut steps, &target, found, &keep);
    let is_empty = target == Network::default() && keep.is_empty() && actual.foreign.is_empty();
    if is_empty {
        steps.push(Step::RemoveNamespace);
    }
    steps
}

/// Ports here that the store does not know and nobody ordered away.
#[must_use]
pub fn orphans(wanted: &Wanted, actual: &Actual) -> BTreeMap<Device, PortId> {
    let found = actual.network.plugs.iter();
    found
        .filter(|(name, plug)| {
            !wanted.network.plugs.contains_key(*name) && !wanted.removed.contains(&plug.port)
        })
        .map(|(name, plug)| (name.clone(), plug.port))
        .collect()
}

/// Floating IPs that lead to ports here though the store says nothing of them.
#[must_use]
pub fn lost_floating(wanted: &Wanted, actual: &Actual) -> BTreeSet<Ipv4Addr> {
    let kept = Kept::of(wanted, actual).floats;
    kept.keys()
        .filter_map(|address| address.parse().ok())
        .collect()
}

/// What stands though nobody wants it.
#[derive(Debug, Default)]
struct Kept {
    devices: BTreeSet<Device>,
    bridges: BTreeSet<Device>,
    macs: BTreeSet<(Device, Ether)>,
    remotes: BTreeSet<(Device, Ether)>,
    addresses: BTreeSet<String>,
    /// Floating IPs of which the store says nothing, with the addresses of the ports that they lead to.
    floats: BTreeMap<String, String>,
    chains: BTreeSet<Named>,
    sets: BTreeSet<Named>,
    /// The way out, with its route.
    way_out: bool,
}

impl Kept {
    fn of(wanted: &Wanted, actual: &Actual) -> Self {
        let found = &actual.network;
        let orphans = orphans(wanted, actual);
        let devices: BTreeSet<Device> = orphans.keys().cloned().collect();
        let bridges = devices
            .iter()
            .filter_map(|name| found.plugs[name].seat.bridge.clone());
        let macs = found
            .forwarding
            .iter()
            .filter(|(_, at)| devices.contains(*at));
        let mut kept = Self {
            addresses: addresses_of(&found.rules, &devices),
            bridges: bridges.collect(),
            macs: macs.map(|(key, _)| key.clone()).collect(),
            devices,
            ..Self::default()
        };
        kept.keep_entries(wanted, found);
        for port in orphans.values() {
            for family in Family::ALL {
                kept.keep_chain(&found.rules, (family, in_chain(*port)));
                kept.keep_chain(&found.rules, (family, out_chain(*port)));
            }
        }
        kept.keep_floats(wanted, found);
        // Nobody says what the VPC is to have: nobody has ended it.
        let is_unknown = !kept.is_empty() && wanted.network.rules.chains.is_empty();
        kept.way_out = is_unknown || !kept.floats.is_empty();
        if kept.way_out {
            for chain in way_out::CHAINS {
                kept.keep_chain(&found.rules, (Family::Ip, chain.to_owned()));
            }
        }
        kept
    }

    /// What leads to ports elsewhere of which nobody has said anything: neither where they are, nor that they were deleted.
    fn keep_entries(&mut self, wanted: &Wanted, found: &Network) {
        let is_lost = |mac: &Ether| !wanted.told.contains(mac);
        let remotes = found.remotes.keys().filter(|(_, mac)| is_lost(mac));
        self.remotes = remotes.cloned().collect();
        let lost: BTreeSet<Ether> = self.remotes.iter().map(|(_, mac)| *mac).collect();
        for ((bridge, address), mac) in &found.neighbours {
            if lost.contains(mac) {
                self.macs.insert((bridge.clone(), *mac));
                self.addresses.insert(address.to_string());
            }
        }
    }

    /// With everything that it leads to.
    fn keep_chain(&mut self, rules: &Ruleset, named: Named) {
        let Some(chain) = rules.chains.get(&named) else {
            return;
        };
        let family = named.0;
        if !self.chains.insert(named) {
            return;
        }
        self.sets
            .extend(chain.looks.iter().map(|set| (family, set.clone())));
        for next in &chain.jumps {
            self.keep_chain(rules, (family, next.clone()));
        }
    }

    fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Floating IPs of which nobody has said anything, as long as the port is here that they lead to.
    fn keep_floats(&mut self, wanted: &Wanted, found: &Network) {
        let named = (Family::Ip, way_out::INWARD.to_owned());
        let wished = wanted.network.rules.sets.get(&named);
        let inward = found.rules.sets.get(&named);
        for (key, target) in inward.into_iter().flat_map(|set| &set.elements) {
            let (Some(floating), Some(Target::Address(port))) = (rules::address_of(key), target)
            else {
                continue;
            };
            let is_told = wanted.told_floating.has(floating)
                || wished.is_some_and(|set| set.elements.contains_key(key));
            if !is_told && self.has_same_port(*port, &wanted.network.rules, &found.rules) {
                self.floats.insert(floating.to_string(), port.to_string());
            }
        }
    }

    /// Whether the address is still that of the port that it was found to be of.
    fn has_same_port(&self, address: Ipv4Addr, wanted: &Ruleset, found: &Ruleset) -> bool {
        let named = (Family::Ip, rules::EGRESS.to_owned());
        let chain = |rules: &Ruleset| {
            let set = rules.sets.get(&named)?;
            let target = set.elements.get(&vec![address.to_string()])?;
            target.as_ref().and_then(Target::chain).cloned()
        };
        match (chain(found), chain(wanted)) {
            (Some(found), _) if self.chains.contains(&(Family::Ip, found.clone())) => true,
            (Some(found), Some(wanted)) => found == wanted,
            (Some(_), None) => false,
            (None, wanted) => wanted.is_some(),
        }
    }

    fn keeps_route(&self, block: Block, hop: Ipv4Addr) -> bool {
        self.way_out && block == Block::ANY && Transfer::of_host(hop).is_some()
    }

    fn keeps_element(&self, named: &Named, key: &[String], target: Option<&Target>) -> bool {
        let by_device =
            key.len() > 1 && key.first().is_some_and(|name| self.devices.contains(name));
        let by_chain = target
            .and_then(Target::chain)
            .is_some_and(|chain| self.chains.contains(&(named.0, chain.clone())));
        let by_floating = match (&*named.1, key, target) {
            (way_out::INWARD, [floating], _) => self.floats.contains_key(floating),
            (way_out::OUTWARD, [port], Some(Target::Address(floating))) => {
                self.floats.get(&floating.to_string()) == Some(port)
            }
            (way_out::FLOATERS, [port], _) => self.floats.values().any(|one| one == port),
            _ => false,
        };
        if is_of_way_out(named) {
            return by_floating;
        }
        // What it is a member of lets it in elsewhere: that, too, nobody has ended.
        let by_address =
            target.is_none() && matches!(key, [address] if self.addresses.contains(address));
        by_device || by_chain || by_address
    }
}

/// Whether it is one of the sets that say which port has which floating IP.
pub(crate) fn is_of_way_out((family, name): &Named) -> bool {
    let sets = [way_out::INWARD, way_out::OUTWARD, way_out::FLOATERS];
    *family == Family::Ip && sets.contains(&&**name)
}

/// The addresses that devices may send from.
fn addresses_of(rules: &Ruleset, devices: &BTreeSet<Device>) -> BTreeSet<String> {
    let named = (Family::Bridge, rules::ADDRESSES.to_owned());
    let keys = rules
        .sets
        .get(&named)
        .into_iter()
        .flat_map(|set| set.elements.keys());
    let of_devices = keys.filter(|key| key.first().is_some_and(|name| devices.contains(name)));
    of_devices.filter_map(|key| key.last().cloned()).collect()
}

/// What can be made now: without the ports whose device somebody else brings, and has not yet.
fn reachable(wanted: &Wanted, actual: &Actual) -> Network {
    let mut target = wanted.network.clone();
    let is_there = |name: &Device, plug: &Plug| {
        wanted.network.insides.contains_key(&plug.port)
            || actual.network.plugs.contains_key(name)
            || actual.outside.contains(name)
    };
    let waiting: BTreeSet<Device> = wanted
        .network
        .plugs
        .iter()
        .filter(|(name, plug)| !is_there(name, plug) || actual.foreign.contains(*name))
        .map(|(name, _)| name.clone())
        .collect();
    target.plugs.retain(|name, _| !waiting.contains(name));
    target.forwarding.retain(|_, at| !waiting.contains(at));
    for clash in clashes(wanted, actual) {
        clash.settle(&mut target, &actual.network);
    }
    let is_barred = |uplink: &Uplink| actual.foreign.contains(&uplink.host);
    if target.uplink.as_ref().is_some_and(is_barred) {
        target.uplink = None;
        target
            .routes
            .retain(|_, hop| Transfer::of_host(*hop).is_none());
    }
    target
}

fn push_changes(
    steps: &mut Vec<Step>,
    changes: Vec<RuleChange>,
    found: &Ruleset,
    allowed: &Arc<Allowed>,
) {
    if changes.is_empty() {
        return;
    }
    let concerned = concerned(&changes, found);
    steps.push(Step::Change(changes));
    if !concerned.is_empty() {
        steps.push(Step::Forget(concerned, Arc::clone(allowed)));
    }
}

/// Whose connections may live by what is taken away.
fn concerned(changes: &[RuleChange], found: &Ruleset) -> BTreeSet<Ipv4Addr> {
    let mut concerned = BTreeSet::new();
    for change in changes {
        match change {
            RuleChange::Fill(named, _, Loses::Some) => concerned.extend(decided_by(named, found)),
            RuleChange::RemoveElements(_, elements) => {
                // Only where an address is all of an element does it let somebody in or out.
                let keys = elements.iter().filter(|(key, _)| key.len() == 1);
                concerned.extend(keys.filter_map(|(key, _)| rules::address_of(key)));
            }
            _ => {}
        }
    }
    concerned
}

/// The addresses of ports that a chain decides about: their own, or one of their groups'.
fn decided_by(named: &Named, found: &Ruleset) -> BTreeSet<Ipv4Addr> {
    let leads = |port_chain: &String| {
        let chain = found.chains.get(&(named.0, port_chain.clone()));
        *port_chain == named.1 || chain.is_some_and(|chain| chain.jumps.contains(&named.1))
    };
    let maps = found
        .sets
        .iter()
        .filter(|((family, _), set)| *family == named.0 && set.is_map);
    let verdicts = maps.flat_map(|(_, set)| &set.elements);
    let concerned =
        verdicts.filter(|(_, target)| target.as_ref().and_then(Target::chain).is_some_and(leads));
    concerned
        .filter_map(|(key, _)| rules::address_of(key))
        .collect()
}

fn add_frame(steps: &mut Vec<Step>, target: &Network, found: &Network) {
    for (name, value) in &target.settings {
        if found.settings.get(name) != Some(value) {
            steps.push(Step::Set(name, value.clone()));
        }
    }
    for (name, bridge) in &target.bridges {
        let there = found.bridges.get(name);
        let is_so = there.is_some_and(|there| {
            let same = Bridge {
                addresses: bridge.addresses.clone(),
                ..there.clone()
            };
            same == *bridge
        });
        if !is_so {
            steps.push(Step::PutBridge(name.clone(), bridge.clone()));
        }
        for (address, length) in &bridge.addresses {
            if !there.is_some_and(|there| there.addresses.contains(&(*address, *length))) {
                steps.push(Step::PutAddress(name.clone(), *address, *length));
            }
        }
    }
    for (name, tunnel) in &target.tunnels {
        if found.tunnels.get(name) != Some(tunnel) {
            steps.push(Step::PutTunnel(name.clone(), tunnel.clone()));
        }
    }
}

fn add_ports(steps: &mut Vec<Step>, target: &Network, actual: &Actual) {
    let found = &actual.network;
    for (name, plug) in &target.plugs {
        let there = found.plugs.get(name);
        let inside = target.insides.get(&plug.port);
        let inside = inside
            .filter(|inside| there.is_none() || found.insides.get(&plug.port) != Some(*inside));
        if let Some(inside) = inside {
            steps.push(Step::PutInside(name.clone(), plug.port, inside.clone()));
        } else if there.is_none() {
            steps.push(Step::MoveIn(name.clone()));
        }
        // A veth that is made again is attached again.
        if there != Some(plug) || inside.is_some() {
            steps.push(Step::PutPlug(name.clone(), plug.clone()));
        }
    }
}

fn add_entries(steps: &mut Vec<Step>, target: &Network, found: &Network) {
    // Where a device was not there or is made anew, its entries are gone with it: the next pass would find that.
    for (key, at) in &target.forwarding {
        if found.forwarding.get(key) != Some(at) {
            steps.push(Step::PutForwarding(key.0.clone(), key.1, at.clone()));
        }
    }
    for (key, host) in &target.remotes {
        if found.remotes.get(key) != Some(host) {
            steps.push(Step::PutRemote(key.0.clone(), key.1, *host));
        }
    }
    for (key, mac) in &target.neighbours {
        if found.neighbours.get(key) != Some(mac) {
            steps.push(Step::PutNeighbour(key.0.clone(), key.1, *mac));
        }
    }
    if let Some(uplink) = &target.uplink
        && found.uplink.as_ref() != Some(uplink)
    {
        steps.push(Step::PutUplink(uplink.clone()));
    }
    for (block, hop) in &target.routes {
        if found.routes.get(block) != Some(hop) {
            steps.push(Step::PutRoute(*block, *hop));
        }
    }
}

fn remove_entries(steps: &mut Vec<Step>, target: &Network, found: &Network, keep: &Kept) {
    for (block, hop) in &found.routes {
        if !target.routes.contains_key(block) && !keep.keeps_route(*block, *hop) {
            steps.push(Step::RemoveRoute(*block, *hop));
        }
    }
    for (key, mac) in &found.neighbours {
        let is_kept = keep.macs.contains(&(key.0.clone(), *mac));
        if !target.neighbours.contains_key(key) && !is_kept {
            steps.push(Step::RemoveNeighbour(key.0.clone(), key.1));
        }
    }
    for (key, host) in &found.remotes {
        if !target.remotes.contains_key(key) && !keep.remotes.contains(key) {
            steps.push(Step::RemoveRemote(key.0.clone(), key.1, *host));
        }
    }
    for (key, at) in &found.forwarding {
        let is_kept = keep.devices.contains(at) || keep.remotes.contains(&(at.clone(), key.1));
        if !target.forwarding.contains_key(key) && !is_kept {
            steps.push(Step::RemoveForwarding(key.0.clone(), key.1, at.clone()));
        }
    }
}

fn remove_plugs(steps: &mut Vec<Step>, wanted: &Wanted, found: &Network, keep: &Kept) {
    for (name, plug) in &found.plugs {
        if !wanted.network.plugs.contains_key(name) && !keep.devices.contains(name) {
            steps.push(Step::RemovePlug(name.clone(), plug.port));
        }
    }
}

fn remove_frame(steps: &mut Vec<Step>, target: &Network, found: &Network, keep: &Kept) {
    for (name, bridge) in &target.bridges {
        let Some(there) = found.bridges.get(name) else {
            continue;
        };
        for (address, length) in there.addresses.difference(&bridge.addresses) {
            steps.push(Step::RemoveAddress(name.clone(), *address, *length));
        }
    }
    if found.uplink.is_some() && target.uplink.is_none() && !keep.way_out {
        steps.push(Step::RemoveUplink);
    }
    for (name, tunnel) in &found.tunnels {
        let is_kept = tunnel
            .seat
            .bridge
            .as_ref()
            .is_some_and(|at| keep.bridges.contains(at));
        if !target.tunnels.contains_key(name) && !is_kept {
            steps.push(Step::RemoveTunnel(name.clone()));
        }
    }
    for name in found.bridges.keys() {
        if !target.bridges.contains_key(name) && !keep.bridges.contains(name) {
            steps.push(Step::RemoveBridge(name.clone()));
        }
    }
}

/// Everything that is missing, in one transaction: a chain is there before what jumps to it.
pub(crate) fn additions(target: &Ruleset, found: &Ruleset) -> Vec<RuleChange> {
    let mut sets = Vec::new();
    let mut chains = Vec::new();
    let mut fills = Vec::new();
    let mut elements = Vec::new();
    for (named, set) in &target.sets {
        let there = found.sets.get(named);
        if let (None, Some(kind)) = (there, set.kind) {
            sets.push(RuleChange::AddSet(named.clone(), kind));
        }
        elements.extend(set_additions(named, set, there));
    }
    for (named, chain) in &target.chains {
        let there = found.chains.get(named);
        if there.is_none() {
            chains.push(RuleChange::AddChain(named.clone(), chain.hook));
        }
        if !there.is_some_and(|there| there.says_the_same(chain)) {
            fills.push(RuleChange::Fill(
                named.clone(),
                chain.rules.clone(),
                loses(there, chain),
            ));
        }
    }
    let changes = [sets, chains, fills, elements].concat();
    if changes.is_empty() {
        return changes;
    }
    let tables = Family::ALL.map(RuleChange::Table);
    tables.into_iter().chain(changes).collect()
}

fn loses(there: Option<&Chain>, chain: &Chain) -> Loses {
    let wanted: BTreeSet<&str> = chain.rules.iter().map(|rule| &*rule.digest).collect();
    let mut had = there.into_iter().flat_map(|there| &there.rules);
    if had.all(|rule| wanted.contains(&*rule.digest)) {
        Loses::Nothing
    } else {
        Loses::Some
    }
}

fn set_additions(named: &Named, set: &Set, there: Option<&Set>) -> Vec<RuleChange> {
    let found = |key: &Key| there.and_then(|there| there.elements.get(key));
    let missing = set
        .elements
        .iter()
        .filter(|(key, target)| found(key) != Some(target));
    let missing: Vec<_> = missing.map(|(key, to)| (key.clone(), to.clone())).collect();
    // A map has one verdict for a key: the other goes first, in the same transaction.
    let wrong: Vec<_> = missing
        .iter()
        .filter_map(|(key, _)| Some((key.clone(), found(key)?.clone())))
        .collect();
    let mut changes = Vec::new();
    if !wrong.is_empty() {
        changes.push(RuleChange::RemoveElements(named.clone(), wrong));
    }
    if !missing.is_empty() {
        changes.push(RuleChange::AddElements(named.clone(), missing));
    }
    changes
}

/// Everything that is too much, in one transaction: what jumps to a chain goes before the chain.
fn removals(target: &Ruleset, found: &Ruleset, keep: &Kept) -> Vec<RuleChange> {
    // Nothing is wanted: the rules go with the namespace, and stay as long as something is in it.
    if target.chains.is_empty() {
        let told = found.sets.iter().filter(|(named, _)| is_of_way_out(named));
        let told = told.filter_map(|(named, set)| surplus_elements(named, set, None, keep));
        return told.filter(|_| !keep.is_empty()).collect();
    }
    surplus(target, found, keep)
}

/// What is too much in the host's namespace.
pub(crate) fn host_removals(target: &Ruleset, found: &Ruleset) -> Vec<RuleChange> {
    surplus(target, found, &Kept::default())
}

fn surplus(target: &Ruleset, found: &Ruleset, keep: &Kept) -> Vec<RuleChange> {
    let mut elements = Vec::new();
    let mut empties = Vec::new();
    let mut chains = Vec::new();
    let mut sets = Vec::new();
    for (named, set) in &found.sets {
        let wanted = target.sets.get(named);
        let is_kept = wanted.is_none() && keep.sets.contains(named);
        match wanted {
            Some(_) => elements.extend(surplus_elements(named, set, wanted, keep)),
            // Of a way out that stands, what is told of does not.
            None if is_kept && is_of_way_out(named) => {
                elements.extend(surplus_elements(named, set, None, keep));
            }
            // A set that no rule asks any more keeps nobody.
            None if is_kept => {}
            None => sets.push(RuleChange::RemoveSet(named.clone(), set.is_map)),
        }
    }
    for named in found.chains.keys() {
        if !target.chains.contains_key(named) && !keep.chains.contains(named) {
            empties.push(RuleChange::Fill(named.clone(), Vec::new(), Loses::Nothing));
            chains.push(RuleChange::RemoveChain(named.clone()));
        }
    }
    [elements, empties, chains, sets].concat()
}

fn surplus_elements(
    named: &Named,
    found: &Set,
    wanted: Option<&Set>,
    keep: &Kept,
) -> Option<RuleChange> {
    let is_wanted = |key| wanted.is_some_and(|set| set.elements.contains_key(key));
    let surplus = found
        .elements
        .iter()
        .filter(|(key, to)| !is_wanted(*key) && !keep.keeps_element(named, key, to.as_ref()));
    let surplus: Vec<_> = surplus.map(|(key, to)| (key.clone(), to.clone())).collect();
    (!surplus.is_empty()).then(|| RuleChange::RemoveElements(named.clone(), surplus))
}

/// The namespace of a VPC.
#[must_use]
pub fn namespace(vpc: VpcId) -> String {
    device::namespace(vpc)
}
