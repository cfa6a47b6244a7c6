//! Subnets and groups as they were when this process read them last.
//!
//! A port is made with what is known of its subnet and groups, and the transaction compares that they still are so: if they
//! are not, what is known is forgotten and read again. So a wrong memory costs an attempt and decides nothing.

use std::time::Duration;

use moka::sync::Cache;
use photon_store::Stored;
use prismnet_model::{GroupId, SecurityGroup, Subnet, SubnetId};

use crate::scope::Home;

/// The most things of a kind that are remembered.
const MOST: u64 = 10_000;

/// How long something is remembered that nobody asks for.
const IDLE: Duration = Duration::from_secs(600);

/// What a process remembers.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) subnets: Cache<SubnetId, Stored<Subnet>>,
    pub(crate) groups: Cache<GroupId, Stored<SecurityGroup>>,
    /// The `default` group of a project.
    pub(crate) defaults: Cache<Home, GroupId>,
}

impl Known {
    /// Everything is read again.
    pub(crate) fn forget(&self) {
        self.subnets.invalidate_all();
        self.groups.invalidate_all();
        self.defaults.invalidate_all();
    }

    pub(crate) fn new() -> Self {
        fn cache<K, V>() -> Cache<K, V>
        where
            K: std::hash::Hash + Eq + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            Cache::builder()
                .max_capacity(MOST)
                .time_to_idle(IDLE)
                .build()
        }
        Self {
            subnets: cache(),
            groups: cache(),
            defaults: cache(),
        }
    }
}
