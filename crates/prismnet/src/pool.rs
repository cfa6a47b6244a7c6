//! Which address to try next, of a subnet or of an external network.
//!
//! ```text
//!   next ──> Reserved ──taken────> taken         (it has an owner: ours, or somebody else's)
//!     │         └──dropped──────> free again     (nothing was written)
//!     └─ nothing free: read the claims once more ─ nothing free ─> exhausted
//! ```
//!
//! What stands here is a guess, by what this process has read and done. The store decides: an address has an owner when the
//! owner's transaction makes the claim's key, which must not exist. A process that dies leaves nothing behind, and one that
//! knows too little only tries in vain.

use std::{
    collections::BTreeSet, fmt, hash::Hash, net::Ipv4Addr, ops::RangeInclusive, sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use parking_lot::Mutex;
use photon_core::Error;
use photon_store::{Scan, Store};
use prismnet_model::{
    AddressRange, ExternalNetwork, ExternalNetworkId, Subnet, SubnetId, external, key,
};
use tokio::time::Instant;

use crate::refusal;

/// The most sources whose addresses are remembered.
const MOST_POOLS: u64 = 1_024;
/// How long they are remembered when nobody asks.
const IDLE: Duration = Duration::from_secs(600);
/// Claims read at once.
const CHUNK: u32 = 1_000;
/// The claims of sources with more addresses than this are not read again for each request that finds none free,
const LARGE: u32 = 4_096;
/// but once in so long.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How far ahead the search goes on after another process was faster, at most.
const PART_WAYS: u32 = 64;
/// After so many in a row that others have, the claims are read again instead of being found one by one.
const LOST_IN_A_ROW: u32 = 8;

/// What addresses are given out from.
pub(crate) trait Source {
    /// What tells one from another.
    type Id: Copy + Eq + Hash + Send + Sync + 'static;

    fn id(&self) -> Self::Id;

    /// Those that are given out, in order and apart.
    fn ranges(&self) -> Vec<AddressRange>;

    /// Where their claims lie: keys that end with the address in hex.
    fn claims(&self) -> Scan;

    /// That none is free.
    fn exhausted(&self) -> Error;
}

impl Source for Subnet {
    type Id = SubnetId;

    fn id(&self) -> SubnetId {
        self.id
    }

    fn ranges(&self) -> Vec<AddressRange> {
        let block = self.cidr_block;
        let hosts = AddressRange {
            first: block.first(),
            last: Ipv4Addr::from_bits(block.block().broadcast().to_bits() - 1),
        };
        hosts.without(self.gateway_ip)
    }

    fn claims(&self) -> Scan {
        Scan::below(key::addresses(self.id), CHUNK)
    }

    fn exhausted(&self) -> Error {
        refusal::exhausted(self.id, self.cidr_block.capacity())
    }
}

impl Source for ExternalNetwork {
    type Id = ExternalNetworkId;

    fn id(&self) -> ExternalNetworkId {
        self.id
    }

    fn ranges(&self) -> Vec<AddressRange> {
        self.pool.clone()
    }

    fn claims(&self) -> Scan {
        let (first, last) = (self.cidr_block.network(), self.cidr_block.broadcast());
        Scan {
            from: Some(external::address(first)),
            before: Some(behind(&external::address(last))),
            ..Scan::below(external::ADDRESSES, CHUNK)
        }
    }

    fn exhausted(&self) -> Error {
        let capacity = self.pool.iter().map(|range| range.count()).sum();
        refusal::exhausted_outside(self.id, capacity)
    }
}

/// The next key there can be.
pub(crate) fn behind(key: &str) -> String {
    format!("{key}0")
}

/// What is known of all sources of a kind.
pub(crate) struct Pools<S: Source> {
    store: Store,
    pools: Cache<S::Id, Arc<Pool>>,
}

/// What is known of one.
#[derive(Debug)]
struct Pool {
    /// Whoever holds it reads the claims.
    reading: tokio::sync::Mutex<()>,
    addresses: Mutex<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    /// Those that are given out, in order and apart.
    ranges: Vec<RangeInclusive<u32>>,
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

impl<S: Source> fmt::Debug for Pools<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl<S: Source> Pools<S> {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            pools: Cache::builder()
                .max_capacity(MOST_POOLS)
                .time_to_idle(IDLE)
                .build(),
        }
    }

    /// An address that seems to be free, and is none of those that are `held` without a claim.
    ///
    /// # Errors
    /// `ADDRESSES_EXHAUSTED`; those of reads.
    pub(crate) async fn next(
        &self,
        source: &S,
        held: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Result<Reserved, Error> {
        let held: BTreeSet<u32> = held.into_iter().map(Ipv4Addr::to_bits).collect();
        let pool = self.pool(source);
        loop {
            let reads = {
                let mut addresses = pool.addresses.lock();
                if addresses.read.is_some()
                    && let Some(address) = addresses.pick(&held)
                {
                    drop(addresses);
                    return Ok(Reserved { pool, address });
                }
                if !addresses.is_worth_reading() {
                    return Err(source.exhausted());
                }
                addresses.reads
            };
            let _turn = pool.reading.lock().await;
            if pool.addresses.lock().reads != reads {
                continue; // somebody has read them while we waited
            }
            let taken = self.claims(source).await?;
            let mut addresses = pool.addresses.lock();
            addresses.replace(taken);
            let picked = addresses.pick(&held);
            drop(addresses);
            return match picked {
                Some(address) => Ok(Reserved {
                    pool: Arc::clone(&pool),
                    address,
                }),
                None => Err(source.exhausted()),
            };
        }
    }

    /// An address that somebody asked for has an owner now.
    pub(crate) fn taken(&self, source: S::Id, address: Ipv4Addr) {
        if let Some(pool) = self.pools.get(&source) {
            pool.addresses.lock().take(address.to_bits());
        }
    }

    /// Forgets everything: the claims are read again.
    pub(crate) fn forget(&self) {
        self.pools.invalidate_all();
    }

    /// An address has no owner any more.
    pub(crate) fn free(&self, source: S::Id, address: Ipv4Addr) {
        if let Some(pool) = self.pools.get(&source) {
            pool.addresses.lock().taken.remove(&address.to_bits());
        }
    }

    fn pool(&self, source: &S) -> Arc<Pool> {
        let ranges: Vec<_> = source.ranges().into_iter().map(bits).collect();
        let make = || Arc::new(Pool::of(ranges.clone()));
        let pool = self.pools.get_with(source.id(), make);
        if pool.addresses.lock().ranges == ranges {
            return pool;
        }
        // Others are given out from now on. What somebody holds of the earlier ones, the store decides.
        let pool = make();
        self.pools.insert(source.id(), Arc::clone(&pool));
        pool
    }

    async fn claims(&self, source: &S) -> Result<BTreeSet<u32>, Error> {
        let mut scan = source.claims();
        let mut taken = BTreeSet::new();
        loop {
            let page = self.store.scan(&scan).await?;
            let addresses = page
                .entries
                .iter()
                .map(|entry| key::claimed_address(&entry.key));
            taken.extend(addresses.flatten().map(Ipv4Addr::to_bits));
            match page.entries.last() {
                Some(last) if page.more => scan.from = Some(behind(&last.key)),
                _ => return Ok(taken),
            }
        }
    }
}

fn bits(range: AddressRange) -> RangeInclusive<u32> {
    range.first.to_bits()..=range.last.to_bits()
}

impl Pool {
    fn of(ranges: Vec<RangeInclusive<u32>>) -> Self {
        Self {
            reading: tokio::sync::Mutex::default(),
            addresses: Mutex::new(Addresses::of(ranges)),
        }
    }
}

impl Reserved {
    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address)
    }

    /// It has an owner now, or nobody knows.
    pub(crate) fn taken(self) {
        let mut addresses = self.pool.addresses.lock();
        addresses.take(self.address);
        addresses.lost = 0;
    }

    /// Somebody else was faster: the search goes on elsewhere.
    pub(crate) fn lost(self) {
        let mut addresses = self.pool.addresses.lock();
        addresses.take(self.address);
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
    fn of(ranges: Vec<RangeInclusive<u32>>) -> Self {
        let counts = ranges
            .iter()
            .map(|range| u64::from(range.end() - range.start()) + 1);
        Self {
            // More than any machine could know to be taken.
            capacity: usize::try_from(counts.sum::<u64>()).unwrap_or(usize::MAX),
            cursor: ranges.first().map_or(0, |range| *range.start()),
            ranges,
            taken: BTreeSet::new(),
            reserved: BTreeSet::new(),
            lost: 0,
            read: None,
            reads: 0,
        }
    }

    /// The next one that is free and not held after the last one given, from the start again at the end.
    fn pick(&mut self, held: &BTreeSet<u32>) -> Option<u32> {
        // While an owner is written, its address is in both.
        let reserved = self.reserved.difference(&self.taken).count();
        if self.taken.len() + reserved >= self.capacity {
            return None;
        }
        let is_good = |address: &u32| self.is_free(*address) && !held.contains(address);
        let found = self.in_turn().find(is_good)?;
        self.reserved.insert(found);
        self.cursor = found.saturating_add(1);
        Some(found)
    }

    /// All of them, from the cursor on and from the start again at the end.
    fn in_turn(&self) -> impl Iterator<Item = u32> {
        let cursor = self.cursor;
        let ahead = self
            .ranges
            .iter()
            .flat_map(move |range| (*range.start()).max(cursor)..=*range.end());
        let behind = self.ranges.iter().cloned().flatten();
        ahead.chain(behind.take_while(move |address| *address < cursor))
    }

    fn is_free(&self, address: u32) -> bool {
        !self.taken.contains(&address) && !self.reserved.contains(&address)
    }

    fn is_ours(&self, address: u32) -> bool {
        self.ranges.iter().any(|range| range.contains(&address))
    }

    /// It has an owner.
    fn take(&mut self, address: u32) {
        // What is not given out must not count against what is.
        if self.is_ours(address) {
            self.taken.insert(address);
        }
    }

    fn move_on(&mut self, ahead: u32) {
        let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        let over = ahead.checked_rem(self.capacity).unwrap_or_default();
        let next = self.in_turn().nth(over);
        self.cursor = next.unwrap_or(self.cursor);
    }

    /// Whether the claims may be others than what is known of them.
    fn is_worth_reading(&self) -> bool {
        let small = u32::try_from(self.capacity).is_ok_and(|capacity| capacity <= LARGE);
        small || self.read.is_none_or(|read| read.elapsed() >= LOOK_AGAIN)
    }

    fn replace(&mut self, taken: BTreeSet<u32>) {
        self.taken = taken
            .into_iter()
            .filter(|address| self.is_ours(*address))
            .collect();
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

    /// Some ranges with gaps between them, by their lengths.
    fn addresses(lengths: &[u32]) -> Addresses {
        let mut next: u32 = 0x0a00_0001;
        let ranges = lengths.iter().map(|length| {
            let range = next..=next + length - 1;
            next += length + 2;
            range
        });
        let mut addresses = Addresses::of(ranges.collect());
        addresses.replace(BTreeSet::new());
        addresses
    }

    proptest! {
        /// Whatever is given out, lost and given back in whatever order: nobody gets what somebody has, nobody gets what is in no
        /// range, and what is free is found.
        #[test]
        fn nobody_gets_what_somebody_has(
            lengths in prop::collection::vec(1u32..20, 1..4),
            steps in prop::collection::vec((0u8..4, any::<u32>()), 0..200),
        ) {
            let mut addresses = addresses(&lengths);
            let mut held: Vec<u32> = Vec::new();
            for (step, number) in steps {
                match step {
                    0 | 1 => match addresses.pick(&BTreeSet::new()) {
                        Some(found) => {
                            prop_assert!(!held.contains(&found));
                            prop_assert!(addresses.is_ours(found));
                            addresses.take(found);
                            addresses.reserved.remove(&found);
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
            }
        }
    }

    #[test]
    fn what_is_held_is_passed_over_until_it_is_not() {
        let mut addresses = addresses(&[3]);
        let held = BTreeSet::from([0x0a00_0001, 0x0a00_0003]);
        assert_eq!(addresses.pick(&held), Some(0x0a00_0002));
        assert_eq!(addresses.pick(&held), None);
        assert_eq!(addresses.pick(&BTreeSet::new()), Some(0x0a00_0003));
    }

    #[test]
    fn what_was_given_back_is_not_given_out_at_once() {
        let mut addresses = addresses(&[13]);
        let first = addresses.pick(&BTreeSet::new()).unwrap();
        addresses.reserved.remove(&first);
        assert_ne!(addresses.pick(&BTreeSet::new()).unwrap(), first);
    }

    #[test]
    fn what_is_claimed_elsewhere_takes_nobodys_place() {
        let mut addresses = addresses(&[1]);
        addresses.replace(BTreeSet::from([0x0a00_0009, 0x0a00_000a]));
        addresses.take(0x0a00_000b);
        let only = addresses.pick(&BTreeSet::new()).unwrap();
        // Its owner is written, and whoever asked for it has not put it down yet.
        addresses.take(only);
        assert_eq!(addresses.pick(&BTreeSet::new()), None);
        assert_eq!(Addresses::of(Vec::new()).pick(&BTreeSet::new()), None);
    }

    #[test]
    fn a_subnets_gateway_is_nobodys() {
        let ranges = |gateway_ip: &str| {
            let subnet: Subnet = serde_json::from_value(serde_json::json!({
                "id": SubnetId::generate(), "name": "n", "vpc": prismnet_model::VpcId::generate(), "org": "acme",
                "project": "shop", "cidr_block": "10.0.1.0/29", "gateway_ip": gateway_ip, "vni": 4096,
                "created_at": "2026-11-23T02:00:00Z", "updated_at": "2026-11-23T02:00:00Z",
            }))
            .unwrap();
            let ranges = subnet.ranges();
            let count: u64 = ranges.iter().map(|range| range.count()).sum();
            assert_eq!(count, u64::from(subnet.cidr_block.capacity()));
            let ends = ranges.iter().flat_map(|range| [range.first, range.last]);
            ends.map(|address| address.octets()[3]).collect::<Vec<_>>()
        };
        assert_eq!(ranges("10.0.1.1"), [2, 6]);
        assert_eq!(ranges("10.0.1.4"), [1, 3, 5, 6]);
        assert_eq!(ranges("10.0.1.6"), [1, 5]);
    }
}
