//! A map that is cheap to clone and cheap to change after it was cloned: readers keep the snapshot they have, a writer
//! copies one shard of many.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    sync::Arc,
};

/// A change of a map of 100,000 entries that others still read copies about 400 of them.
const SHARDS: usize = 256;

#[derive(Clone, Debug)]
pub(crate) struct Sharded<K, V> {
    shards: Arc<Vec<Arc<HashMap<K, V>>>>,
    chooser: RandomState,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(HashMap::new());
        Self {
            shards: Arc::new(vec![empty; SHARDS]),
            chooser: RandomState::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Sharded<K, V> {
    fn place(&self, key: &K) -> usize {
        // The remainder is below 256 and fits.
        (self.chooser.hash_one(key) % SHARDS as u64) as usize
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.shards[self.place(key)].get(key)
    }

    fn shard_mut(&mut self, key: &K) -> &mut HashMap<K, V> {
        let place = self.place(key);
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[place])
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.shard_mut(&key).insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.get(key)?;
        self.shard_mut(key).remove(key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut now: Sharded<u32, u32> = Sharded::default();
        for key in 0..1000 {
            assert_eq!(now.insert(key, key), None);
        }
        let before = now.clone();
        assert_eq!(now.insert(7, 70), Some(7));
        assert_eq!(now.remove(&8), Some(8));
        assert_eq!(now.remove(&8), None);
        now.insert(1000, 1);

        assert_eq!((now.get(&7), now.get(&8)), (Some(&70), None));
        assert_eq!((before.get(&7), before.get(&8)), (Some(&7), Some(&8)));
        assert_eq!(
            (now.values().count(), before.values().count()),
            (1000, 1000)
        );
    }
}
