//! What a host is to look like, from what the store says. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use photon_core::Name;
use prismnet_model::{Mac, PortId, PortKind, Subnet, SubnetId, VpcId, device};

use crate::{
    allowed::Allowed,
    metadata,
    mode::Mode,
    network::{Bridge, Ether, Inside, Network, Plug, Seat, SeatFlags, Tunnel, Uplink},
    records::{KnownPort, Orders, Records},
    rules, transfer,
    transfer::Transfers,
    way_out::{self, Floats, Told, Translations, WayOut},
};

/// What this host is.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its name, as in `host_id` of ports.
    pub host: Name,
    /// Its tunnel address; without one it reaches no other host.
    pub vtep: Option<Ipv4Addr>,
    /// The bytes of a packet inside a tunnel.
    pub mtu: u32,
    /// What the kernel offers.
    pub mode: Mode,
}

/// What is wanted of a VPC on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All of it; nothing if no port is here.
    pub network: Network,
    /// Its ports here.
    pub ports: BTreeMap<PortId, PortHere>,
    /// Ports that are to be taken down, by an order: deleted, or moved to another host.
    pub removed: BTreeSet<PortId>,
    /// The MACs of all of the VPC's ports, and of those that were deleted: what else is found leads to a port that the store
    /// does not know, and stays.
    pub told: BTreeSet<Ether>,
    /// What their groups allow.
    pub allowed: Arc<Allowed>,
    /// Ports that a person wants to stay though the store does not know them.
    pub adopted: BTreeSet<PortId>,
    /// The addresses outside of which something is said.
    pub told_floating: Told,
    /// The orders that all this has heard of.
    pub orders: Orders,
}

/// A port of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHere {
    /// Of its record.
    pub revision: i64,
    /// What is connected.
    pub kind: PortKind,
    /// The VPC's side of it.
    pub device: String,
    /// What its DHCP client is told.
    pub lease: Lease,
    /// Why it cannot be made, if it cannot.
    pub problem: Option<String>,
}

/// What a DHCP client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who asks.
    pub mac: Mac,
    /// The bridge it asks on.
    pub bridge: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Of its subnet.
    pub prefix_length: u8,
    /// The gateway, which answers.
    pub gateway: Ipv4Addr,
    /// Bytes.
    pub mtu: u32,
    /// Destinations with their next hops, the default among them.
    pub routes: Vec<(ipnet::Ipv4Net, Ipv4Addr)>,
    /// Its name: made of its address.
    pub hostname: String,
}

/// What is wanted of every VPC that has a port here, or an order. Those of [`way_out::wanted`] that have no transfer get no way
/// out.
#[must_use]
pub fn desired(
    records: &Records,
    here: &Here,
    transfers: &Transfers,
    told: &Told,
) -> BTreeMap<VpcId, Wanted> {
    let floats = Floats::of(records, here);
    let mut all: BTreeMap<VpcId, Wanted> = BTreeMap::new();
    for (vpc, ports) in &records.ports {
        let removed: BTreeSet<PortId> = ports
            .iter()
            .filter(|(_, port)| port.host.as_ref() != Some(&here.host))
            .map(|(id, _)| *id)
            .collect();
        let is_here = removed.len() < ports.len();
        let mut wanted = if is_here {
            let way = way_out::of(records, *vpc, &floats, transfers);
            of_vpc(records, here, *vpc, ports, way.as_ref())
        } else {
            Wanted::default()
        };
        wanted.removed = removed;
        all.insert(*vpc, wanted);
    }
    // An order is only for what the store does not know any more.
    for gone in records.gone.values().filter(|gone| gone.host == here.host) {
        let wanted = all.entry(gone.vpc).or_default();
        if !wanted.ports.contains_key(&gone.port) {
            wanted.removed.insert(gone.port);
        }
    }
    for wanted in all.values_mut() {
        wanted.told_floating = told.clone();
        wanted.orders = records.orders;
    }
    all
}

fn of_vpc(
    records: &Records,
    here: &Here,
    vpc: VpcId,
    ports: &BTreeMap<PortId, KnownPort>,
    way: Option<&WayOut>,
) -> Wanted {
    let subnets: BTreeMap<SubnetId, &Subnet> = records
        .subnets
        .values()
        .filter(|subnet| subnet.vpc == vpc)
        .map(|subnet| (subnet.id, subnet))
        .collect();
    let mut wanted = Wanted::default();
    for subnet in subnets.values() {
        put_subnet(&mut wanted.network, subnet, here);
    }
    let routes: Vec<_> = records
        .routes
        .values()
        .filter(|route| route.vpc == vpc)
        .collect();
    for route in &routes {
        // The hop must be on a bridge of ours for the kernel to take it.
        if subnets.contains_key(&route.subnet) {
            wanted
                .network
                .routes
                .insert(route.destination, route.next_hop);
        }
    }
    if let Some(way) = way {
        put_way_out(&mut wanted.network, vpc, way, here);
    }
    for (id, port) in ports {
        // A record without its subnet is half of a transaction that never was: left out until it makes sense.
        let Some(subnet) = subnets.get(&port.subnet) else {
            continue;
        };
        put_neighbour(&mut wanted.network, records, here, *id, port, subnet);
        if port.host.as_ref() == Some(&here.host) {
            let lease = lease(port, subnet, &wanted.network.routes, here.mtu);
            put_port(&mut wanted, *id, port, subnet, lease, here);
        }
    }
    wanted.network.rules = rules::of(records, here, ports, way);
    let deleted = records.gone.values().filter(|gone| gone.vpc == vpc);
    let deleted = deleted.filter_map(|gone| gone.mac_address);
    let macs = ports.values().map(|port| port.mac).chain(deleted);
    wanted.told = macs.map(|mac| Ether(mac.bytes())).collect();
    let own = records.vpcs.get(&vpc).map(|vpc| vpc.cidr_block.block());
    let mut allowed = Allowed::of(records, own, ports, &here.host);
    allowed.translations = Translations {
        floating: way.map(|way| way.floating.clone()).unwrap_or_default(),
        block: own,
    };
    wanted.allowed = Arc::new(allowed);
    wanted.network.settings = settings(here.mode);
    wanted
}

/// The settings of a VPC's namespace.
fn settings(mode: Mode) -> BTreeMap<&'static str, String> {
    let mut settings = BTreeMap::from([
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        ("ipv4/conf/all/accept_redirects", "0"),
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ]);
    if mode.has_br_netfilter() {
        let call = if mode.bridges_through_ip() { "1" } else { "0" };
        settings.insert("bridge/bridge-nf-call-iptables", call);
        settings.insert("bridge/bridge-nf-call-ip6tables", "0");
        settings.insert("bridge/bridge-nf-call-arptables", "0");
    }
    settings
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

fn put_subnet(network: &mut Network, subnet: &Subnet, here: &Here) {
    let bridge = device::bridge(subnet.vni);
    let length = subnet.cidr_block.block().prefix_length();
    if let Some(local) = here.vtep {
        let tunnel = Tunnel {
            alias: subnet.id.to_string(),
            vni: subnet.vni.number(),
            local,
            mtu: here.mtu,
            seat: Seat {
                bridge: Some(bridge.clone()),
                flags: SeatFlags::TUNNEL,
                up: true,
            },
        };
        network.tunnels.insert(device::vxlan(subnet.vni), tunnel);
    }
    let gateway = Bridge {
        alias: subnet.id.to_string(),
        mac: Ether(subnet.vni.gateway_mac()),
        mtu: here.mtu,
        addresses: BTreeSet::from([(subnet.gateway_ip, length)]),
        up: true,
    };
    network.bridges.insert(bridge, gateway);
}

fn put_way_out(network: &mut Network, vpc: VpcId, way: &WayOut, here: &Here) {
    network.uplink = Some(Uplink {
        host: device::uplink(vpc),
        alias: vpc.to_string(),
        mtu: here.mtu,
        addresses: BTreeSet::from([(way.transfer.inside(), transfer::LENGTH)]),
        up: true,
    });
    // Its own route to everywhere leads elsewhere, on purpose.
    let everywhere = network.routes.entry(prismnet_model::Block::ANY);
    everywhere.or_insert(way.transfer.host());
}

/// Where a port is, for everybody in its subnet.
fn put_neighbour(
    network: &mut Network,
    records: &Records,
    here: &Here,
    id: PortId,
    port: &KnownPort,
    subnet: &Subnet,
) {
    let Some(host) = &port.host else { return };
    let bridge = device::bridge(subnet.vni);
    let mac = Ether(port.mac.bytes());
    if host == &here.host {
        if let Some(device) = device_of(id, port.kind) {
            network.forwarding.insert((bridge.clone(), mac), device);
        }
    } else {
        let tunnel = device::vxlan(subnet.vni);
        let there = records.hosts.get(host).map(|host| host.vtep);
        let (Some(there), true) = (there, network.tunnels.contains_key(&tunnel)) else {
            return;
        };
        network
            .forwarding
            .insert((bridge.clone(), mac), tunnel.clone());
        network.remotes.insert((tunnel, mac), there);
    }
    network.neighbours.insert((bridge, port.address), mac);
}

/// The VPC's side of a port; a vip has none.
pub(crate) fn device_of(id: PortId, kind: PortKind) -> Option<String> {
    match kind {
        PortKind::Guest => Some(device::tap(id)),
        PortKind::Pod | PortKind::Service => Some(device::veth(id)),
        PortKind::Vip => None,
    }
}

fn put_port(
    wanted: &mut Wanted,
    id: PortId,
    port: &KnownPort,
    subnet: &Subnet,
    lease: Lease,
    here: &Here,
) {
    let Some(device) = device_of(id, port.kind) else {
        return;
    };
    let problem = (!here.mode.is_enough()).then(|| {
        "this kernel keeps no state of what crosses a bridge: neither bridge conntrack nor br_netfilter".to_owned()
    });
    if let Some(problem) = problem {
        // Without its rules it gets no connection.
        wanted.network.forwarding.retain(|_, at| *at != device);
        let here = PortHere {
            revision: port.revision,
            kind: port.kind,
            device,
            lease,
            problem: Some(problem),
        };
        wanted.ports.insert(id, here);
        return;
    }
    let plug = Plug {
        port: id,
        mtu: here.mtu,
        seat: Seat {
            bridge: Some(device::bridge(subnet.vni)),
            flags: SeatFlags::PORT,
            up: true,
        },
    };
    wanted.network.plugs.insert(device.clone(), plug);
    if port.kind == PortKind::Service {
        let inside = Inside {
            mac: Ether(port.mac.bytes()),
            address: (port.address, lease.prefix_length),
            gateway: lease.gateway,
            mtu: here.mtu,
        };
        wanted.network.insides.insert(id, inside);
    }
    let here = PortHere {
        revision: port.revision,
        kind: port.kind,
        device,
        lease,
        problem: None,
    };
    wanted.ports.insert(id, here);
}

fn lease(
    port: &KnownPort,
    subnet: &Subnet,
    routes: &BTreeMap<prismnet_model::Block, Ipv4Addr>,
    mtu: u32,
) -> Lease {
    let bridge = device::bridge(subnet.vni);
    let address = (port.address, subnet.cidr_block.block().prefix_length());
    lease_of(
        port.mac,
        &bridge,
        address,
        subnet.gateway_ip,
        mtu,
        routes.keys(),
    )
}

/// What a client is told that has this address, with its subnet's prefix length, where the VPC knows ways to these destinations.
pub(crate) fn lease_of<'a>(
    mac: Mac,
    bridge: &str,
    (address, prefix_length): (Ipv4Addr, u8),
    gateway: Ipv4Addr,
    mtu: u32,
    destinations: impl Iterator<Item = &'a prismnet_model::Block>,
) -> Lease {
    // A client that takes option 121 ignores the router: the default stands among the routes (RFC 3442). To other subnets
    // and along the VPC's routes the gateway knows the way.
    let others = destinations.filter_map(|destination| {
        let net = ipnet::Ipv4Net::new(destination.network(), destination.prefix_length()).ok()?;
        (net.prefix_len() != 0).then_some((net, gateway))
    });
    let metadata = (ipnet::Ipv4Net::from(metadata::ADDRESS), gateway);
    let default = (ipnet::Ipv4Net::default(), gateway);
    let [a, b, c, d] = address.octets();
    Lease {
        mac,
        bridge: bridge.to_owned(),
        address,
        prefix_length,
        gateway,
        mtu,
        routes: others.chain([metadata, default]).collect(),
        hostname: format!("ip-{a}-{b}-{c}-{d}"),
    }
}
