//! The use cases of pools.

use std::collections::{BTreeMap, BTreeSet};

use photon_auth::Context;
use photon_core::{Error, Name};
use photon_store::PageRequest;
use plasmavmc_model::{HostUse, PoolDriver, pool};

use super::{Given, Slot, told};
use crate::{app::App, vm::rest::sees_hosts};

/// A pool, as all alive hosts that have it tell.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) name: Name,
    pub(crate) driver: PoolDriver,
    pub(crate) shared: bool,
    /// For those who may see hosts.
    pub(crate) inside: Option<Inside>,
}

/// What a pool has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inside {
    pub(crate) hosts: BTreeSet<Name>,
    pub(crate) capacity_gib: u64,
    /// In truth.
    pub(crate) used_gib: u64,
    /// The sizes of its disks.
    pub(crate) allocated_gib: u64,
}

/// Lists the pools of the hosts that report. What there is to choose from is no secret; how much there is, is the operators'.
pub(crate) async fn list(app: &App, ctx: &Context) -> Result<Vec<Pool>, Error> {
    ctx.allow_somewhere()?;
    Ok(read(app, sees_hosts(ctx)).await?.into_values().collect())
}

/// Reads a pool.
pub(crate) async fn get(app: &App, ctx: &Context, name: &str) -> Result<Pool, Error> {
    ctx.allow_somewhere()?;
    let mut all = read(app, sees_hosts(ctx)).await?;
    let found = Name::new(name).ok().and_then(|name| all.remove(&name));
    // What is no name is no pool's; it is not repeated, for it may be long.
    found.ok_or_else(|| Error::not_found("pool"))
}

async fn read(app: &App, sees_hosts: bool) -> Result<BTreeMap<Name, Pool>, Error> {
    let given = Given::read(app).await?;
    let before = app.records::<HostUse>();
    let before = before.list(&PageRequest::default()).await?;
    let mut all: BTreeMap<Name, Pool> = BTreeMap::new();
    for (host, agent) in app.hosts.alive() {
        for one in told(&agent) {
            let pool = all.entry(one.name.clone()).or_insert_with(|| Pool {
                name: one.name.clone(),
                driver: one.driver,
                shared: one.shared,
                inside: sees_hosts.then(Inside::default),
            });
            let Some(inside) = &mut pool.inside else {
                continue;
            };
            let is_first = inside.hosts.is_empty();
            inside.hosts.insert(host.clone());
            let mut allocated = given.of(&Slot::of(&one, &host)).gib;
            if one.name.as_str() == pool::LOCAL {
                let key = HostUse::key(&host);
                let of_host = before.items.iter().find(|row| row.key == key);
                allocated += of_host.map_or(0, |row| row.value.disk_gib);
            }
            if !one.shared {
                inside.capacity_gib += one.capacity_gib;
                inside.used_gib += one.used_gib;
                inside.allocated_gib += allocated;
            } else if is_first {
                // All see the same.
                inside.capacity_gib = one.capacity_gib;
                inside.used_gib = one.used_gib;
                inside.allocated_gib = allocated;
            }
        }
    }
    Ok(all)
}
