//! What a host's namespace has of ways out: the same words for what is wanted and for what is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use prismnet_model::{Block, ExternalNetworkId, Interface, VpcId};

use super::FLOATING_TABLE;
use crate::{
    network::Device, records::Orders, ruleset::Ruleset, transfer::Transfer, way_out::Told,
};

/// What the records want of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostWanted {
    /// VPCs with a way out, by the host's side of it.
    pub ways: BTreeMap<Device, Way>,
    /// Floating IPs of ports here.
    pub floating: BTreeMap<Ipv4Addr, Float>,
    /// The addresses outside of which something is said: what stands for others, stands (decision 9).
    pub told: Told,
    /// The orders that all this has heard of.
    pub orders: Orders,
    /// External networks of those floating IPs.
    pub networks: BTreeMap<ExternalNetworkId, External>,
    /// Whether any VPC here has internet access.
    pub internet: bool,
    /// Tunnel addresses of all hosts: no VPC reaches them, and tunnels are fed by nobody else.
    pub vteps: BTreeSet<Ipv4Addr>,
    /// The numbers of the tunnels here.
    pub tunnels: BTreeSet<u32>,
    /// Hosts that entries here lead to, whatever the records say of them.
    pub led: BTreeSet<Ipv4Addr>,
    /// Whether that is all of them: each VPC here has been looked at.
    pub is_led_known: bool,
    /// Blocks that no VPC reaches.
    pub deny: Vec<Block>,
    /// What the records want and this host cannot do.
    pub problems: Vec<String>,
}

/// A VPC's way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whose.
    pub vpc: VpcId,
    /// Its two ends.
    pub transfer: Transfer,
}

/// A floating IP here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Float {
    /// The host's side of its VPC's way out.
    pub way: Device,
    /// Where it is from.
    pub network: ExternalNetworkId,
    /// Whether the VPC's own default route leads elsewhere what its port answers.
    pub is_led_elsewhere: bool,
}

/// An external network, as this host reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Its addresses.
    pub block: Block,
    /// Who knows the way on.
    pub gateway: Option<Ipv4Addr>,
    /// The interface that reaches it.
    pub uplink: Interface,
}

/// What is ours in the host's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// The host's sides of ways out.
    pub ways: BTreeMap<Device, WaySide>,
    /// nftables.
    pub rules: Ruleset,
    /// Below `/proc/sys/net`. Of what was found, those that were looked at.
    pub settings: BTreeMap<String, String>,
    /// In tables of ours.
    pub routes: BTreeMap<RouteKey, Hop>,
    /// Which packets look into them.
    pub lookups: BTreeSet<Lookup>,
    /// Addresses that are answered for, and where.
    pub proxies: BTreeSet<(Device, Ipv4Addr)>,
}

/// The host's side of a way out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaySide {
    /// The transfer address.
    pub addresses: BTreeSet<(Ipv4Addr, u8)>,
    /// Whether it is up.
    pub up: bool,
}

/// Which route it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// Its table.
    pub table: u32,
    /// What it leads to.
    pub block: Block,
    /// Which of several, the lowest first.
    pub metric: u32,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of table {}", self.block, self.table)?;
        match self.metric {
            0 => Ok(()),
            metric => write!(f, " metric {metric}"),
        }
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Everybody is a neighbour there.
    Direct(Device),
    /// By that neighbour, whether or not the device has an address in its network.
    Via(Ipv4Addr, Device),
    /// Nowhere: unreachable.
    Nowhere,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(device) => write!(f, "dev {device}"),
            Self::Via(hop, device) => write!(f, "via {hop} dev {device}"),
            Self::Nowhere => f.write_str("unreachable"),
        }
    }
}

/// A policy rule: which packets look into a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    /// The lowest first.
    pub priority: u32,
    /// Those that came in by that device; all, if none.
    pub device: Option<Device>,
    /// Those from there; all, if none.
    pub from: Option<Block>,
    /// Where they look.
    pub table: u32,
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.priority)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " iif {device}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

/// What was found, with what is not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostActual {
    /// What is ours.
    pub network: HostNetwork,
    /// Whose the host's sides of ways out are, as their aliases say.
    pub owners: BTreeMap<Device, VpcId>,
    /// Devices with a name like theirs that say they are something else.
    pub foreign: BTreeSet<Device>,
    /// All other devices.
    pub devices: BTreeMap<Device, HostDevice>,
    /// Those that the host's default routes leave by.
    pub defaults: BTreeSet<Device>,
    /// Whether the host forwards by itself, from any device to any.
    pub forwards: bool,
}

/// A device of the host's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDevice {
    /// Whether somebody brought it up: routes can lead there.
    pub up: bool,
    /// Whether it is connected, too.
    pub carrier: bool,
    /// The bridge or bond that it is attached to.
    pub master: Option<Device>,
}

impl HostActual {
    /// Floating IPs that lead to a VPC here though the store says nothing of them: they stand (decision 9).
    #[must_use]
    pub fn kept(&self, wanted: &HostWanted) -> BTreeMap<Ipv4Addr, VpcId> {
        let routes = self.network.routes.iter();
        let leading = routes.filter_map(|(key, hop)| match hop {
            Hop::Via(_, device) if key.table == FLOATING_TABLE => {
                Some((key.block.network(), *self.owners.get(device)?))
            }
            _ => None,
        });
        leading
            .filter(|(address, _)| {
                !wanted.told.has(*address) && !wanted.floating.contains_key(address)
            })
            .collect()
    }

    /// Whether nothing of ours is there.
    #[must_use]
    pub fn has_nothing(&self) -> bool {
        let network = &self.network;
        self.owners.is_empty()
            && network.rules.chains.is_empty()
            && network.routes.is_empty()
            && network.lookups.is_empty()
            && network.proxies.is_empty()
    }
}
