//! Which address of a subnet to try next.
//!
//! ```text
//!   next ──> Reserved ──taken────> taken         (the port is made, or somebody else has it)
//!     │         └──dropped──────> free again     (nothing was written)
//!     └─ nothing free: read the claims once more ─ nothing free ─> exhausted
//! ```
//!
//! What stands here is a guess, by what this process has read and done. The store decides: an address is a port's when the
//! port's transaction makes the claim's key, which must not exist. A process that dies leaves nothing behind, and one that
//! knows too little only tries in vain.

use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive, sync::Arc, time::Duration};

use moka::sync::Cache;
use parking_lot::Mutex;
use photon_core::Error;
use photon_store::{Scan, Store};
use prismnet_model::{Subnet, SubnetId, key};
use tokio::time::Instant;

use crate::refusal;

/// The most subnets whose addresses are remembered.
const MOST_POOLS: u64 = 1_024;
/// How long they are remembered when nobody asks.
const IDLE: Duration = Duration::from_secs(600);
/// Claims read at once.
const CHUNK: u32 = 1_000;
/// The claims of subnets with more addresses than this are not read again for each request that finds none free,
const LARGE: u32 = 4_096;
/// but once in so long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How far ahead the search goes on after another process was faster, at most.
const PART_WAYS: u32 = 64;
/// After so many in a row that others have, the claims are read again instead of being found one by one.
const LOST_IN_A_ROW: u32 = 8;

/// What is known of all subnets.
#[derive(Clone, Debug)]
pub(crate) struct Pools {
    store: Store,
    pools: Cache<SubnetId, Arc<Pool>>,
}

/// What is known of a subnet.
#[derive(Debug)]
struct Pool {
    /// Whoever holds it reads the claims.
    reading: tokio::sync::Mutex<()>,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    /// The first and the last that a port can have.
    range: RangeInclusive<u32>,
    gateway: u32,
    capacity: usize,
    /// Claimed, as far as is known.
    taken: BTreeSet<u32>,
    /// Given out and not claimed yet.
    reserved: BTreeSet<u32>,
    /// Where the search begins.
    cursor: u32,
    /// Those that others had, one after the other.
    lost: u32,
    /// When the claims were read last, if they need not be read again; and how often they were.
    read: Option<Instant>,
    reads: u64,
}

/// An address that this process gives to nobody else, until it is dropped.
#[derive(Debug)]
#[must_use = "it is free again when it is dropped"]
pub(crate) struct Reserved {
    pool: Arc<Pool>,
    address: u32,
}

impl Pools {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            pools: Cache::builder()
                .max_capacity(MOST_POOLS)
                .time_to_idle(IDLE)
                .build(),
        }
    }

    /// An address that seems to be free.
    ///
    /// # Errors
    /// `ADDRESSES_EXHAUSTED`; those of reads.
    pub(crate) async fn next(&self, subnet: &Subnet) -> Result<Reserved, Error> {
        let pool = self.pool(subnet);
        loop {
            let reads = {
                let mut addresses = pool.addresses.lock();
                if addresses.read.is_some()
                    && let Some(address) = addresses.pick()
                {
                    drop(addresses);
                    return Ok(Reserved { pool, address });
                }
                if !addresses.is_worth_reading() {
                    return Err(refusal::exhausted(subnet.id, subnet.cidr_block.capacity()));
                }
                addresses.reads
            };
            let _turn = pool.reading.lock().await;
            if pool.addresses.lock().reads != reads {
                continue; // somebody has read them while we waited
            }
            let taken = self.claims(subnet.id).await?;
            let mut addresses = pool.addresses.lock();
            addresses.replace(taken);
            let picked = addresses.pick();
            drop(addresses);
            return match picked {
                Some(address) => Ok(Reserved {
                    pool: Arc::clone(&pool),
                    address,
                }),
                None => Err(refusal::exhausted(subnet.id, subnet.cidr_block.capacity())),
            };
        }
    }

    /// An address that somebody asked for has become a port's.
    pub(crate) fn taken(&self, subnet: SubnetId, address: Ipv4Addr) {
        if let Some(pool) = self.pools.get(&subnet) {
            pool.addresses.lock().taken.insert(address.to_bits());
        }
    }

    /// A port is gone.
    pub(crate) fn free(&self, subnet: SubnetId, address: Ipv4Addr) {
        if let Some(pool) = self.pools.get(&subnet) {
            pool.addresses.lock().taken.remove(&address.to_bits());
        }
    }

    fn pool(&self, subnet: &Subnet) -> Arc<Pool> {
        self.pools.get_with(subnet.id, || {
            Arc::new(Pool {
                reading: tokio::sync::Mutex::default(),
                addresses: Mutex::new(Addresses::of(subnet)),
            })
        })
    }

    async fn claims(&self, subnet: SubnetId) -> Result<BTreeSet<u32>, Error> {
        let mut scan = Scan::below(key::addresses(subnet), CHUNK);
        let mut taken = BTreeSet::new();
        loop {
            let page = self.store.scan(&scan).await?;
            let addresses = page
                .entries
                .iter()
                .map(|entry| key::claimed_address(&entry.key));
            taken.extend(addresses.flatten().map(Ipv4Addr::to_bits));
            match page.entries.last() {
                // The next key there can be.
                Some(last) if page.more => scan.from = Some(format!("{}0", last.key)),
                _ => return Ok(taken),
            }
        }
    }
}

impl Reserved {
    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address)
    }

    /// It is a port's now, or nobody knows.
    pub(crate) fn taken(self) {
        let mut addresses = self.pool.addresses.lock();
        addresses.taken.insert(self.address);
        addresses.lost = 0;
    }

    /// Somebody else was faster: the search goes on elsewhere.
    pub(crate) fn lost(self) {
        let mut addresses = self.pool.addresses.lock();
        addresses.taken.insert(self.address);
        addresses.lost += 1;
        if addresses.lost >= LOST_IN_A_ROW {
            addresses.read = None;
        }
        let ahead = rand::random_range(1..=PART_WAYS);
        addresses.move_on(ahead);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.pool.addresses.lock().reserved.remove(&self.address);
    }
}

impl Addresses {
    fn of(subnet: &Subnet) -> Self {
        let block = subnet.cidr_block.block();
        let first = subnet.cidr_block.first().to_bits();
        Self {
            range: first..=block.broadcast().to_bits() - 1,
            gateway: subnet.gateway_ip.to_bits(),
            // At most 2^24 fit into any usize there is.
            capacity: usize::try_from(subnet.cidr_block.capacity()).unwrap_or(usize::MAX),
            taken: BTreeSet::new(),
            reserved: BTreeSet::new(),
            cursor: first,
            lost: 0,
            read: None,
            reads: 0,
        }
    }

    /// The next one that is free after the last one given, from the start again at the end.
    fn pick(&mut self) -> Option<u32> {
        if self.taken.len() + self.reserved.len() >= self.capacity {
            return None;
        }
        let (first, last) = (*self.range.start(), *self.range.end());
        let found = (self.cursor..=last)
            .chain(first..self.cursor)
            .find(|address| self.is_free(*address))?;
        self.reserved.insert(found);
        self.cursor = if found == last { first } else { found + 1 };
        Some(found)
    }

    fn is_free(&self, address: u32) -> bool {
        address != self.gateway
            && !self.taken.contains(&address)
            && !self.reserved.contains(&address)
    }

    fn move_on(&mut self, ahead: u32) {
        let (first, last) = (*self.range.start(), *self.range.end());
        let length = last - first + 1;
        self.cursor = first + (self.cursor - first + ahead % length) % length;
    }

    /// Whether the claims may be others than what is known of them.
    fn is_worth_reading(&self) -> bool {
        let small = u32::try_from(self.capacity).is_ok_and(|capacity| capacity <= LARGE);
        small || self.read.is_none_or(|read| read.elapsed() >= LOOK_AGAIN)
    }

    fn replace(&mut self, taken: BTreeSet<u32>) {
        self.taken = taken;
        self.lost = 0;
        self.read = Some(Instant::now());
        self.reads += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn addresses(length: u8, gateway: u32) -> Addresses {
        let network: u32 = 0x0a00_0000;
        let size = 1u32 << (32 - length);
        Addresses {
            range: network + 1..=network + size - 2,
            gateway: network + gateway,
            capacity: usize::try_from(size - 3).unwrap(),
            taken: BTreeSet::new(),
            reserved: BTreeSet::new(),
            cursor: network + 1,
            lost: 0,
            read: Some(Instant::now()),
            reads: 1,
        }
    }

    proptest! {
        /// Whatever is given out, lost and given back in whatever order: nobody gets what somebody has, the gateway is
        /// nobody's, and what is free is found.
        #[test]
        fn nobody_gets_what_somebody_has(
            length in 26u8..=30,
            gateway in 1u32..3,
            steps in prop::collection::vec((0u8..4, any::<u32>()), 0..200),
        ) {
            let mut addresses = addresses(length, gateway);
            let mut held: Vec<u32> = Vec::new();
            for (step, number) in steps {
                match step {
                    0 | 1 => match addresses.pick() {
                        Some(found) => {
                            prop_assert!(!held.contains(&found));
                            prop_assert!(addresses.range.contains(&found));
                            prop_assert_ne!(found, addresses.gateway);
                            addresses.reserved.remove(&found);
                            addresses.taken.insert(found);
                            held.push(found);
                        }
                        None => prop_assert_eq!(held.len(), addresses.capacity),
                    },
                    2 if !held.is_empty() => {
                        let at = usize::try_from(number).unwrap() % held.len();
                        addresses.taken.remove(&held.swap_remove(at));
                    }
                    _ => addresses.move_on(number),
                }
                prop_assert!(addresses.range.contains(&addresses.cursor));
            }
        }
    }

    #[test]
    fn what_was_given_back_is_not_given_out_at_once() {
        let mut addresses = addresses(28, 1);
        let first = addresses.pick().unwrap();
        addresses.reserved.remove(&first);
        assert_ne!(addresses.pick().unwrap(), first);
    }
}
