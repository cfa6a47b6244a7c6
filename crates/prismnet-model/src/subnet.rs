//! A segment of a VPC.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{SubnetId, TenantBlock, VpcId, key, mac::GATEWAYS};

/// The number of a subnet on the wire: 4096 to 16777215. Lower ones are left to others on the same underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vni(u32);

impl Vni {
    /// The lowest.
    pub const LOWEST: u32 = 4096;
    /// The highest: 24 bits.
    pub const HIGHEST: u32 = (1 << 24) - 1;

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The MAC address of the subnet's gateway, the same on every host.
    #[must_use]
    pub fn gateway_mac(self) -> [u8; 6] {
        let [_, d, e, f] = self.0.to_be_bytes();
        let [a, b, c] = GATEWAYS;
        [a, b, c, d, e, f]
    }
}

impl TryFrom<u32> for Vni {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if (Self::LOWEST..=Self::HIGHEST).contains(&number) {
            Ok(Self(number))
        } else {
            Err("must be from 4096 to 16777215")
        }
    }
}

impl From<Vni> for u32 {
    fn from(vni: Vni) -> Self {
        vni.0
    }
}

/// A subnet, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// Its name, for people.
    pub name: String,
    /// The VPC it is part of.
    pub vpc: VpcId,
    /// The VPC's org.
    pub org: Name,
    /// The VPC's project.
    pub project: Name,
    /// Its block, within the VPC's. Never changes.
    pub cidr_block: TenantBlock,
    /// The gateway's address. Never changes.
    pub gateway_ip: Ipv4Addr,
    /// Its number on the wire. Never changes.
    pub vni: Vni,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Record for Subnet {
    const ROOT: &'static str = "/photon/prismnet/public/subnet/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(self.id), key::vni(self.vni)]
    }
}

impl Subnet {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }

    /// Whether a port may have the address.
    #[must_use]
    pub fn is_for_ports(&self, address: Ipv4Addr) -> bool {
        self.cidr_block.is_for_hosts(address) && address != self.gateway_ip
    }
}

/// The key that leads from the id to the record.
#[must_use]
pub fn index(id: SubnetId) -> String {
    key::by_id("subnet", id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn gateways_have_a_mac_of_their_own() {
        for (number, mac) in [
            (4096, [0x02, 0x50, 0x4e, 0, 0x10, 0]),
            (16_777_215, [0x02, 0x50, 0x4e, 0xff, 0xff, 0xff]),
        ] {
            assert_eq!(Vni::try_from(number).unwrap().gateway_mac(), mac);
        }
        assert!(Vni::try_from(4095).is_err());
        assert!(Vni::try_from(1 << 24).is_err());
    }
}
