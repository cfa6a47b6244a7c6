//! Where a host is reached by the tunnels of other hosts.

use std::net::Ipv4Addr;

use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

/// A host, as it is stored: at `<host>`. Copied by the control plane from what the host's agent says of itself, if the
/// address lies in `network.underlay`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub host: Name,
    /// Its tunnel address.
    pub vtep: Ipv4Addr,
    /// The bytes of a packet inside a tunnel.
    pub mtu: u32,
}

impl Record for Host {
    const ROOT: &'static str = "/photon/prismnet/public/host/";
}

impl Host {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        self.host.to_string()
    }
}
