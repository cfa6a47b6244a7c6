//! Netlink of one namespace: that of the thread that opened it, wherever it is used.

use std::net::Ipv4Addr;

use futures::{StreamExt as _, TryStreamExt as _};
use prismnet_model::Block;
use rtnetlink::{
    AddressMessageBuilder, Handle, IpVersion, LinkBridge, LinkBridgePort, LinkMessageBuilder,
    LinkUnspec, LinkVxlan, RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        link::{InfoData, InfoVeth, LinkMessage},
        neighbour::{
            NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
        },
        route::{RouteMessage, RouteProtocol},
        rule::RuleMessage,
    },
};
use tokio::{task::JoinHandle, time::timeout};

use super::{CALL, Error};
use crate::network::{Ether, SeatFlags};

/// The port that tunnels use (IANA's for VXLAN).
pub const VXLAN_PORT: u16 = 4789;

/// An open socket. Ends with its drop.
#[derive(Debug)]
pub struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the kernel has against it, as errno.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

/// What is not there cannot be removed: whoever removed it, it is gone.
fn unless_gone(result: Result<(), Error>) -> Result<(), Error> {
    const GONE: [i32; 4] = [
        nix::libc::ENOENT,
        nix::libc::ESRCH,
        nix::libc::ENODEV,
        nix::libc::EADDRNOTAVAIL,
    ];
    match result {
        Err(Error::Netlink { source, .. })
            if errno(&source).is_some_and(|errno| GONE.contains(&errno)) =>
        {
            Ok(())
        }
        other => other,
    }
}

async fn within<T>(
    what: impl Into<String>,
    call: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, Error> {
    let what = what.into();
    match timeout(CALL, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(Error::Netlink { what, source }),
        Err(_) => Err(Error::Late(what)),
    }
}

impl Netlink {
    /// Of the calling thread's namespace; driven by its runtime.
    ///
    /// # Errors
    /// No socket.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| Error::system("netlink", error))?;
        let connection = tokio::spawn(connection);
        Ok(Self { handle, connection })
    }

    /// All devices.
    pub(crate) async fn links(&self) -> Result<Vec<LinkMessage>, Error> {
        let links = self.handle.link().get().execute();
        within("list devices", links.try_collect()).await
    }

    /// A device by its name.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<LinkMessage>, Error> {
        let mut links = Box::pin(self.handle.link().get().match_name(name).execute());
        let first = timeout(CALL, links.next()).await;
        match first.map_err(|_| Error::Late(format!("find {name}")))? {
            Some(Ok(link)) => Ok(Some(link)),
            None => Ok(None),
            Some(Err(error)) if errno(&error) == Some(nix::libc::ENODEV) => Ok(None),
            Some(Err(source)) => Err(Error::Netlink {
                what: format!("find {name}"),
                source,
            }),
        }
    }

    /// The number of a device.
    pub(crate) async fn index(&self, name: &str) -> Result<u32, Error> {
        let link = self.link(name).await?;
        let index = link.map(|link| link.header.index);
        index.ok_or_else(|| Error::system(name, nix::Error::ENODEV))
    }

    /// All IPv4 addresses, by the device's number.
    pub(crate) async fn addresses(
        &self,
    ) -> Result<Vec<rtnetlink::packet_route::address::AddressMessage>, Error> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        within("list addresses", request.execute().try_collect()).await
    }

    /// All entries of a family: of IPv4 neighbours, or of bridges and tunnels.
    pub(crate) async fn neighbours(
        &self,
        family: AddressFamily,
    ) -> Result<Vec<NeighbourMessage>, Error> {
        let request = self.handle.neighbours().get().set_address_family(family);
        within("list neighbours", request.execute().try_collect()).await
    }

    /// All IPv4 routes.
    pub(crate) async fn routes(
        &self,
    ) -> Result<Vec<rtnetlink::packet_route::route::RouteMessage>, Error> {
        let any = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes = self.handle.route().get(any).execute();
        within("list routes", routes.try_collect()).await
    }

    /// Changes a device.
    pub(crate) async fn set(&self, what: &str, message: LinkMessage) -> Result<(), Error> {
        within(what, self.handle.link().set(message).execute()).await
    }

    /// Makes a device; one that is there is an error.
    pub(crate) async fn add(&self, what: &str, message: LinkMessage) -> Result<(), Error> {
        within(what, self.handle.link().add(message).execute()).await
    }

    /// `ip link set NAME up`.
    pub(crate) async fn up(&self, name: &str) -> Result<(), Error> {
        let index = self.index(name).await?;
        let up = LinkUnspec::new_with_index(index).up().build();
        self.set(&format!("bring {name} up"), up).await
    }

    /// A bridge that floods nothing it does not know and learns no groups.
    pub(crate) async fn add_bridge(&self, name: &str, mac: Ether) -> Result<(), Error> {
        let bridge = LinkMessageBuilder::<LinkBridge>::new(name)
            .mcast_snooping(false)
            .address(mac.0.to_vec())
            .build();
        self.add(&format!("make bridge {name}"), bridge).await
    }

    /// A tunnel that stands in the namespace `into` and sends from this one.
    pub(crate) async fn add_tunnel(
        &self,
        name: &str,
        vni: u32,
        local: Ipv4Addr,
        into: i32,
    ) -> Result<(), Error> {
        let tunnel = LinkVxlan::new(name, vni)
            .local(local)
            .port(VXLAN_PORT)
            .learning(false)
            .setns_by_fd(into)
            .build();
        self.add(&format!("make tunnel {name}"), tunnel).await
    }

    /// A veth with its other end as `eth0` in the namespace `peer`.
    pub(crate) async fn add_veth(
        &self,
        name: &str,
        mtu: u32,
        mac: Ether,
        peer: i32,
    ) -> Result<(), Error> {
        let far = LinkUnspec::new_with_name("eth0")
            .address(mac.0.to_vec())
            .mtu(mtu)
            .setns_by_fd(peer)
            .build();
        let veth = rtnetlink::LinkVeth::new(name, "eth0")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .mtu(mtu)
            .build();
        self.add(&format!("make {name}"), veth).await
    }

    /// A veth with its other end of that name in the namespace `peer`. Both are down.
    pub(crate) async fn add_pair(
        &self,
        name: &str,
        mtu: u32,
        far: &str,
        peer: i32,
    ) -> Result<(), Error> {
        let there = LinkUnspec::new_with_name(far)
            .mtu(mtu)
            .setns_by_fd(peer)
            .build();
        let veth = rtnetlink::LinkVeth::new(name, far)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(there)))
            .mtu(mtu)
            .build();
        self.add(&format!("make {name}"), veth).await
    }

    /// What the bridge does at the device.
    pub(crate) async fn set_flags(&self, index: u32, flags: SeatFlags) -> Result<(), Error> {
        let port = LinkBridgePort::new(index)
            .learning(flags.learning)
            .flood(flags.flood)
            .mcast_flood(flags.multicast)
            .bcast_flood(flags.broadcast)
            .append_info_data(rtnetlink::packet_route::link::InfoBridgePort::NeighSupress(
                flags.suppress,
            ))
            .build();
        within(
            "set a port of a bridge",
            self.handle.link().set_port(port).execute(),
        )
        .await
    }

    /// Removes a device, if it is there.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        let Some(link) = self.link(name).await? else {
            return Ok(());
        };
        let call = self.handle.link().del(link.header.index).execute();
        unless_gone(within(format!("remove {name}"), call).await)
    }

    /// Adds an address.
    pub(crate) async fn put_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        length: u8,
    ) -> Result<(), Error> {
        let call = self.handle.address().add(index, address.into(), length);
        within(format!("put {address}/{length}"), call.replace().execute()).await
    }

    /// Removes an address.
    pub(crate) async fn remove_address(
        &self,
        index: u32,
        address: Ipv4Addr,
        length: u8,
    ) -> Result<(), Error> {
        let message = AddressMessageBuilder::<Ipv4Addr>::new()
            .index(index)
            .address(address, length)
            .build();
        let call = self.handle.address().del(message).execute();
        unless_gone(within(format!("remove {address}/{length}"), call).await)
    }

    /// That the MAC is on that device of its bridge. Static; a permanent one would be the bridge's own.
    pub(crate) async fn put_forwarding(&self, device: u32, mac: Ether) -> Result<(), Error> {
        let call = self.handle.neighbours().add_bridge(device, &mac.0);
        let call = call
            .state(NeighbourState::Noarp)
            .flags(NeighbourFlags::Controller);
        within(format!("put {mac}"), call.replace().execute()).await
    }

    /// That it is not.
    pub(crate) async fn remove_forwarding(&self, device: u32, mac: Ether) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = device;
        message.header.flags = NeighbourFlags::Controller;
        message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
        let call = self.handle.neighbours().del(message).execute();
        unless_gone(within(format!("remove {mac}"), call).await)
    }

    /// That the MAC is behind the tunnel to that host.
    pub(crate) async fn put_remote(
        &self,
        tunnel: u32,
        mac: Ether,
        host: Ipv4Addr,
    ) -> Result<(), Error> {
        let call = self.handle.neighbours().add_bridge(tunnel, &mac.0);
        let call = call
            .state(NeighbourState::Permanent)
            .flags(NeighbourFlags::Own);
        let call = call.destination(host.into()).replace();
        within(format!("put {mac} at {host}"), call.execute()).await
    }

    /// That it is not.
    pub(crate) async fn remove_remote(
        &self,
        tunnel: u32,
        mac: Ether,
        host: Ipv4Addr,
    ) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = tunnel;
        message.header.state = NeighbourState::Permanent;
        message.header.flags = NeighbourFlags::Own;
        message.attributes = vec![
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(host)),
        ];
        let call = self.handle.neighbours().del(message).execute();
        unless_gone(within(format!("remove {mac} at {host}"), call).await)
    }

    /// Who has the address on that bridge.
    pub(crate) async fn put_neighbour(
        &self,
        bridge: u32,
        address: Ipv4Addr,
        mac: Ether,
    ) -> Result<(), Error> {
        let call = self.handle.neighbours().add(bridge, address.into());
        let call = call.link_layer_address(&mac.0).replace();
        within(format!("put {address} at {mac}"), call.execute()).await
    }

    /// That nobody known has it.
    pub(crate) async fn remove_neighbour(
        &self,
        bridge: u32,
        address: Ipv4Addr,
    ) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = bridge;
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(
            address,
        ))];
        let call = self.handle.neighbours().del(message).execute();
        unless_gone(within(format!("remove {address}"), call).await)
    }

    /// All IPv4 policy rules.
    pub(crate) async fn rules(&self) -> Result<Vec<RuleMessage>, Error> {
        let rules = self.handle.rule().get(IpVersion::V4).execute();
        within("list rules", rules.try_collect()).await
    }

    /// Adds a policy rule; one that is there is an error.
    pub(crate) async fn add_rule(&self, what: &str, rule: RuleMessage) -> Result<(), Error> {
        let mut call = self.handle.rule().add();
        *call.message_mut() = rule;
        within(what, call.execute()).await
    }

    /// Removes a policy rule.
    pub(crate) async fn remove_rule(&self, what: &str, rule: RuleMessage) -> Result<(), Error> {
        unless_gone(within(what, self.handle.rule().del(rule).execute()).await)
    }

    /// Adds a route of any table, in place of the one to the same place.
    pub(crate) async fn add_route(&self, what: &str, route: RouteMessage) -> Result<(), Error> {
        within(what, self.handle.route().add(route).replace().execute()).await
    }

    /// Removes a route of any table.
    pub(crate) async fn delete_route(&self, what: &str, route: RouteMessage) -> Result<(), Error> {
        unless_gone(within(what, self.handle.route().del(route).execute()).await)
    }

    /// All addresses that are answered for.
    pub(crate) async fn proxies(&self) -> Result<Vec<NeighbourMessage>, Error> {
        let request = self.handle.neighbours().get().proxies();
        let request = request.set_address_family(AddressFamily::Inet);
        within("list proxies", request.execute().try_collect()).await
    }

    /// Who asks for the address on that device is answered. The number says whose entry it is.
    pub(crate) async fn put_proxy(
        &self,
        device: u32,
        address: Ipv4Addr,
        protocol: u8,
    ) -> Result<(), Error> {
        let mut call = self.handle.neighbours().add(device, address.into());
        let protocol = NeighbourAttribute::Protocol(RouteProtocol::from(protocol));
        call.message_mut().attributes.push(protocol);
        let call = call.flags(NeighbourFlags::Proxy).replace();
        within(format!("answer for {address}"), call.execute()).await
    }

    /// Nobody is.
    pub(crate) async fn remove_proxy(&self, device: u32, address: Ipv4Addr) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = device;
        message.header.flags = NeighbourFlags::Proxy;
        let destination = NeighbourAddress::Inet(address);
        message.attributes = vec![NeighbourAttribute::Destination(destination)];
        let call = self.handle.neighbours().del(message).execute();
        unless_gone(within(format!("answer no longer for {address}"), call).await)
    }

    /// Where a block goes.
    pub(crate) async fn put_route(&self, block: Block, hop: Ipv4Addr) -> Result<(), Error> {
        let call = self.handle.route().add(route(block, hop)).replace();
        within(format!("put route {block}"), call.execute()).await
    }

    /// That it does not.
    pub(crate) async fn remove_route(&self, block: Block, hop: Ipv4Addr) -> Result<(), Error> {
        let call = self.handle.route().del(route(block, hop)).execute();
        unless_gone(within(format!("remove route {block}"), call).await)
    }
}

fn route(block: Block, hop: Ipv4Addr) -> rtnetlink::packet_route::route::RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(block.network(), block.prefix_length())
        .gateway(hop)
        .build()
}
