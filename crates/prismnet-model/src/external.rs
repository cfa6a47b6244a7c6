//! Networks outside, which hosts reach by interfaces of theirs.

use std::{collections::BTreeMap, net::Ipv4Addr};

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Block, ExternalNetworkId};

/// The most hosts that an external network names.
pub const MOST_UPLINKS: usize = 1_000;
/// The most ranges of a pool.
pub const MOST_RANGES: usize = 64;
/// The most external networks.
pub const MOST_NETWORKS: usize = 200;

/// An external network, as it is stored: at `<id>`. It is the operator's and belongs to no project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalNetwork {
    /// Its id.
    pub id: ExternalNetworkId,
    /// Its name, for people.
    pub name: String,
    /// Its addresses. Never changes.
    pub cidr_block: Block,
    /// Who knows the way on, within the block; without one everybody in it is a neighbour and nobody else is reached.
    #[serde(default)]
    pub gateway_ip: Option<Ipv4Addr>,
    /// Which of its addresses are given out, in order and without overlaps.
    pub pool: Vec<AddressRange>,
    /// By host, the interface or bridge that reaches it there. On other hosts it is not reached.
    pub uplinks: BTreeMap<Name, Interface>,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Record for ExternalNetwork {
    const ROOT: &'static str = "/photon/prismnet/public/external-network/";
}

impl ExternalNetwork {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        self.id.to_string()
    }
}

/// Addresses from `first` to `last`, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressRange {
    /// The first.
    pub first: Ipv4Addr,
    /// The last; not before the first.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Whether the address is one of them.
    #[must_use]
    pub fn has(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// How many they are.
    #[must_use]
    pub fn count(self) -> u64 {
        u64::from(self.last.to_bits()) - u64::from(self.first.to_bits()) + 1
    }

    /// What is left without one of them: two ranges, one, or none, in order.
    #[must_use]
    pub fn without(self, address: Ipv4Addr) -> Vec<Self> {
        if !self.has(address) {
            return vec![self];
        }
        let bits = address.to_bits();
        let before = (address > self.first).then(|| Self {
            first: self.first,
            last: Ipv4Addr::from_bits(bits - 1),
        });
        let after = (address < self.last).then(|| Self {
            first: Ipv4Addr::from_bits(bits + 1),
            last: self.last,
        });
        before.into_iter().chain(after).collect()
    }
}

/// The name of a network interface: 1 to 15 visible ASCII characters, neither `/` nor `:`, not `.` or `..`, and none of
/// those that agents give to their own devices (`pn…`, `lo`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface(String);

impl Interface {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Interface {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'@');
        if name.is_empty() || name.len() > crate::device::MOST_BYTES {
            return Err("must have 1 to 15 characters");
        }
        if !name.bytes().all(is_plain) || matches!(&*name, "." | "..") {
            return Err("must be the name of an interface: letters, digits, . _ - @");
        }
        if name == "lo" || crate::device::is_ours(&name) {
            return Err("must be an interface that reaches the network outside");
        }
        Ok(Self(name))
    }
}

impl From<Interface> for String {
    fn from(name: Interface) -> Self {
        name.0
    }
}

/// The claim of an address outside: it is given out once, whatever network it is from.
#[must_use]
pub fn address(address: Ipv4Addr) -> String {
    format!("{}{:08x}", ADDRESSES, address.to_bits())
}

/// Where the claims of addresses outside lie; ends with a slash.
pub const ADDRESSES: &str = "/photon/prismnet/external-address/";

/// The blocks of all external networks: read and written as a whole by whoever adds or removes one, so that no two overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalLayout {
    /// In order of making.
    pub networks: Vec<ExternalBlock>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalBlock {
    /// Whose it is.
    pub id: ExternalNetworkId,
    /// Its addresses.
    pub cidr_block: Block,
}

impl Record for ExternalLayout {
    const ROOT: &'static str = "/photon/prismnet/external-layout/";
}

/// The only key below the collection.
pub const LAYOUT: &str = "all";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_interfaces_of_the_host_lead_out() {
        let interface = |name: &str| Interface::try_from(name.to_owned());
        for good in ["eth0", "br-lan", "bond0.100", "enp0s31f6", "vmbr0"] {
            interface(good).unwrap();
        }
        for bad in [
            "",
            "lo",
            ".",
            "..",
            "a/b",
            "a b",
            "a;b",
            "a:b",
            "sixteen-letters-",
            "pnb4096",
            "pnu0123456789ab",
            "ü",
        ] {
            interface(bad).unwrap_err();
        }
        interface("pnp0").unwrap();
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let range = AddressRange {
            first: address("192.0.2.9"),
            last: address("192.0.2.11"),
        };
        for (one, is_in) in [
            ("192.0.2.8", false),
            ("192.0.2.9", true),
            ("192.0.2.11", true),
            ("192.0.2.12", false),
        ] {
            assert_eq!(range.has(address(one)), is_in, "{one}");
        }
    }

    #[test]
    fn without_one_of_them_the_others_are_left() {
        let all = |range: AddressRange| {
            let bits = range.first.to_bits()..=range.last.to_bits();
            bits.map(Ipv4Addr::from_bits)
        };
        let range = AddressRange {
            first: Ipv4Addr::new(192, 0, 2, 9),
            last: Ipv4Addr::new(192, 0, 2, 11),
        };
        let around = AddressRange {
            first: Ipv4Addr::new(192, 0, 2, 8),
            last: Ipv4Addr::new(192, 0, 2, 12),
        };
        for one in all(around) {
            let left = range.without(one);
            let expected: Vec<_> = all(range).filter(|other| *other != one).collect();
            assert_eq!(
                left.iter().copied().flat_map(all).collect::<Vec<_>>(),
                expected
            );
            let count: u64 = left.iter().map(|left| left.count()).sum();
            assert_eq!(count, u64::try_from(expected.len()).unwrap(), "{one}");
        }
        let single = AddressRange {
            first: range.first,
            last: range.first,
        };
        assert!(single.without(range.first).is_empty());
    }
}
