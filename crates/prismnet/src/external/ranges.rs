//! Which addresses of an external network are given out.

use std::net::Ipv4Addr;

use photon_core::Error;
use prismnet_model::{AddressRange, Block, external::MOST_RANGES};

const POOL: &str = "pool";
const GATEWAY: &str = "gateway_ip";

/// Everything that can be given out.
pub(super) fn whole(block: Block, gateway: Option<Ipv4Addr>) -> Vec<AddressRange> {
    let hosts = hosts(block);
    gateway.map_or_else(|| vec![hosts], |gateway| hosts.without(gateway))
}

/// Whether a gateway and a pool are the block's and go together.
///
/// # Errors
/// 400 naming `gateway_ip` or `pool`.
pub(super) fn check(
    block: Block,
    gateway: Option<Ipv4Addr>,
    pool: &[AddressRange],
) -> Result<(), Error> {
    if let Some(gateway) = gateway {
        check_gateway(block, gateway)?;
    }
    if pool.len() > MOST_RANGES {
        let message = format!("{POOL} must be at most {MOST_RANGES} ranges");
        return Err(refuse(POOL, "max_items", message));
    }
    for range in pool {
        check_range(block, *range)?;
    }
    if pool.windows(2).any(|pair| pair[1].first <= pair[0].last) {
        let message = format!("{POOL} must have its ranges in order and apart");
        return Err(refuse(POOL, "order", message));
    }
    if let Some(gateway) = gateway
        && has(pool, gateway)
    {
        let message = format!("{GATEWAY} {gateway} must not be in the pool");
        return Err(refuse(GATEWAY, "in_pool", message));
    }
    Ok(())
}

/// Whether an address is given out.
pub(crate) fn has(pool: &[AddressRange], address: Ipv4Addr) -> bool {
    pool.iter().any(|range| range.has(address))
}

fn check_gateway(block: Block, gateway: Ipv4Addr) -> Result<(), Error> {
    if !block.has(gateway) {
        let message = format!("{GATEWAY} {gateway} must lie within {block}");
        return Err(refuse(GATEWAY, "within_block", message));
    }
    if !hosts(block).has(gateway) {
        let message = format!("{GATEWAY} must not be the network or broadcast address");
        return Err(refuse(GATEWAY, "reserved", message));
    }
    Ok(())
}

fn check_range(block: Block, range: AddressRange) -> Result<(), Error> {
    let AddressRange { first, last } = range;
    if last < first {
        let message = format!("{POOL} must have {first} no later than {last}");
        return Err(refuse(POOL, "range", message));
    }
    if !block.has(first) || !block.has(last) {
        let message = format!("{POOL} {first} to {last} must lie within {block}");
        return Err(refuse(POOL, "within_block", message));
    }
    let hosts = hosts(block);
    if !hosts.has(first) || !hosts.has(last) {
        let message = format!("{POOL} must not have the network or broadcast address");
        return Err(refuse(POOL, "reserved", message));
    }
    Ok(())
}

/// All but the network and broadcast addresses, which blocks of one or two addresses do not have (RFC 3021).
fn hosts(block: Block) -> AddressRange {
    let (first, last) = (block.network().to_bits(), block.broadcast().to_bits());
    let edge = u32::from(block.prefix_length() < 31);
    AddressRange {
        first: Ipv4Addr::from_bits(first + edge),
        last: Ipv4Addr::from_bits(last - edge),
    }
}

fn refuse(field: &str, constraint: &str, message: String) -> Error {
    Error::validation(field, constraint, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn texts(pool: &[AddressRange]) -> Vec<String> {
        let text = |range: &AddressRange| format!("{}-{}", range.first, range.last);
        pool.iter().map(text).collect()
    }

    #[test]
    fn without_a_pool_it_is_everything_that_can_be_given_out() {
        for (block, gateway, pool) in [
            ("192.0.2.0/29", None, &["192.0.2.1-192.0.2.6"][..]),
            ("192.0.2.0/29", Some("192.0.2.1"), &["192.0.2.2-192.0.2.6"]),
            (
                "192.0.2.0/29",
                Some("192.0.2.4"),
                &["192.0.2.1-192.0.2.3", "192.0.2.5-192.0.2.6"],
            ),
            ("192.0.2.0/31", None, &["192.0.2.0-192.0.2.1"]),
            ("192.0.2.0/31", Some("192.0.2.0"), &["192.0.2.1-192.0.2.1"]),
            ("192.0.2.9/32", None, &["192.0.2.9-192.0.2.9"]),
            ("192.0.2.9/32", Some("192.0.2.9"), &[]),
        ] {
            let block = block.parse().unwrap();
            let gateway = gateway.map(|text: &str| text.parse().unwrap());
            let whole = whole(block, gateway);
            assert_eq!(texts(&whole), pool, "{block} {gateway:?}");
            check(block, gateway, &whole).unwrap();
        }
    }

    proptest! {
        /// Whatever is let in lies in the block, apart, and without what is nobody's.
        #[test]
        fn what_is_let_in_can_be_given_out(
            length in 26u8..=32,
            gateway in prop::option::of(0u32..70),
            pool in prop::collection::vec((0u32..70, 0u32..70), 0..4),
        ) {
            let network: u32 = 0xc000_0200;
            let address = |offset: u32| Ipv4Addr::from_bits(network + offset);
            let block: Block = format!("{}/{length}", address(0)).parse().unwrap();
            let gateway = gateway.map(address);
            let pool: Vec<_> = pool
                .into_iter()
                .map(|(first, last)| AddressRange { first: address(first), last: address(last) })
                .collect();
            if check(block, gateway, &pool).is_ok() {
                let mut given: Vec<u32> = Vec::new();
                for range in &pool {
                    given.extend(range.first.to_bits()..=range.last.to_bits());
                }
                prop_assert!(given.is_sorted_by(|a, b| a < b));
                let allowed = whole(block, gateway);
                prop_assert!(given.iter().all(|bits| has(&allowed, Ipv4Addr::from_bits(*bits))));
            }
        }
    }
}
