//! What a VPC is made of on a host: the same words for what is wanted and for what is found.
//!
//! Everything in here is named by ids, numbers and parsed addresses; nothing by what a tenant wrote.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    str::FromStr,
};

use prismnet_model::{Block, PortId};

use crate::ruleset::Ruleset;

/// A device's name.
pub type Device = String;

/// A MAC address of any kind: a port's, a gateway's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ether(pub [u8; 6]);

impl fmt::Display for Ether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Ether {
    type Err = &'static str;

    /// As it is displayed.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.and_then(|part| u8::from_str_radix(part, 16).ok());
            *byte = part.ok_or("must be six bytes with colons")?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err("must be six bytes with colons"),
        }
    }
}

impl fmt::Debug for Ether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bridge of a subnet, with its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The subnet's id.
    pub alias: String,
    /// The gateway's.
    pub mac: Ether,
    /// Bytes.
    pub mtu: u32,
    /// The gateway's address, with the subnet's prefix length.
    pub addresses: BTreeSet<(Ipv4Addr, u8)>,
    /// Whether it is up.
    pub up: bool,
}

/// The VXLAN device of a subnet: its way to other hosts. The bridge has it as a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The subnet's id.
    pub alias: String,
    /// The subnet's number on the wire.
    pub vni: u32,
    /// This host's tunnel address.
    pub local: Ipv4Addr,
    /// Bytes.
    pub mtu: u32,
    /// How it is attached.
    pub seat: Seat,
}

/// The VPC's side of a port here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// The port, as the device's alias says.
    pub port: PortId,
    /// Bytes.
    pub mtu: u32,
    /// How it is attached.
    pub seat: Seat,
}

/// A place at a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The bridge, if any.
    pub bridge: Option<Device>,
    /// What the bridge does there.
    pub flags: SeatFlags,
    /// Whether the device is up.
    pub up: bool,
}

/// What a bridge does at a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the kernel's own switches")]
pub struct SeatFlags {
    /// Learns where senders are.
    pub learning: bool,
    /// Sends out what is for somebody unknown.
    pub flood: bool,
    /// Sends out multicast.
    pub multicast: bool,
    /// Sends out broadcast.
    pub broadcast: bool,
    /// Answers ARP from the bridge's neighbours instead of sending it out.
    pub suppress: bool,
}

impl SeatFlags {
    /// Towards a port here: it hears broadcasts, and nothing for somebody else.
    pub const PORT: Self = Self {
        learning: false,
        flood: false,
        multicast: true,
        broadcast: true,
        suppress: false,
    };
    /// Towards other hosts: only what is for somebody known to be there.
    pub const TUNNEL: Self = Self {
        learning: false,
        flood: false,
        multicast: false,
        broadcast: false,
        suppress: true,
    };
}

/// The namespace of a service's port: the other end of its veth, with everything set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The port's.
    pub mac: Ether,
    /// The port's address with the subnet's prefix length.
    pub address: (Ipv4Addr, u8),
    /// Where the default route goes.
    pub gateway: Ipv4Addr,
    /// Bytes.
    pub mtu: u32,
}

/// The VPC's side of its way out, and what the host's side says of it. The host's side is otherwise the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The host's side, by its name; empty if it is not there.
    pub host: Device,
    /// The VPC's id, on the host's side; empty if there is none.
    pub alias: String,
    /// Bytes.
    pub mtu: u32,
    /// The transfer address inside.
    pub addresses: BTreeSet<(Ipv4Addr, u8)>,
    /// Whether it is up.
    pub up: bool,
}

/// A VPC on a host, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// By name.
    pub bridges: BTreeMap<Device, Bridge>,
    /// By name.
    pub tunnels: BTreeMap<Device, Tunnel>,
    /// By name.
    pub plugs: BTreeMap<Device, Plug>,
    /// The far ends of services' ports.
    pub insides: BTreeMap<PortId, Inside>,
    /// On which device of the bridge a MAC is.
    pub forwarding: BTreeMap<(Device, Ether), Device>,
    /// On which host a MAC behind the tunnel is.
    pub remotes: BTreeMap<(Device, Ether), Ipv4Addr>,
    /// Who has an address, on which bridge.
    pub neighbours: BTreeMap<(Device, Ipv4Addr), Ether>,
    /// Beside the subnets' own.
    pub routes: BTreeMap<Block, Ipv4Addr>,
    /// The way out, if there is one.
    pub uplink: Option<Uplink>,
    /// nftables.
    pub rules: Ruleset,
    /// Of the namespace, below `/proc/sys/net`.
    pub settings: BTreeMap<&'static str, String>,
}

/// What was found, with what is not ours to judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Whether the namespace is there.
    pub exists: bool,
    /// What is ours.
    pub network: Network,
    /// Devices with a name like ours that say they are something else.
    pub foreign: BTreeSet<Device>,
    /// Devices of ports here that stand in the host's namespace with somebody at their other end.
    pub outside: BTreeSet<Device>,
}
