//! `photonctl pool`.

use super::cli::Pool;
use crate::{
    failure::Failure,
    rest::{client::Call, list, things::Things},
};

/// What only those are told who may see hosts stays empty.
const COLUMNS: &[&str] = &[
    "name",
    "driver",
    "shared",
    "hosts",
    "capacity_gib",
    "used_gib",
    "allocated_gib",
];

pub(super) async fn run(pools: &Things<'_>, command: Pool) -> Result<(), Failure> {
    let path = ["api", "v1", "pools"];
    match command {
        Pool::List => {
            let found = list::whole(&pools.service, &path, "pools").await?;
            match list::for_people(pools.format, "pools", found)? {
                Some(found) => crate::output::records(COLUMNS, &found.rows),
                None => Ok(()),
            }
        }
        Pool::Get { pool } => {
            let path = [path[0], path[1], path[2], &pool];
            pools.show(Call::get(&path)).await
        }
    }
}
