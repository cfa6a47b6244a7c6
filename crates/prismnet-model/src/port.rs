//! An address in a subnet, with its MAC: what a guest, a pod or a process is connected by.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{GroupId, Mac, PortId, SubnetId, VpcId, key};

/// The most groups of a port.
pub const MOST_GROUPS: usize = 16;

/// What is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// A virtual machine, by a tap.
    #[default]
    Guest,
    /// A pod, by a veth.
    Pod,
    /// A process of the host inside the VPC, by a veth.
    Service,
    /// Nothing by itself: an address that is bound to other ports later. Has no host.
    Vip,
}

impl PortKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Pod, Self::Service, Self::Vip];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Vip => "vip",
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PortKind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or("must be guest, pod, service or vip")
    }
}

/// A port, as it is stored: at `<org>/<project>/<id>`. What is wanted of it; what is, hosts report elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its id.
    pub id: PortId,
    /// Its name, for people; may be empty.
    #[serde(default)]
    pub name: String,
    /// The subnet's VPC.
    pub vpc: VpcId,
    /// Where its address is from.
    pub subnet: SubnetId,
    /// The VPC's org.
    pub org: Name,
    /// The VPC's project.
    pub project: Name,
    /// What is connected.
    pub kind: PortKind,
    /// Its MAC address, alone in the VPC. Never changes.
    pub mac_address: Mac,
    /// Its address, alone in the subnet. Never changes.
    pub ip_address: Ipv4Addr,
    /// Its groups, each once.
    #[serde(default)]
    pub security_groups: Vec<GroupId>,
    /// The host it is to be on.
    #[serde(default)]
    pub host: Option<Name>,
    /// Whose it is, in words of whoever made it: `vm-…`.
    #[serde(default)]
    pub device: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Record for Port {
    const ROOT: &'static str = "/photon/prismnet/public/port/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        let mut keys = vec![
            index(self.id),
            key::address(self.subnet, self.ip_address),
            key::mac(self.vpc, self.mac_address),
        ];
        keys.extend(
            self.security_groups
                .iter()
                .map(|group| key::uses(*group, self.id)),
        );
        keys
    }
}

impl Port {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: PortId) -> String {
    key::by_id("port", id)
}
