//! What is there of a VPC: read as it is, told in the words of what is wanted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use prismnet_model::{Block, PortId, device};
use rtnetlink::packet_route::{
    AddressFamily,
    address::AddressAttribute,
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVxlan, LinkAttribute, LinkFlags,
        LinkInfo, LinkMessage,
    },
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol},
};

use super::{Error, Namespaces, namespace::run_in, netlink::Netlink, settings};
use crate::{
    desired::Wanted,
    network::{
        Actual, Bridge, Device, Ether, Inside, Network, Plug, Seat, SeatFlags, Tunnel, Uplink,
    },
};

/// What counts of a device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: String,
    kind: Option<InfoKind>,
    mac: Option<Ether>,
    mtu: u32,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) master: Option<u32>,
    /// The other end of a veth, by its number there.
    peer: Option<u32>,
    flags: Option<SeatFlags>,
    vni: Option<u32>,
    local: Option<Ipv4Addr>,
}

/// Everything of a namespace but its rules, by netlink of it; its settings, of the calling thread's.
///
/// # Errors
/// What cannot be read.
pub async fn network(inner: &Netlink, host: &Netlink, wanted: &Wanted) -> Result<Actual, Error> {
    let links: Vec<Link> = inner.links().await?.iter().map(link).collect();
    let mut actual = Actual {
        exists: true,
        outside: outside(host, wanted).await?,
        ..Actual::default()
    };
    put_links(&mut actual, &links, wanted);
    let names: BTreeMap<u32, &str> = links.iter().map(|link| (link.index, &*link.name)).collect();
    put_uplink(&mut actual, &links, host, wanted).await?;
    put_addresses(&mut actual.network, inner, &names).await?;
    put_entries(&mut actual.network, inner, &names).await?;
    put_routes(&mut actual.network, inner).await?;
    actual.network.settings = settings::read(wanted.network.settings.keys().copied());
    Ok(actual)
}

/// Devices of ports here that stand in the host's namespace and have somebody at the other end: a tap that nobody has
/// opened could not be opened by its name any more.
pub async fn outside(host: &Netlink, wanted: &Wanted) -> Result<BTreeSet<Device>, Error> {
    if wanted.network.plugs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let links = host.links().await?;
    let ours = links.iter().map(link).filter(|link| {
        let plug = wanted.network.plugs.get(&link.name);
        let says = |plug: &Plug| link.alias.is_empty() || link.alias == plug.port.to_string();
        link.carrier && plug.is_some_and(says)
    });
    Ok(ours.map(|link| link.name).collect())
}

/// The far end of a service's port; `None` if it is not all there.
///
/// # Errors
/// What cannot be read.
pub fn inside(namespaces: &Namespaces, port: PortId) -> Result<Option<Inside>, Error> {
    let name = device::port_namespace(port);
    if namespaces.identity(&name).is_none() {
        return Ok(None);
    }
    run_in(namespaces, &name, || async {
        let netlink = Netlink::open()?;
        let Some(eth0) = netlink.link("eth0").await?.as_ref().map(link) else {
            return Ok(None);
        };
        let names = BTreeMap::from([(eth0.index, "eth0")]);
        let addresses = addresses(&netlink, &names).await?;
        let address = addresses
            .first()
            .map(|(_, address, length)| (*address, *length));
        let routes = netlink.routes().await?;
        let gateway = routes.iter().filter_map(|found| route(found, false));
        let gateway = gateway
            .filter(|(block, _)| *block == Block::ANY)
            .map(|(_, hop)| hop)
            .next();
        let (Some(mac), Some(address), Some(gateway), true) = (eth0.mac, address, gateway, eth0.up)
        else {
            return Ok(None);
        };
        Ok(Some(Inside {
            mac,
            address,
            gateway,
            mtu: eth0.mtu,
        }))
    })
}

fn put_links(actual: &mut Actual, links: &[Link], wanted: &Wanted) {
    let names: BTreeMap<u32, &str> = links.iter().map(|link| (link.index, &*link.name)).collect();
    for link in links {
        let seat = Seat {
            bridge: link
                .master
                .and_then(|index| names.get(&index))
                .map(|name| (*name).to_owned()),
            flags: link.flags.unwrap_or(SeatFlags {
                learning: true,
                flood: true,
                multicast: true,
                broadcast: true,
                suppress: false,
            }),
            up: link.up,
        };
        let is_foreign = match link.name.get(..3) {
            Some("pnb") => !put_bridge(&mut actual.network, link),
            Some("pnx") => !put_tunnel(&mut actual.network, link, seat),
            Some("pnt" | "pnv") => !put_plug(&mut actual.network, link, seat, wanted),
            _ => false,
        };
        if is_foreign {
            actual.foreign.insert(link.name.clone());
        }
    }
}

fn put_bridge(network: &mut Network, link: &Link) -> bool {
    let (Some(InfoKind::Bridge), Some(mac)) = (&link.kind, link.mac) else {
        return false;
    };
    let bridge = Bridge {
        alias: link.alias.clone(),
        mac,
        mtu: link.mtu,
        addresses: BTreeSet::new(),
        up: link.up,
    };
    network.bridges.insert(link.name.clone(), bridge);
    true
}

fn put_tunnel(network: &mut Network, link: &Link, seat: Seat) -> bool {
    let (Some(InfoKind::Vxlan), Some(vni)) = (&link.kind, link.vni) else {
        return false;
    };
    let tunnel = Tunnel {
        alias: link.alias.clone(),
        vni,
        local: link.local.unwrap_or(Ipv4Addr::UNSPECIFIED),
        mtu: link.mtu,
        seat,
    };
    network.tunnels.insert(link.name.clone(), tunnel);
    true
}

fn put_plug(network: &mut Network, link: &Link, mut seat: Seat, wanted: &Wanted) -> bool {
    let by_alias = link.alias.parse::<PortId>().ok();
    let port = match by_alias {
        Some(port) => Some(port),
        // Made a moment ago, by whoever died before it could say so. It is attached anew, and then says it.
        None if link.alias.is_empty() => {
            seat.bridge = None;
            wanted.network.plugs.get(&link.name).map(|plug| plug.port)
        }
        None => None,
    };
    let is_named = |port: PortId| [device::tap(port), device::veth(port)].contains(&link.name);
    let Some(port) = port.filter(|port| is_named(*port)) else {
        return false;
    };
    let plug = Plug {
        port,
        mtu: link.mtu,
        seat,
    };
    network.plugs.insert(link.name.clone(), plug);
    true
}

/// Whether they are the two ends of one veth.
pub(crate) fn is_pair(one: Option<LinkMessage>, other: Option<LinkMessage>) -> bool {
    match (one.as_ref().map(link), other.as_ref().map(link)) {
        (Some(one), Some(other)) => are_ends(&one, &other),
        _ => false,
    }
}

fn are_ends(one: &Link, other: &Link) -> bool {
    let is_veth = |link: &Link| link.kind == Some(InfoKind::Veth);
    let lead = (one.peer, other.peer) == (Some(other.index), Some(one.index));
    is_veth(one) && is_veth(other) && lead
}

/// The way out: the VPC's side, if its other end is what it should be.
async fn put_uplink(
    actual: &mut Actual,
    links: &[Link],
    host: &Netlink,
    wanted: &Wanted,
) -> Result<(), Error> {
    let far = match &wanted.network.uplink {
        Some(uplink) => host.link(&uplink.host).await?.as_ref().map(link),
        None => None,
    };
    let is_another = |far: &&Link| {
        let ours = wanted.network.uplink.as_ref().map(|uplink| &uplink.alias);
        !far.alias.is_empty() && Some(&far.alias) != ours
    };
    if let Some(far) = far.as_ref().filter(is_another) {
        actual.foreign.insert(far.name.clone());
    }
    let Some(near) = links.iter().find(|link| link.name == device::UPLINK_INSIDE) else {
        return Ok(());
    };
    let far = far.filter(|far| are_ends(far, near)).unwrap_or_default();
    actual.network.uplink = Some(Uplink {
        host: far.name,
        alias: far.alias,
        // Both sides have the same; one that differs is set.
        mtu: if near.mtu == far.mtu { near.mtu } else { 0 },
        addresses: BTreeSet::new(),
        up: near.up,
    });
    Ok(())
}

pub(crate) async fn addresses<'a>(
    netlink: &Netlink,
    names: &BTreeMap<u32, &'a str>,
) -> Result<Vec<(&'a str, Ipv4Addr, u8)>, Error> {
    let found = netlink.addresses().await?;
    let each = found.iter().filter_map(|message| {
        let local = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
        Some((
            *names.get(&message.header.index)?,
            local?,
            message.header.prefix_len,
        ))
    });
    Ok(each.collect())
}

async fn put_addresses(
    network: &mut Network,
    netlink: &Netlink,
    names: &BTreeMap<u32, &str>,
) -> Result<(), Error> {
    for (name, address, length) in addresses(netlink, names).await? {
        if let Some(bridge) = network.bridges.get_mut(name) {
            bridge.addresses.insert((address, length));
        }
        if name == device::UPLINK_INSIDE
            && let Some(uplink) = &mut network.uplink
        {
            uplink.addresses.insert((address, length));
        }
    }
    Ok(())
}

async fn put_entries(
    network: &mut Network,
    netlink: &Netlink,
    names: &BTreeMap<u32, &str>,
) -> Result<(), Error> {
    let name = |index: u32| names.get(&index).map(|name| (*name).to_owned());
    for entry in netlink.neighbours(AddressFamily::Bridge).await? {
        let Some(mac) = mac_of(&entry) else { continue };
        let Some(device) = name(entry.header.ifindex) else {
            continue;
        };
        let bridge = entry
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NeighbourAttribute::Controller(index) => name(*index),
                _ => None,
            });
        match (bridge, entry.header.state) {
            (Some(bridge), NeighbourState::Noarp) if network.bridges.contains_key(&bridge) => {
                network.forwarding.insert((bridge, mac), device);
            }
            (None, _) if network.tunnels.contains_key(&device) => {
                if let Some(host) = address_of(&entry) {
                    network.remotes.insert((device, mac), host);
                }
            }
            _ => {}
        }
    }
    for entry in netlink.neighbours(AddressFamily::Inet).await? {
        let bridge = name(entry.header.ifindex).filter(|name| network.bridges.contains_key(name));
        let is_ours = entry.header.state == NeighbourState::Permanent;
        if let (Some(bridge), Some(address), Some(mac), true) =
            (bridge, address_of(&entry), mac_of(&entry), is_ours)
        {
            network.neighbours.insert((bridge, address), mac);
        }
    }
    Ok(())
}

fn mac_of(entry: &NeighbourMessage) -> Option<Ether> {
    entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                Some(Ether(bytes.as_slice().try_into().ok()?))
            }
            _ => None,
        })
}

pub(crate) fn address_of(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
            // Of a tunnel's entry: the family is the bridge's, and says nothing of the address.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                let octets: [u8; 4] = bytes.as_slice().try_into().ok()?;
                Some(octets.into())
            }
            _ => None,
        })
}

async fn put_routes(network: &mut Network, netlink: &Netlink) -> Result<(), Error> {
    let routes = netlink.routes().await?;
    network
        .routes
        .extend(routes.iter().filter_map(|found| route(found, true)));
    Ok(())
}

/// All routes of the main table over a hop.
pub(crate) async fn all_routes(netlink: &Netlink) -> Result<Vec<(Block, Ipv4Addr)>, Error> {
    let routes = netlink.routes().await?;
    Ok(routes
        .iter()
        .filter_map(|found| route(found, false))
        .collect())
}

/// A route of the main table over a hop. Ours say that they are static.
fn route(found: &RouteMessage, only_ours: bool) -> Option<(Block, Ipv4Addr)> {
    let header = &found.header;
    if header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    if only_ours && header.protocol != RouteProtocol::Static {
        return None;
    }
    let mut network = Ipv4Addr::UNSPECIFIED;
    let mut hop = None;
    for attribute in &found.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => hop = Some(*address),
            _ => {}
        }
    }
    let length = header.destination_prefix_length;
    let block = format!("{network}/{length}").parse().ok()?;
    Some((block, hop?))
}

pub(crate) fn link(message: &LinkMessage) -> Link {
    let mut found = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => found.alias.clone_from(alias),
            LinkAttribute::Address(bytes) => {
                found.mac = bytes.as_slice().try_into().ok().map(Ether);
            }
            LinkAttribute::Mtu(mtu) => found.mtu = *mtu,
            LinkAttribute::Carrier(carrier) => found.carrier = *carrier == 1,
            LinkAttribute::Link(index) => found.peer = Some(*index),
            LinkAttribute::Controller(index) => found.master = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                infos.iter().for_each(|info| take_info(&mut found, info))
            }
            _ => {}
        }
    }
    found
}

fn take_info(found: &mut Link, info: &LinkInfo) {
    match info {
        LinkInfo::Kind(kind) => found.kind = Some(kind.clone()),
        LinkInfo::Data(InfoData::Vxlan(parts)) => {
            for part in parts {
                match part {
                    InfoVxlan::Id(vni) => found.vni = Some(*vni),
                    InfoVxlan::Local(local) => found.local = Some(*local),
                    _ => {}
                }
            }
        }
        LinkInfo::PortData(InfoPortData::BridgePort(parts)) => found.flags = Some(flags(parts)),
        _ => {}
    }
}

fn flags(parts: &[InfoBridgePort]) -> SeatFlags {
    let mut flags = SeatFlags {
        learning: true,
        flood: true,
        multicast: true,
        broadcast: true,
        suppress: false,
    };
    for part in parts {
        match part {
            InfoBridgePort::Learning(on) => flags.learning = *on,
            InfoBridgePort::UnicastFlood(on) => flags.flood = *on,
            InfoBridgePort::MulticastFlood(on) => flags.multicast = *on,
            InfoBridgePort::BroadcastFlood(on) => flags.broadcast = *on,
            InfoBridgePort::NeighSupress(on) => flags.suppress = *on,
            _ => {}
        }
    }
    flags
}

/// Whether the device is that tunnel, wherever it is attached.
pub(crate) fn is_tunnel(message: Option<&LinkMessage>, tunnel: &Tunnel) -> bool {
    message.map(link).is_some_and(|found| {
        found.kind == Some(InfoKind::Vxlan)
            && (found.vni, found.local) == (Some(tunnel.vni), Some(tunnel.local))
    })
}

/// Whether there is an `eth0` in the namespace of that name.
pub(crate) fn has_eth0(namespaces: &Namespaces, name: &str) -> Result<bool, Error> {
    if namespaces.identity(name).is_none() {
        return Ok(false);
    }
    run_in(namespaces, name, || async {
        Ok(Netlink::open()?.link("eth0").await?.is_some())
    })
}

/// The addresses of a device.
pub(crate) async fn addresses_of(
    netlink: &Netlink,
    index: u32,
) -> Result<Vec<(Ipv4Addr, u8)>, Error> {
    let found = addresses(netlink, &BTreeMap::from([(index, "")])).await?;
    Ok(found
        .into_iter()
        .map(|(_, address, length)| (address, length))
        .collect())
}
