//! What a host is to have of ways out, from what the store says. Pure.

use std::collections::BTreeSet;

use prismnet_model::{Block, device};

use super::network::{External, Float, HostWanted, Way};
use crate::{
    desired::Here,
    records::Records,
    transfer::Transfers,
    way_out::{self, Floats, Told},
};

/// All of it. `deny` is the configuration's.
#[must_use]
pub fn desired(
    records: &Records,
    here: &Here,
    transfers: &Transfers,
    deny: &[Block],
    told: &Told,
) -> HostWanted {
    let floats = Floats::of(records, here);
    let mut wanted = HostWanted {
        vteps: records.hosts.values().map(|host| host.vtep).collect(),
        tunnels: tunnels(records, here),
        deny: deny.to_vec(),
        told: told.clone(),
        orders: records.orders,
        ..HostWanted::default()
    };
    wanted.vteps.extend(here.vtep);
    for vpc in way_out::wanted(records, here) {
        let Some(transfer) = transfers.get(vpc) else {
            let problem = format!("no transfer address is left for the way out of {vpc}");
            wanted.problems.push(problem);
            continue;
        };
        wanted
            .ways
            .insert(device::uplink(vpc), Way { vpc, transfer });
        let record = records.vpcs.get(&vpc);
        wanted.internet |= record.is_some_and(|record| record.internet_access);
    }
    put_floating(&mut wanted, records, here, &floats);
    wanted.problems.extend(floats.problems);
    wanted
}

/// Of the subnets of VPCs with a port here.
fn tunnels(records: &Records, here: &Here) -> BTreeSet<u32> {
    if here.vtep.is_none() {
        return BTreeSet::new();
    }
    let subnets = records.subnets.values();
    let of_vpcs_here = subnets.filter(|subnet| records.has_port_on(subnet.vpc, &here.host));
    of_vpcs_here.map(|subnet| subnet.vni.number()).collect()
}

fn put_floating(wanted: &mut HostWanted, records: &Records, here: &Here, floats: &Floats<'_>) {
    for (port, floating) in &floats.here {
        let home = records.port(*port);
        let network = records.external_networks.get(&floating.external_network);
        let (Some((vpc, _)), Some(network)) = (home, network) else {
            continue;
        };
        let way = device::uplink(vpc);
        let Some(uplink) = network.uplinks.get(&here.host) else {
            continue;
        };
        if !wanted.ways.contains_key(&way) {
            continue;
        }
        let external = External {
            block: network.cidr_block,
            gateway: network.gateway_ip,
            uplink: uplink.clone(),
        };
        wanted.networks.insert(network.id, external);
        let float = Float {
            way,
            network: network.id,
            is_led_elsewhere: records
                .routes
                .values()
                .any(|route| route.vpc == vpc && route.destination == Block::ANY),
        };
        wanted.floating.insert(floating.address, float);
    }
}
