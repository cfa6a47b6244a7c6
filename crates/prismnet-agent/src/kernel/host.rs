//! The host's namespace: what is there of ways out, and one step after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use prismnet_model::{Block, VpcId, device};
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        neighbour::NeighbourAttribute,
        route::{
            RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
            RouteType,
        },
        rule::{RuleAction, RuleAttribute, RuleMessage},
    },
};
use tokio::sync::Notify;

use super::{
    Error,
    announce::{Announcement, announce},
    namespace::{on_thread, runtime},
    netlink::Netlink,
    notice::Notices,
    read::{self, Link},
    seen::{Scope, SeenRules},
    settings,
};
use crate::{
    host::{
        PROTOCOL,
        network::{Hop, HostActual, HostDevice, HostWanted, Lookup, RouteKey, WaySide},
        plan::HostStep,
        target::{devices_of, forwarding, no_ipv6, proxy_delay, source_check},
    },
    network::Device,
    transfer::{LENGTH, Transfer},
};

/// The setting by which a host forwards from anywhere to anywhere.
const FORWARDS: &str = "ipv4/conf/all/forwarding";

/// The namespace of the thread that opened it.
#[derive(Debug)]
pub struct HostSpace {
    netlink: Netlink,
    rules: SeenRules,
    /// What is still said of addresses that have come here.
    announced: BTreeMap<(Device, Ipv4Addr), Announcement>,
    _notices: Option<Notices>,
}

impl HostSpace {
    /// Of the calling thread's namespace. `wake` is told of changes that somebody makes.
    ///
    /// # Errors
    /// No netlink.
    pub fn open(wake: Option<&Arc<Notify>>) -> Result<Self, Error> {
        Ok(Self {
            netlink: Netlink::open()?,
            rules: SeenRules::open(Scope::Ip)?,
            announced: BTreeMap::new(),
            _notices: wake.map(Notices::open).transpose()?,
        })
    }

    /// The next look is at everything.
    pub fn look_closely(&mut self) {
        self.rules.forget();
    }

    /// What is there. Rules are listed if somebody has changed them, or since [`HostSpace::look_closely`].
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn look(&mut self, wanted: &HostWanted) -> Result<HostActual, Error> {
        let links: Vec<Link> = self.netlink.links().await?.iter().map(read::link).collect();
        let names: BTreeMap<u32, &str> =
            links.iter().map(|link| (link.index, &*link.name)).collect();
        let mut actual = HostActual {
            forwards: settings::get(FORWARDS).as_deref() == Some("1"),
            ..HostActual::default()
        };
        put_links(&mut actual, &links, &names);
        for (name, address, length) in read::addresses(&self.netlink, &names).await? {
            if let Some(side) = actual.network.ways.get_mut(name) {
                side.addresses.insert((address, length));
            }
        }
        for message in self.netlink.routes().await? {
            put_route(&mut actual, &message, &names);
        }
        let rules = self.netlink.rules().await?;
        actual
            .network
            .lookups
            .extend(rules.iter().filter_map(lookup));
        actual.network.proxies = self.proxies(&names).await?;
        actual.network.rules = self.rules.look().await?;
        put_settings(&mut actual, wanted);
        Ok(actual)
    }

    /// Whether all of these addresses are answered for: if somebody changes that, the kernel does not tell.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn answers(&self, wanted: &BTreeSet<(Device, Ipv4Addr)>) -> Result<bool, Error> {
        let mut names = BTreeMap::new();
        let devices: BTreeSet<&Device> = wanted.iter().map(|(device, _)| device).collect();
        for device in devices {
            match self.netlink.link(device).await? {
                Some(link) => names.insert(link.header.index, &**device),
                // Of that it does tell.
                None => return Ok(true),
            };
        }
        Ok(self.proxies(&names).await?.is_superset(wanted))
    }

    /// Ours, on these devices.
    async fn proxies(
        &self,
        names: &BTreeMap<u32, &str>,
    ) -> Result<BTreeSet<(Device, Ipv4Addr)>, Error> {
        let ours = NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL));
        let entries = self.netlink.proxies().await?;
        let ours = entries
            .iter()
            .filter(|entry| entry.attributes.contains(&ours));
        let named = ours.filter_map(|entry| {
            let device = names.get(&entry.header.ifindex)?;
            Some(((*device).to_owned(), read::address_of(entry)?))
        });
        Ok(named.collect())
    }

    /// Does one step.
    ///
    /// # Errors
    /// What the machine refused. It may be tried again.
    pub async fn act(&mut self, step: &HostStep) -> Result<(), Error> {
        let netlink = &self.netlink;
        let what = step.to_string();
        match step {
            HostStep::Change(changes) => self.rules.change(changes).await,
            HostStep::Set(name, value) => settings::set(name, value),
            HostStep::PutAddress(at, address, length) => {
                let index = netlink.index(at).await?;
                netlink.put_address(index, *address, *length).await
            }
            HostStep::RemoveAddress(at, address, length) => {
                let index = netlink.index(at).await?;
                netlink.remove_address(index, *address, *length).await
            }
            HostStep::Up(device) => netlink.up(device).await,
            HostStep::PutRoute(key, hop) => {
                let route = self.route(*key, Some(hop)).await?;
                netlink.add_route(&what, route).await
            }
            HostStep::RemoveRoute(key) => {
                let route = self.route(*key, None).await?;
                netlink.delete_route(&what, route).await
            }
            HostStep::PutLookup(lookup) => netlink.add_rule(&what, rule(lookup)).await,
            HostStep::RemoveLookup(lookup) => netlink.remove_rule(&what, rule(lookup)).await,
            HostStep::Announce(at, address) => {
                let again = announce(at, *address)?;
                self.announced.insert((at.clone(), *address), again);
                Ok(())
            }
            HostStep::PutProxy(at, address) => {
                let index = netlink.index(at).await?;
                netlink.put_proxy(index, *address, PROTOCOL).await
            }
            HostStep::RemoveProxy(at, address) => {
                self.announced.remove(&(at.clone(), *address));
                match netlink.link(at).await? {
                    Some(link) => netlink.remove_proxy(link.header.index, *address).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn route(&self, key: RouteKey, hop: Option<&Hop>) -> Result<RouteMessage, Error> {
        let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(key.block.network(), key.block.prefix_length())
            .table_id(key.table)
            .protocol(RouteProtocol::from(PROTOCOL));
        if key.metric != 0 {
            route = route.priority(key.metric);
        }
        route = match hop {
            // To remove one: whatever it is.
            None => route.kind(RouteType::Unspec).scope(RouteScope::NoWhere),
            Some(Hop::Nowhere) => route.kind(RouteType::Unreachable),
            Some(Hop::Direct(device)) => route
                .output_interface(self.netlink.index(device).await?)
                .scope(RouteScope::Link),
            Some(Hop::Via(hop, device)) => route
                .output_interface(self.netlink.index(device).await?)
                .gateway(*hop)
                .onlink(),
        };
        Ok(route.build())
    }
}

/// Who has which transfer address, as the devices of ways out say.
///
/// # Errors
/// What cannot be read.
pub fn transfers() -> Result<BTreeMap<VpcId, Transfer>, Error> {
    on_thread(|| {
        runtime()?.block_on(async {
            let netlink = Netlink::open()?;
            let links: Vec<Link> = netlink.links().await?.iter().map(read::link).collect();
            let owners = links.iter().filter_map(|link| Some((link, owner(link)?)));
            let owners: BTreeMap<u32, VpcId> =
                owners.map(|(link, vpc)| (link.index, vpc)).collect();
            let names = links.iter().map(|link| (link.index, &*link.name)).collect();
            let by_name: BTreeMap<&str, u32> =
                links.iter().map(|link| (&*link.name, link.index)).collect();
            let addresses = read::addresses(&netlink, &names).await?;
            let found = addresses.into_iter().filter_map(|(name, address, length)| {
                let vpc = owners.get(by_name.get(name)?)?;
                let transfer = Transfer::of_host(address).filter(|_| length == LENGTH)?;
                Some((*vpc, transfer))
            });
            Ok(found.collect())
        })
    })
}

/// Whose way out it is, if it says so and is called so.
fn owner(link: &Link) -> Option<VpcId> {
    let vpc = link.alias.parse().ok()?;
    (device::uplink(vpc) == link.name).then_some(vpc)
}

fn put_links(actual: &mut HostActual, links: &[Link], names: &BTreeMap<u32, &str>) {
    for link in links {
        let is_way = link.name.starts_with("pnu") && device::is_ours(&link.name);
        if !is_way {
            let device = HostDevice {
                up: link.up,
                carrier: link.carrier,
                master: link
                    .master
                    .and_then(|index| names.get(&index))
                    .map(|name| (*name).to_owned()),
            };
            actual.devices.insert(link.name.clone(), device);
            continue;
        }
        match owner(link) {
            Some(vpc) => {
                let side = WaySide {
                    addresses: BTreeSet::new(),
                    up: link.up,
                };
                actual.owners.insert(link.name.clone(), vpc);
                actual.network.ways.insert(link.name.clone(), side);
            }
            // Made a moment ago: its maker is about to say whose it is.
            None if link.alias.is_empty() => {}
            None => drop(actual.foreign.insert(link.name.clone())),
        }
    }
}

fn put_route(actual: &mut HostActual, message: &RouteMessage, names: &BTreeMap<u32, &str>) {
    let header = &message.header;
    let name = |index: &u32| names.get(index).map(|name| (*name).to_owned());
    let mut network = Ipv4Addr::UNSPECIFIED;
    let mut table = u32::from(header.table);
    let (mut metric, mut hop, mut devices) = (0, None, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => hop = Some(*address),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => devices.extend(name(index)),
            RouteAttribute::MultiPath(hops) => {
                devices.extend(hops.iter().filter_map(|hop| name(&hop.interface_index)));
            }
            _ => {}
        }
    }
    let length = header.destination_prefix_length;
    if table == u32::from(RouteHeader::RT_TABLE_MAIN) {
        if length == 0 && header.kind == RouteType::Unicast {
            actual.defaults.extend(devices);
        }
        return;
    }
    let Ok(block) = format!("{network}/{length}").parse::<Block>() else {
        return;
    };
    if header.protocol != RouteProtocol::from(PROTOCOL) {
        return;
    }
    let hop = match (header.kind, hop, devices.into_iter().next()) {
        (RouteType::Unicast, Some(hop), Some(device)) => Hop::Via(hop, device),
        (RouteType::Unicast, None, Some(device)) => Hop::Direct(device),
        _ => Hop::Nowhere,
    };
    let key = RouteKey {
        table,
        block,
        metric,
    };
    actual.network.routes.insert(key, hop);
}

/// A policy rule of ours.
fn lookup(message: &RuleMessage) -> Option<Lookup> {
    let mut found = Lookup {
        priority: 0,
        device: None,
        from: None,
        table: u32::from(message.header.table),
    };
    let mut is_ours = false;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Protocol(protocol) => {
                is_ours = *protocol == RouteProtocol::from(PROTOCOL);
            }
            RuleAttribute::Priority(priority) => found.priority = *priority,
            RuleAttribute::Table(table) => found.table = *table,
            RuleAttribute::Iifname(device) => found.device = Some(device.clone()),
            RuleAttribute::Source(IpAddr::V4(network)) => {
                let length = message.header.src_len;
                found.from = format!("{network}/{length}").parse().ok();
            }
            _ => {}
        }
    }
    is_ours.then_some(found)
}

fn rule(lookup: &Lookup) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Priority(lookup.priority),
        RuleAttribute::Table(lookup.table),
        RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
    ];
    if let Some(device) = &lookup.device {
        rule.attributes.push(RuleAttribute::Iifname(device.clone()));
    }
    if let Some(from) = lookup.from {
        rule.header.src_len = from.prefix_length();
        let network = IpAddr::V4(from.network());
        rule.attributes.push(RuleAttribute::Source(network));
    }
    rule
}

/// Of the devices that could be told something.
fn put_settings(actual: &mut HostActual, wanted: &HostWanted) {
    let uplinks = wanted
        .networks
        .values()
        .map(|network| network.uplink.as_str().to_owned());
    let told = devices_of(&actual.network.rules, crate::host::rules::FORWARDERS).cloned();
    let mut names: BTreeSet<String> = BTreeSet::from([source_check("all")]);
    for uplink in uplinks {
        names.extend([
            forwarding(&uplink),
            source_check(&uplink),
            proxy_delay(&uplink),
        ]);
    }
    names.extend(
        told.chain(actual.defaults.iter().cloned())
            .map(|device| forwarding(&device)),
    );
    for way in actual.network.ways.keys() {
        names.extend([forwarding(way), no_ipv6(way)]);
    }
    let found = names
        .into_iter()
        .filter_map(|name| Some((settings::get(&name)?, name)));
    actual.network.settings = found.map(|(value, name)| (name, value)).collect();
}
