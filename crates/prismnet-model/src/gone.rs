//! That a port was deleted while it had a host, or a floating IP: the order to take it down there. That a
//! record is absent is none.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{FloatingIp, FloatingIpId, Mac, Port, PortId, VpcId};

/// The order, as it is stored: at `<port>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The port that was.
    pub port: PortId,
    /// The VPC it was in.
    pub vpc: VpcId,
    /// The host it was on last.
    pub host: Name,
    /// The MAC it had: what leads to it on other hosts goes, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<Mac>,
    /// When it was deleted.
    pub at: Timestamp,
}

impl Record for Gone {
    const ROOT: &'static str = "/photon/prismnet/public/gone/";
}

impl Gone {
    /// What is to be written when a port is deleted; nothing if no host can have it.
    #[must_use]
    pub fn of(port: &Port, at: Timestamp) -> Option<Self> {
        Some(Self {
            port: port.id,
            vpc: port.vpc,
            host: port.host.clone()?,
            mac_address: Some(port.mac_address),
            at,
        })
    }

    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        self.port.to_string()
    }
}

/// That a floating IP was deleted: whoever still answers for its address stops. As it is stored: at `<floating IP>`. That a
/// floating IP was taken from a port, or given to another, its own record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneFloatingIp {
    /// The floating IP that was.
    pub floating_ip: FloatingIpId,
    /// The address it had.
    pub address: Ipv4Addr,
    /// The port that had it then.
    #[serde(default)]
    pub port: Option<PortId>,
    /// When it was deleted.
    pub at: Timestamp,
}

impl Record for GoneFloatingIp {
    const ROOT: &'static str = "/photon/prismnet/public/gone-floating-ip/";
}

impl GoneFloatingIp {
    /// What is to be written when a floating IP is deleted, also if no port has it any more: a host that was away may not have
    /// heard of that yet.
    #[must_use]
    pub fn of(floating: &FloatingIp, at: Timestamp) -> Self {
        Self {
            floating_ip: floating.id,
            address: floating.address,
            port: floating.port,
            at,
        }
    }

    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        self.floating_ip.to_string()
    }
}
