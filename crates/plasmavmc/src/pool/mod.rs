//! Storage pools: what hosts tell of them, and what of each was given out.
//!
//! ```text
//!   observed/agent: pools ──> told() ──> Space in an Offer: who may lie there        pool-use/<pool>/<host>: what was given
//!                                                                 └── both compared in the transaction that gives or takes ──┘
//! ```

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use std::collections::HashMap;

use photon_core::{Error, Name};
use photon_store::{PageRequest, Transaction};
use plasmavmc_model::{ObservedAgent, ObservedPool, PoolDriver, PoolUse, Vm, pool};

use crate::{app::App, placement::Space};

/// The pools of a host, as its agent tells of them; one of before there were any has `local`.
pub(crate) fn told(agent: &ObservedAgent) -> Vec<ObservedPool> {
    if !agent.pools.is_empty() {
        return agent.pools.clone();
    }
    vec![ObservedPool {
        name: pool::local(),
        driver: PoolDriver::Directory,
        shared: false,
        capacity_gib: agent.capacity.disk_gib,
        used_gib: 0,
    }]
}

/// Lets a request name a pool that some host has, or had when it was last heard of. Everybody knows `local`.
///
/// # Errors
/// 400 naming `pool`.
pub(crate) fn check(app: &App, name: &Name) -> Result<(), Error> {
    let hosts = app.hosts.all();
    let agents = hosts.iter().filter_map(|shown| shown.agent.as_ref());
    let mut pools = agents.flat_map(told);
    if name.as_str() == pool::LOCAL || pools.any(|pool| pool.name == *name) {
        return Ok(());
    }
    let message = format!("pool {name} is on no host: GET /api/v1/pools lists those there are");
    Err(Error::validation("pool", "exists", message))
}

/// Where the root disk of a VM is counted, and its size; none of one without, and of those of before there were pools.
pub(crate) fn of_root(vm: &Vm) -> Option<(&Name, u64)> {
    Some((vm.pool.as_ref()?, vm.disk_gib?.into()))
}

/// What was given of all pools.
pub(crate) struct Given(HashMap<String, PoolUse>);

impl Given {
    /// As it is now.
    pub(crate) async fn read(app: &App) -> Result<Self, Error> {
        let all = app.records::<PoolUse>();
        let page = all.list(&PageRequest::default()).await?;
        let rows = page.items.into_iter();
        Ok(Self(rows.map(|row| (row.key, row.value)).collect()))
    }

    /// Of one pool.
    pub(crate) fn of(&self, slot: &Slot) -> PoolUse {
        self.0.get(&slot.0).copied().unwrap_or_default()
    }

    /// The pools of a host, with what was given of them.
    pub(crate) fn spaces(&self, host: &Name, agent: &ObservedAgent) -> Vec<Space> {
        let pools = told(agent).into_iter().map(|pool| Space {
            given: self.of(&Slot::of(&pool, host)),
            pool,
        });
        pools.collect()
    }
}

/// Where it is counted what was given of a pool.
pub(crate) struct Slot(String);

impl Slot {
    /// Of a pool as a host tells of it.
    pub(crate) fn of(pool: &ObservedPool, host: &Name) -> Self {
        Self(PoolUse::key(
            &pool.name,
            Some(host).filter(|_| !pool.shared),
        ))
    }

    /// Of a pool on a host, which may be silent by now.
    pub(crate) fn at(app: &App, name: &Name, host: &Name) -> Self {
        // One that is away on its host may be told of by another that shares it.
        let others = || {
            let hosts = app.hosts.all().into_iter();
            let agents = hosts.filter_map(|shown| shown.agent);
            let mut pools = agents.flat_map(|agent| told(&agent));
            pools.find(|pool| pool.name == *name && pool.shared)
        };
        match app.hosts.pool(host, name).or_else(others) {
            Some(pool) => Self::of(&pool, host),
            None => Self(PoolUse::key(name, Some(host))),
        }
    }

    /// Adds to a transaction that so much is given from now on. False if it is not what it was decided by any more: somebody else was
    /// faster.
    pub(crate) async fn change(
        &self,
        app: &App,
        decided: PoolUse,
        then: PoolUse,
        writes: &mut Transaction,
    ) -> Result<bool, Error> {
        let all = app.records::<PoolUse>();
        match all.get(&self.0).await? {
            Some(mut found) if found.value == decided => {
                found.value = then;
                writes.replace(&all, &found)?;
            }
            None if decided == PoolUse::default() => {
                writes.create(&all, &self.0, &then)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Adds to a transaction that a disk of that size is gone.
    pub(crate) async fn give_back(
        &self,
        app: &App,
        gib: u64,
        writes: &mut Transaction,
    ) -> Result<(), Error> {
        let all = app.records::<PoolUse>();
        if let Some(mut found) = all.get(&self.0).await? {
            found.value = found.value.without(gib);
            writes.replace(&all, &found)?;
        }
        Ok(())
    }
}
