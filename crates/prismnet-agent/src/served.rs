//! Whom the gateway serves: by DHCP, and at the metadata address. Pure.
//!
//! The ports here, and the orphans: what runs is told its address as long as it runs, not until its lease ends. Of an orphan only
//! the kernel knows what it was told.

use std::{collections::BTreeMap, net::Ipv4Addr};

use prismnet_model::{Mac, PortId};

use crate::{
    clash::{clashes, identities},
    desired::{Lease, Wanted, lease_of},
    network::{Actual, Ether},
    plan::orphans,
};

/// What each client is told, and who has which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// By DHCP.
    pub leases: Vec<Lease>,
    /// Who asks about itself.
    pub ports: BTreeMap<Ipv4Addr, PortId>,
}

/// All of a VPC's.
#[must_use]
pub fn served(wanted: &Wanted, actual: &Actual) -> Served {
    let mut served = Served::default();
    let clashes = clashes(wanted, actual);
    for (id, port) in &wanted.ports {
        // Whose address an orphan still has is not here: the orphan would be told about it.
        if clashes.iter().all(|clash| clash.port != Some(*id)) {
            served.leases.push(port.lease.clone());
            served.ports.insert(port.lease.address, *id);
        }
    }
    for (device, port) in orphans(wanted, actual) {
        let identity = identities(&actual.network, &device).into_iter().next();
        if let Some((mac, address)) = identity {
            served.ports.insert(address, port);
            served.leases.extend(lease(actual, &device, mac, address));
        }
    }
    served
}

/// What an orphan is told: what its bridge says.
fn lease(actual: &Actual, device: &str, mac: Ether, address: Ipv4Addr) -> Option<Lease> {
    let network = &actual.network;
    let name = network.plugs.get(device)?.seat.bridge.as_ref()?;
    let bridge = network.bridges.get(name)?;
    let (gateway, length) = *bridge.addresses.first()?;
    let mac = Mac::try_from(mac.0).ok()?;
    let routes = network.routes.keys();
    Some(lease_of(
        mac,
        name,
        (address, length),
        gateway,
        bridge.mtu,
        routes,
    ))
}
