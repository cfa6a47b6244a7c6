//! An address outside, for a port.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{ExternalNetworkId, FloatingIpId, PortId, external, key};

/// A floating IP, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    /// Its id.
    pub id: FloatingIpId,
    /// The org that owns the project.
    pub org: Name,
    /// The project that owns it.
    pub project: Name,
    /// Where its address is from.
    pub external_network: ExternalNetworkId,
    /// Its address, given out once. Never changes.
    pub address: Ipv4Addr,
    /// The port that has it, of the same project; each has at most one.
    #[serde(default)]
    pub port: Option<PortId>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Record for FloatingIp {
    const ROOT: &'static str = "/photon/prismnet/public/floating-ip/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        let mut keys = vec![
            index(self.id),
            external::address(self.address),
            key::uses(self.external_network, self.id),
        ];
        if let Some(port) = self.port {
            keys.extend([key::uses(port, self.id), of_port(port)]);
        }
        keys
    }
}

impl FloatingIp {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: FloatingIpId) -> String {
    key::by_id("floating-ip", id)
}

/// The claim of a port: it has one floating IP at most.
#[must_use]
pub fn of_port(port: PortId) -> String {
    format!("{}floating/{port}", key::ROOT)
}
