//! Ports that routes lead to: they are given what is for the routes' destinations, and may send from there, as their groups
//! allow. Every other port gets and sends its own address only.

use std::collections::BTreeMap;

use prismnet_model::{Block, PortId, PortKind, Route, device::UPLINK_INSIDE};

use serde_json::Value;

use crate::{
    desired::device_of,
    network::{Device, Ether},
    records::KnownPort,
    rules::{HOPS, in_chain, out_chain, put_element},
    ruleset::{Family, Rule, Ruleset, say},
};

/// A port here and a route to it.
#[derive(Clone, Debug)]
struct Hop {
    destination: Block,
    port: PortId,
    device: Device,
    mac: Ether,
}

/// All of a VPC's, the narrowest destinations first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hops {
    all: Vec<Hop>,
    /// The VPC's own addresses: they are their ports' only. `None` if the record is not there.
    own: Option<Block>,
}

impl Hops {
    /// Those of these routes that lead to one of the ports here.
    pub(crate) fn of<'a>(
        routes: impl Iterator<Item = &'a Route>,
        own: Option<Block>,
        local: &[(&PortId, &KnownPort)],
    ) -> Self {
        let by_address: BTreeMap<_, _> = local
            .iter()
            .filter(|(_, port)| port.kind != PortKind::Vip)
            .map(|(id, port)| ((port.subnet, port.address), (**id, *port)))
            .collect();
        let hop = |route: &Route| {
            let (id, port) = by_address.get(&(route.subnet, route.next_hop))?;
            Some(Hop {
                destination: route.destination,
                port: *id,
                device: device_of(*id, port.kind)?,
                mac: Ether(port.mac.bytes()),
            })
        };
        let mut all: Vec<Hop> = routes.filter_map(hop).collect();
        all.sort_by_key(|hop| std::cmp::Reverse(hop.destination.prefix_length()));
        Self { all, own }
    }

    /// The VPC's own addresses.
    pub(crate) fn own(&self) -> Option<Block> {
        self.own
    }

    /// For the bridge: frames with their MAC are theirs.
    pub(crate) fn put_elements(&self, rules: &mut Ruleset) {
        for hop in &self.all {
            let key = vec![hop.device.clone(), hop.mac.to_string()];
            put_element(rules, Family::Bridge, HOPS, key, None);
        }
    }

    /// For the bridge: what they may send besides their own. A host that sends from an address behind it also asks from there
    /// who its neighbours are.
    pub(crate) fn identity_rules(&self) -> impl Iterator<Item = Rule> {
        self.all.iter().flat_map(|hop| {
            let mac = hop.mac.to_string();
            let own = [
                say::is(say::device_in(), &*hop.device),
                say::is(say::field("ether", "saddr"), &*mac),
            ];
            let asks = say::is(say::field("arp", "saddr ether"), mac);
            let packets = self.beyond(say::field("ip", "saddr"), hop.destination);
            let questions = self.beyond(say::field("arp", "saddr ip"), hop.destination);
            let questions = std::iter::once(asks).chain(questions).collect();
            [packets, questions].map(|said| Rule::new([&own[..], &said, &[say::accept()]].concat()))
        })
    }

    /// For the groups: what is from behind them is as if they sent it.
    pub(crate) fn egress_rules(&self) -> impl Iterator<Item = Rule> {
        self.group_rules("saddr", say::device_in(), out_chain)
    }

    /// For the groups: what is for those behind them is as if it were for them.
    pub(crate) fn ingress_rules(&self) -> impl Iterator<Item = Rule> {
        self.group_rules("daddr", say::device_out(), in_chain)
    }

    fn group_rules(
        &self,
        field: &'static str,
        device: Value,
        chain: fn(PortId) -> String,
    ) -> impl Iterator<Item = Rule> {
        self.all.iter().map(move |hop| {
            let inside = say::is_not(device.clone(), UPLINK_INSIDE);
            let beyond = self.beyond(say::field("ip", field), hop.destination);
            let jump = say::jump(&chain(hop.port));
            Rule::new(
                std::iter::once(inside)
                    .chain(beyond)
                    .chain([jump])
                    .collect(),
            )
        })
    }

    /// That the address is of the destination, and none of the VPC's.
    fn beyond(&self, address: Value, destination: Block) -> Vec<Value> {
        let mut said = Vec::new();
        if destination.prefix_length() > 0 {
            said.push(say::is(address.clone(), say::block(destination)));
        }
        if let Some(own) = self.own {
            said.push(say::is_not(address, say::block(own)));
        }
        said
    }
}
