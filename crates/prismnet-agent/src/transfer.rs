//! The pairs of addresses by which VPCs with a way out are connected to the host. The host picks them, nobody else sees them.
//!
//! Nothing is remembered on disk: the devices that carry them say whose they are (`kernel::host`). A VPC keeps its pair as
//! long as its device is there, whatever is restarted meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use prismnet_model::VpcId;

/// All of them: 169.254.128.0/17. Link-local, so in no tenant's block, and routed by nobody.
pub const BLOCK: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 128, 0), 17);
/// The block as nft and netlink write prefixes: of each pair, both addresses.
pub const LENGTH: u8 = 31;
/// How many there are.
pub const MOST: u16 = 1 << 14;

/// One pair: the even address is the host's, the odd one the VPC's (RFC 3021).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transfer(u16);

impl Transfer {
    /// The pair with that number, below [`MOST`].
    #[must_use]
    pub fn numbered(number: u16) -> Option<Self> {
        (number < MOST).then_some(Self(number))
    }

    /// The pair whose host's side has that address.
    #[must_use]
    pub fn of_host(address: Ipv4Addr) -> Option<Self> {
        let offset = address.to_bits().checked_sub(BLOCK.0.to_bits())?;
        let number = u16::try_from(offset / 2).ok()?;
        (offset % 2 == 0).then_some(())?;
        Self::numbered(number)
    }

    /// The pair whose VPC's side has that address.
    #[must_use]
    pub fn of_inside(address: Ipv4Addr) -> Option<Self> {
        let host = address.to_bits().checked_sub(1)?;
        Self::of_host(Ipv4Addr::from_bits(host))
    }

    /// The host's side.
    #[must_use]
    pub fn host(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(BLOCK.0.to_bits() + 2 * u32::from(self.0))
    }

    /// The VPC's side.
    #[must_use]
    pub fn inside(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(BLOCK.0.to_bits() + 2 * u32::from(self.0) + 1)
    }
}

/// Which VPC has which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfers(BTreeMap<VpcId, Transfer>);

impl Transfers {
    /// A VPC's, if it has one.
    #[must_use]
    pub fn get(&self, vpc: VpcId) -> Option<Transfer> {
        self.0.get(&vpc).copied()
    }

    /// Whether all of these have one.
    #[must_use]
    pub fn are_enough(&self, wanted: &BTreeSet<VpcId>) -> bool {
        wanted.iter().all(|vpc| self.0.contains_key(vpc))
    }

    /// Gives one to each of `wanted`: what it has, else what a device of its says, else the lowest that is free. One that a
    /// device has is not free. Those for whom none is left have none.
    pub fn give(&mut self, wanted: &BTreeSet<VpcId>, found: &BTreeMap<VpcId, Transfer>) {
        self.0.retain(|vpc, _| wanted.contains(vpc));
        let mut taken: BTreeSet<Transfer> = self.0.values().copied().collect();
        for (vpc, transfer) in found {
            if !self.0.contains_key(vpc) && taken.insert(*transfer) {
                self.0.insert(*vpc, *transfer);
            }
        }
        let mut free = (0..MOST).map(Transfer).filter(|one| !taken.contains(one));
        for vpc in wanted {
            if !self.0.contains_key(vpc)
                && let Some(transfer) = free.next()
            {
                self.0.insert(*vpc, transfer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_pair_is_known_by_its_even_address() {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let last = Transfer::numbered(MOST - 1).unwrap();
        assert_eq!(last.inside(), address("169.254.255.255"));
        for transfer in [Transfer::numbered(0).unwrap(), last] {
            assert_eq!(Transfer::of_host(transfer.host()), Some(transfer));
            assert_eq!(Transfer::of_host(transfer.inside()), None);
            assert_eq!(Transfer::of_inside(transfer.inside()), Some(transfer));
            assert_eq!(Transfer::of_inside(transfer.host()), None);
        }
        for other in ["169.254.127.254", "169.255.0.0", "10.0.0.0"] {
            assert_eq!(Transfer::of_host(address(other)), None, "{other}");
        }
        assert_eq!(Transfer::numbered(MOST), None);
    }

    #[test]
    fn whoever_has_one_keeps_it() {
        let [a, b, c, d] = [(); 4].map(|()| VpcId::generate());
        let number = |number| Transfer::numbered(number).unwrap();
        let mut transfers = Transfers::default();
        // C's device is there and not wanted any more: its pair is not given away while it is.
        let found = BTreeMap::from([(b, number(1)), (c, number(0))]);
        transfers.give(&[a, b].into(), &found);
        assert_eq!(
            (transfers.get(a), transfers.get(b)),
            (Some(number(2)), Some(number(1)))
        );
        // Restarted: the same from the devices alone.
        let found = BTreeMap::from([(a, number(2)), (b, number(1))]);
        let mut again = Transfers::default();
        again.give(&[a, b, d].into(), &found);
        assert_eq!(
            (again.get(a), again.get(b)),
            (Some(number(2)), Some(number(1)))
        );
        assert_eq!(again.get(d), Some(number(0)));
        // Before its device is there it keeps what it was given.
        again.give(&[a, b, d].into(), &BTreeMap::from([(c, number(0))]));
        assert_eq!(again.get(d), Some(number(0)));
        assert_eq!(again.get(c), None);
    }
}
