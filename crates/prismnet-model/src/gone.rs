//! That a port was deleted while it had a host: the order to take it down there. That a record is absent is none.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Mac, Port, PortId, VpcId};

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
