//! IPv4 networks, in one text each.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// An IPv4 network as `a.b.c.d/n`, without host bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Block(Ipv4Net);

/// A block that a tenant's network may have: /8 to /30, none of [`RESERVED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Block", into = "Block")]
pub struct TenantBlock(Block);

/// Why a text is no block, or a block not a tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not `address/length` in its one form.
    #[error("must be a block like 10.0.0.0/16")]
    Cidr,
    /// Of IPv6.
    #[error("must be an IPv4 block")]
    Ipv4,
    /// An address within the block, not the block itself.
    #[error("must not have host bits set")]
    HostBits,
    /// Longer than 32, or not what a tenant may have.
    #[error("must have a prefix length from {least} to {most}")]
    PrefixLength {
        /// The shortest.
        least: u8,
        /// The longest.
        most: u8,
    },
    /// In a range that is not for tenants.
    #[error("must not overlap {0}, which is reserved")]
    Reserved(Block),
}

impl BlockError {
    /// The word in `details.constraint`.
    #[must_use]
    pub fn constraint(self) -> &'static str {
        match self {
            Self::Cidr => "cidr",
            Self::Ipv4 => "ipv4",
            Self::HostBits => "host_bits",
            Self::PrefixLength { .. } => "prefix_length",
            Self::Reserved(_) => "reserved",
        }
    }
}

/// Ranges that are not for tenants: this network, loopback, link-local (metadata, and what connects namespaces),
/// multicast and everything above.
pub const RESERVED: [Block; 4] = [
    fixed([0, 0, 0, 0], 8),
    fixed([127, 0, 0, 0], 8),
    fixed([169, 254, 0, 0], 16),
    fixed([224, 0, 0, 0], 3),
];

const fn fixed(octets: [u8; 4], length: u8) -> Block {
    let [a, b, c, d] = octets;
    Block(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

/// The longest text of a block.
const LONGEST: usize = "255.255.255.255/32".len();

impl Block {
    /// Everything.
    pub const ANY: Self = fixed([0, 0, 0, 0], 0);

    /// The network's own address, the lowest one.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        self.0.network()
    }

    /// The highest address.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        self.0.broadcast()
    }

    /// How many bits its addresses share.
    #[must_use]
    pub fn prefix_length(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn has(self, address: Ipv4Addr) -> bool {
        self.0.contains(&address)
    }

    /// Whether all of the other one lies in it.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether they share an address. Blocks do exactly if one contains the other.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other) || other.contains(self)
    }
}

impl TenantBlock {
    /// The shortest prefix.
    pub const SHORTEST: u8 = 8;
    /// The longest prefix: with network, broadcast and gateway one address is left.
    pub const LONGEST: u8 = 30;

    /// The block.
    #[must_use]
    pub fn block(self) -> Block {
        self.0
    }

    /// The first address behind the network's: the gateway, if nothing is said.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        // A tenant's block has at least four addresses.
        Ipv4Addr::from_bits(self.0.network().to_bits() + 1)
    }

    /// Whether an address can be a gateway's or a port's: in the block, and neither the network's nor the broadcast.
    #[must_use]
    pub fn is_for_hosts(self, address: Ipv4Addr) -> bool {
        self.0.has(address) && address != self.0.network() && address != self.0.broadcast()
    }

    /// How many addresses there are for ports: all but network, broadcast and gateway.
    #[must_use]
    pub fn capacity(self) -> u32 {
        (1 << (32 - u32::from(self.0.prefix_length()))) - 3
    }
}

impl TryFrom<Block> for TenantBlock {
    type Error = BlockError;

    fn try_from(block: Block) -> Result<Self, BlockError> {
        if !(Self::SHORTEST..=Self::LONGEST).contains(&block.prefix_length()) {
            return Err(BlockError::PrefixLength {
                least: Self::SHORTEST,
                most: Self::LONGEST,
            });
        }
        let reserved = RESERVED.into_iter().find(|one| one.overlaps(block));
        reserved.map_or(Ok(Self(block)), |range| Err(BlockError::Reserved(range)))
    }
}

impl From<TenantBlock> for Block {
    fn from(block: TenantBlock) -> Self {
        block.0
    }
}

impl FromStr for TenantBlock {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        text.parse::<Block>()?.try_into()
    }
}

impl FromStr for Block {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let (address, length) = text.split_once('/').ok_or(BlockError::Cidr)?;
        let address = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address,
            Ok(IpAddr::V6(_)) => return Err(BlockError::Ipv4),
            Err(_) => return Err(BlockError::Cidr),
        };
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BlockError::Cidr);
        }
        let beyond = BlockError::PrefixLength { least: 0, most: 32 };
        let length: u8 = length.parse().map_err(|_| beyond)?;
        let net = Ipv4Net::new(address, length).map_err(|_| beyond)?;
        if net.network() != address {
            return Err(BlockError::HostBits);
        }
        // One block has one text: `/08` is refused.
        if text.len() > LONGEST || net.to_string() != text {
            return Err(BlockError::Cidr);
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TenantBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Block {
    type Error = BlockError;

    fn try_from(text: String) -> Result<Self, BlockError> {
        text.parse()
    }
}

impl From<Block> for String {
    fn from(block: Block) -> Self {
        block.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_block_of_a_tenant_is_refused_with_the_reason() {
        for (text, constraint) in [
            ("", "cidr"),
            ("10.0.0.0", "cidr"),
            ("10.0.0.0/", "cidr"),
            ("10.0.0.0/16 ", "cidr"),
            (" 10.0.0.0/16", "cidr"),
            ("10.0.0/16", "cidr"),
            ("010.0.0.0/16", "cidr"),
            ("10.0.0.0/016", "cidr"),
            ("10.0.0.0/-1", "cidr"),
            ("10.0.0.0/+8", "cidr"),
            ("10.0.0.0/16/8", "cidr"),
            ("ten/16", "cidr"),
            ("10.0.0.0/33", "prefix_length"),
            ("10.0.0.0/999999999999999999999", "prefix_length"),
            ("10.0.0.0/31", "prefix_length"),
            ("10.0.0.0/32", "prefix_length"),
            ("0.0.0.0/0", "prefix_length"),
            ("10.0.0.1/16", "host_bits"),
            ("10.1.0.0/8", "host_bits"),
            ("::ffff:10.0.0.0/104", "ipv4"),
            ("fd00::/48", "ipv4"),
            ("0.0.0.0/8", "reserved"),
            ("127.0.0.0/8", "reserved"),
            ("127.1.0.0/16", "reserved"),
            ("169.254.0.0/16", "reserved"),
            ("169.254.169.254/30", "host_bits"),
            ("168.0.0.0/7", "prefix_length"),
            ("169.0.0.0/8", "reserved"),
            ("224.0.0.0/8", "reserved"),
            ("255.255.255.0/24", "reserved"),
        ] {
            let error = text.parse::<TenantBlock>().unwrap_err();
            assert_eq!(error.constraint(), constraint, "{text:?}: {error}");
        }
        for text in [
            "10.0.0.0/8",
            "172.16.0.0/16",
            "192.168.7.4/30",
            "8.8.8.0/24",
        ] {
            assert_eq!(text.parse::<TenantBlock>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_block_has_room_for_what_is_not_taken_by_itself() {
        let block: TenantBlock = "10.0.3.0/24".parse().unwrap();
        assert_eq!(
            (block.capacity(), block.first().to_string()),
            (253, "10.0.3.1".to_owned())
        );
        let least: TenantBlock = "10.0.3.4/30".parse().unwrap();
        assert_eq!(least.capacity(), 1);
        for (address, is) in [
            ("10.0.3.4", false),
            ("10.0.3.5", true),
            ("10.0.3.6", true),
            ("10.0.3.7", false),
            ("10.0.3.8", false),
        ] {
            assert_eq!(
                least.is_for_hosts(address.parse().unwrap()),
                is,
                "{address}"
            );
        }
    }

    fn block() -> impl Strategy<Value = Block> {
        (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap();
            Block(net.trunc())
        })
    }

    /// Blocks that are near each other more often than by chance.
    fn near() -> impl Strategy<Value = Block> {
        (0u32..16, 24u8..=32).prop_map(|(low, length)| {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(0x0a00_0000 | (low << 4)), length).unwrap();
            Block(net.trunc())
        })
    }

    proptest! {
        #[test]
        fn one_block_has_one_text(block in block()) {
            prop_assert_eq!(block.to_string().parse::<Block>().unwrap(), block);
        }

        #[test]
        fn overlap_is_a_shared_address(a in near(), b in near()) {
            let all = |block: Block| block.network().to_bits()..=block.broadcast().to_bits();
            let shared = all(a).any(|bits| all(b).contains(&bits));
            prop_assert_eq!(a.overlaps(b), shared);
            prop_assert_eq!(b.overlaps(a), shared);
            let within = all(b).all(|bits| all(a).contains(&bits));
            prop_assert_eq!(a.contains(b), within);
        }

        #[test]
        fn whatever_is_read_is_written_the_same(text in "[0-9./:a-f]{0,20}") {
            if let Ok(block) = text.parse::<Block>() {
                prop_assert_eq!(block.to_string(), text);
            }
        }
    }
}
