//! A VPC's namespace, entered by a thread of its own: what is there, and one step after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsRawFd as _,
    sync::Arc,
};

use prismnet_model::{PortId, VpcId, device};
use rtnetlink::LinkUnspec;
use tokio::sync::Notify;

use super::{
    Error, Namespaces, carrier, conntrack,
    namespace::{Identity, on_thread, run_in},
    netlink::Netlink,
    notice::Notices,
    read,
    seen::{Scope, SeenRules},
    settings,
};
use crate::{
    desired::Wanted,
    network::{Actual, Bridge, Inside, Plug, Seat, Tunnel, Uplink},
    plan::Step,
};

/// The namespace, as far as there is one.
#[derive(Debug)]
pub struct Space {
    name: String,
    namespaces: Namespaces,
    host: Netlink,
    entered: Option<Entered>,
    /// What was found at the far ends of services' ports. Looking there takes a thread each, so it is not done at every look.
    insides: BTreeMap<PortId, Inside>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Entered {
    identity: Identity,
    inner: Netlink,
    rules: SeenRules,
    _notices: Notices,
}

impl Space {
    /// For the calling thread, which stands in the host's namespace and is from now on for this VPC alone. `wake` is told of
    /// changes that somebody makes.
    ///
    /// # Errors
    /// No netlink, or a namespace that cannot be entered.
    pub fn open(vpc: VpcId, namespaces: Namespaces, wake: Arc<Notify>) -> Result<Self, Error> {
        let mut space = Self {
            name: device::namespace(vpc),
            namespaces,
            host: Netlink::open()?,
            entered: None,
            insides: BTreeMap::new(),
            wake,
        };
        if space.namespaces.identity(&space.name).is_some() {
            space.namespaces.enter(&space.name)?;
            space.settle()?;
        }
        Ok(space)
    }

    /// The thread is in the namespace now.
    fn settle(&mut self) -> Result<(), Error> {
        self.entered = Some(Entered {
            identity: Identity::own()?,
            inner: Netlink::open()?,
            rules: SeenRules::open(Scope::All)?,
            _notices: Notices::open(&self.wake)?,
        });
        Ok(())
    }

    fn inner(&self) -> Result<&Netlink, Error> {
        let entered = self.entered.as_ref();
        Ok(&entered.ok_or_else(|| nowhere(&self.name))?.inner)
    }

    /// The next look is at everything.
    pub fn look_closely(&mut self) {
        self.insides.clear();
        if let Some(entered) = &mut self.entered {
            entered.rules.forget();
        }
    }

    /// What is there. At the far ends of services' ports it has looked before, or since [`Space::look_closely`], and acted
    /// since: nobody tells of changes there. Rules are listed if somebody has changed them, or since then ([`SeenRules`]).
    ///
    /// # Errors
    /// What cannot be read; [`Error::Replaced`] if the name stands for another namespace now, or for none: then only another
    /// thread can go there.
    pub async fn look(&mut self, wanted: &Wanted) -> Result<Actual, Error> {
        let named = self.namespaces.identity(&self.name);
        let Some(entered) = &mut self.entered else {
            if named.is_some() {
                return Err(Error::Replaced);
            }
            return Ok(Actual {
                outside: read::outside(&self.host, wanted).await?,
                ..Actual::default()
            });
        };
        if named != Some(entered.identity) {
            return Err(Error::Replaced);
        }
        let mut actual = read::network(&entered.inner, &self.host, wanted).await?;
        actual.network.rules = entered.rules.look().await?;
        for port in wanted.network.insides.keys() {
            if !self.insides.contains_key(port)
                && let Some(inside) = read::inside(&self.namespaces, *port)?
            {
                self.insides.insert(*port, inside);
            }
        }
        self.insides
            .retain(|port, _| wanted.network.insides.contains_key(port));
        actual.network.insides.clone_from(&self.insides);
        Ok(actual)
    }

    /// Those of these bridges that are there, with their numbers.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn bridges(&self, names: &BTreeSet<&str>) -> Result<BTreeMap<String, u32>, Error> {
        let Some(entered) = &self.entered else {
            return Ok(BTreeMap::new());
        };
        let mut bridges = BTreeMap::new();
        for name in names {
            if let Some(link) = entered.inner.link(name).await? {
                bridges.insert((*name).to_owned(), link.header.index);
            }
        }
        Ok(bridges)
    }

    /// Removes the namespaces of these ports that nothing leads to: one that was killed in the middle has left them.
    ///
    /// # Errors
    /// The machine refuses.
    pub fn remove_left(&self, ports: &BTreeSet<PortId>, actual: &Actual) -> Result<(), Error> {
        for port in ports {
            let name = device::port_namespace(*port);
            let has_device = actual.network.plugs.contains_key(&device::veth(*port));
            if !has_device && self.namespaces.identity(&name).is_some() {
                self.namespaces.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Does one step.
    ///
    /// # Errors
    /// What the machine refused. It may be tried again.
    pub async fn act(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::MakeNamespace => self.make().await,
            Step::RemoveNamespace => self.namespaces.remove(&self.name),
            Step::Set(name, value) => settings::set(name, value),
            Step::Change(changes) => {
                let entered = self.entered.as_mut();
                let rules = &mut entered.ok_or_else(|| nowhere(&self.name))?.rules;
                rules.change(changes).await
            }
            Step::Forget(addresses, allowed) => conntrack::forget(addresses, allowed),
            Step::PutBridge(name, bridge) => self.put_bridge(name, bridge).await,
            Step::PutTunnel(name, tunnel) => self.put_tunnel(name, tunnel).await,
            Step::MoveIn(name) => self.move_in(name).await,
            Step::PutInside(name, port, inside) => {
                self.insides.remove(port);
                self.put_inside(name, *port, inside).await
            }
            Step::PutPlug(name, plug) => self.put_plug(name, plug).await,
            Step::RemovePlug(name, port) => {
                self.insides.remove(port);
                // The namespace first: the device goes with it, and if it does not, it is what leads here again.
                self.namespaces.remove(&device::port_namespace(*port))?;
                self.inner()?.remove(name).await
            }
            Step::PutUplink(uplink) => self.put_uplink(uplink).await,
            Step::RemoveUplink => self.inner()?.remove(device::UPLINK_INSIDE).await,
            Step::RemoveTunnel(name) | Step::RemoveBridge(name) => self.inner()?.remove(name).await,
            entry => self.act_on_entry(entry).await,
        }
    }

    async fn act_on_entry(&self, step: &Step) -> Result<(), Error> {
        let inner = self.inner()?;
        match step {
            Step::PutAddress(at, address, length) => {
                inner
                    .put_address(inner.index(at).await?, *address, *length)
                    .await
            }
            Step::RemoveAddress(at, address, length) => {
                inner
                    .remove_address(inner.index(at).await?, *address, *length)
                    .await
            }
            Step::PutForwarding(_, mac, at) => {
                inner.put_forwarding(inner.index(at).await?, *mac).await
            }
            Step::RemoveForwarding(_, mac, at) => match inner.link(at).await? {
                Some(link) => inner.remove_forwarding(link.header.index, *mac).await,
                None => Ok(()),
            },
            Step::PutRemote(tunnel, mac, host) => {
                inner
                    .put_remote(inner.index(tunnel).await?, *mac, *host)
                    .await
            }
            Step::RemoveRemote(tunnel, mac, host) => match inner.link(tunnel).await? {
                Some(link) => inner.remove_remote(link.header.index, *mac, *host).await,
                None => Ok(()),
            },
            Step::PutNeighbour(bridge, address, mac) => {
                inner
                    .put_neighbour(inner.index(bridge).await?, *address, *mac)
                    .await
            }
            Step::RemoveNeighbour(bridge, address) => match inner.link(bridge).await? {
                Some(link) => inner.remove_neighbour(link.header.index, *address).await,
                None => Ok(()),
            },
            Step::PutRoute(block, hop) => inner.put_route(*block, *hop).await,
            Step::RemoveRoute(block, hop) => inner.remove_route(*block, *hop).await,
            other => Err(Error::system(
                other.to_string(),
                std::io::Error::other("is no entry"),
            )),
        }
    }

    async fn make(&mut self) -> Result<(), Error> {
        if self.entered.is_none() {
            self.namespaces.make(&self.name)?;
            self.settle()?;
        }
        self.inner()?.up("lo").await
    }

    async fn put_bridge(&self, name: &str, bridge: &Bridge) -> Result<(), Error> {
        let inner = self.inner()?;
        if inner.link(name).await?.is_none() {
            inner.add_bridge(name, bridge.mac).await?;
        }
        // The MTU is set by itself: one that a bridge is made with changes with its ports.
        let so = LinkUnspec::new_with_index(inner.index(name).await?)
            .alias(&*bridge.alias)
            .address(bridge.mac.0.to_vec())
            .mtu(bridge.mtu)
            .up()
            .build();
        inner.set(&format!("set {name}"), so).await
    }

    async fn put_tunnel(&self, name: &str, tunnel: &Tunnel) -> Result<(), Error> {
        let inner = self.inner()?;
        if !read::is_tunnel(inner.link(name).await?.as_ref(), tunnel) {
            // Where it leads cannot be changed.
            inner.remove(name).await?;
            let into = self.namespaces.open(&self.name)?;
            self.host
                .add_tunnel(name, tunnel.vni, tunnel.local, into.as_raw_fd())
                .await?;
        }
        self.attach(name, &tunnel.alias, tunnel.mtu, &tunnel.seat)
            .await
    }

    async fn put_plug(&self, name: &str, plug: &Plug) -> Result<(), Error> {
        self.attach(name, &plug.port.to_string(), plug.mtu, &plug.seat)
            .await?;
        // Nothing leads to a service's port before it can answer.
        carrier::wait(&self.namespaces, &device::port_namespace(plug.port), "eth0")
    }

    /// The host's side gets its name and alias only: the rest of it is the host's (`host::plan`), which brings it up when its
    /// rules stand.
    async fn put_uplink(&self, uplink: &Uplink) -> Result<(), Error> {
        const INSIDE: &str = device::UPLINK_INSIDE;
        let inner = self.inner()?;
        if !read::is_pair(
            self.host.link(&uplink.host).await?,
            inner.link(INSIDE).await?,
        ) {
            // Half of a veth is of no use. One with another's name was found foreign, and is not touched.
            inner.remove(INSIDE).await?;
            self.host.remove(&uplink.host).await?;
            let into = self.namespaces.open(&self.name)?;
            self.host
                .add_pair(&uplink.host, uplink.mtu, INSIDE, into.as_raw_fd())
                .await?;
        }
        let far = LinkUnspec::new_with_index(self.host.index(&uplink.host).await?)
            .alias(&*uplink.alias)
            .mtu(uplink.mtu)
            .build();
        self.host.set(&format!("set {}", uplink.host), far).await?;
        let index = inner.index(INSIDE).await?;
        let near = LinkUnspec::new_with_index(index).mtu(uplink.mtu).up();
        inner.set(&format!("set {INSIDE}"), near.build()).await?;
        for (address, length) in read::addresses_of(inner, index).await? {
            if !uplink.addresses.contains(&(address, length)) {
                inner.remove_address(index, address, length).await?;
            }
        }
        for (address, length) in &uplink.addresses {
            inner.put_address(index, *address, *length).await?;
        }
        Ok(())
    }

    /// Up comes last: what a bridge does at the device is set by then.
    async fn attach(&self, name: &str, alias: &str, mtu: u32, seat: &Seat) -> Result<(), Error> {
        let inner = self.inner()?;
        let index = inner.index(name).await?;
        let mut place = LinkUnspec::new_with_index(index).alias(alias).mtu(mtu);
        if let Some(bridge) = &seat.bridge {
            place = place.controller(inner.index(bridge).await?);
        }
        inner.set(&format!("attach {name}"), place.build()).await?;
        inner.set_flags(index, seat.flags).await?;
        inner.up(name).await
    }

    async fn move_in(&self, name: &str) -> Result<(), Error> {
        let Some(link) = self.host.link(name).await? else {
            // Whoever brought it has taken it away; the next pass sees that.
            return Ok(());
        };
        let into = self.namespaces.open(&self.name)?;
        let there = LinkUnspec::new_with_index(link.header.index)
            .setns_by_fd(into.as_raw_fd())
            .build();
        self.host.set(&format!("move {name} in"), there).await
    }

    /// The veth, and everything in the namespace at its other end.
    async fn put_inside(&self, name: &str, port: PortId, inside: &Inside) -> Result<(), Error> {
        let inner = self.inner()?;
        let peer = device::port_namespace(port);
        let namespaces = &self.namespaces;
        let has_far_end = read::has_eth0(namespaces, &peer)?;
        let is_whole = has_far_end && inner.link(name).await?.is_some();
        if !is_whole {
            // Half of a veth is of no use, and whatever else is called `eth0` there is in the way.
            inner.remove(name).await?;
            if has_far_end {
                run_in(namespaces, &peer, || async {
                    Netlink::open()?.remove("eth0").await
                })?;
            }
            if namespaces.identity(&peer).is_none() {
                on_thread(|| namespaces.make(&peer))?;
            }
            let far = namespaces.open(&peer)?;
            inner
                .add_veth(name, inside.mtu, inside.mac, far.as_raw_fd())
                .await?;
        }
        run_in(namespaces, &peer, || configure_inside(inside))
    }
}

/// There is no namespace to do it in.
fn nowhere(name: &str) -> Error {
    Error::system(name, std::io::Error::from(std::io::ErrorKind::NotFound))
}

/// In the port's namespace.
async fn configure_inside(inside: &Inside) -> Result<(), Error> {
    let netlink = Netlink::open()?;
    settings::set("ipv6/conf/all/disable_ipv6", "1")?;
    netlink.up("lo").await?;
    let index = netlink.index("eth0").await?;
    let so = LinkUnspec::new_with_index(index)
        .address(inside.mac.0.to_vec())
        .mtu(inside.mtu)
        .up()
        .build();
    netlink.set("set eth0", so).await?;
    let (address, length) = inside.address;
    for (other, length) in read::addresses_of(&netlink, index).await? {
        if (other, length) != inside.address {
            netlink.remove_address(index, other, length).await?;
        }
    }
    netlink.put_address(index, address, length).await?;
    netlink
        .put_route(prismnet_model::Block::ANY, inside.gateway)
        .await
}
