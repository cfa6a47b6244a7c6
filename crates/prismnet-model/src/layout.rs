//! What a VPC is divided into: read and written as a whole by whoever adds or removes a subnet or a route, so that of two
//! that do not go together one loses.

use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::{Block, RouteId, SubnetId, TenantBlock, VpcId};

/// The most subnets of a VPC.
pub const MOST_SUBNETS: usize = 200;
/// The most routes of a VPC.
pub const MOST_ROUTES: usize = 200;

/// The layout of a VPC, stored at `<vpc>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Its subnets. No two overlap.
    pub subnets: Vec<Placed>,
    /// Its routes. No two have the same destination.
    pub routes: Vec<Routed>,
}

/// A subnet and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Which one.
    pub id: SubnetId,
    /// Its block.
    pub cidr_block: TenantBlock,
}

/// A route and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// Which one.
    pub id: RouteId,
    /// Its destination.
    pub destination: Block,
}

impl Record for Layout {
    const ROOT: &'static str = "/photon/prismnet/layout/";
}

/// The key of a VPC's layout below the collection.
#[must_use]
pub fn key(vpc: VpcId) -> String {
    vpc.to_string()
}

impl Layout {
    /// The subnet that a block would overlap.
    #[must_use]
    pub fn overlapping(&self, block: Block) -> Option<&Placed> {
        let mut subnets = self.subnets.iter();
        subnets.find(|placed| placed.cidr_block.block().overlaps(block))
    }

    /// The subnet that an address lies in.
    #[must_use]
    pub fn subnet_of(&self, address: std::net::Ipv4Addr) -> Option<&Placed> {
        let mut subnets = self.subnets.iter();
        subnets.find(|placed| placed.cidr_block.block().has(address))
    }

    /// The route to a destination.
    #[must_use]
    pub fn route_to(&self, destination: Block) -> Option<&Routed> {
        let mut routes = self.routes.iter();
        routes.find(|routed| routed.destination == destination)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn block() -> impl Strategy<Value = TenantBlock> {
        (0u32..256, 20u8..=30).prop_map(|(low, length)| {
            let mask = u32::MAX << (32 - u32::from(length));
            let network = std::net::Ipv4Addr::from_bits((0x0a00_0000 | (low << 4)) & mask);
            format!("{network}/{length}").parse().unwrap()
        })
    }

    proptest! {
        /// Whatever is asked for in whatever order: what is let in never overlaps, and what is refused does.
        #[test]
        fn what_is_let_in_never_overlaps(blocks in prop::collection::vec(block(), 1..40)) {
            let mut layout = Layout::default();
            for cidr_block in blocks {
                match layout.overlapping(cidr_block.block()) {
                    None => layout.subnets.push(Placed { id: SubnetId::generate(), cidr_block }),
                    Some(placed) => {
                        let (a, b) = (placed.cidr_block.block(), cidr_block.block());
                        prop_assert!(a.has(b.network()) || b.has(a.network()));
                    }
                }
            }
            for (index, one) in layout.subnets.iter().enumerate() {
                for other in &layout.subnets[index + 1..] {
                    let (a, b) = (one.cidr_block.block(), other.cidr_block.block());
                    prop_assert!(a.broadcast() < b.network() || b.broadcast() < a.network());
                }
                let first = one.cidr_block.first();
                prop_assert_eq!(layout.subnet_of(first).unwrap().id, one.id);
            }
        }
    }
}
