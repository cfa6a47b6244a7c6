//! `/api/v1/pools`.

use std::{collections::BTreeSet, sync::Arc};

use axum::extract::State;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Envelope, Path, RestResult};
use photon_service::{openapi::Failure, rest::IdText};
use serde::Serialize;
use utoipa::ToSchema;

use super::service::{self, Pool};
use crate::app::App;

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .get("/api/v1/pools", "plasmavmc.pools.list", list)
        .get("/api/v1/pools/{name}", "plasmavmc.pools.get", get)
}

/// Where disks may lie.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pool)]
pub(crate) struct Answer {
    #[schema(value_type = IdText, example = "local")]
    name: Name,
    /// What keeps its disks.
    #[schema(example = "directory")]
    driver: &'static str,
    /// Whether all its hosts see the same disks.
    shared: bool,
    /// The hosts that have it; this and the following are null to those who may not see hosts.
    #[schema(value_type = Option<Vec<IdText>>)]
    hosts: Option<BTreeSet<Name>>,
    /// What there is for disks, of all its hosts together.
    capacity_gib: Option<u64>,
    /// What is used of it in truth; disks are thin.
    used_gib: Option<u64>,
    /// The sizes of its disks.
    allocated_gib: Option<u64>,
}

/// Pools.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pools)]
pub(crate) struct ListAnswer {
    pools: Vec<Answer>,
}

impl From<Pool> for Answer {
    fn from(pool: Pool) -> Self {
        let inside = pool.inside;
        Self {
            name: pool.name,
            driver: pool.driver.as_str(),
            shared: pool.shared,
            capacity_gib: inside.as_ref().map(|inside| inside.capacity_gib),
            used_gib: inside.as_ref().map(|inside| inside.used_gib),
            allocated_gib: inside.as_ref().map(|inside| inside.allocated_gib),
            hosts: inside.map(|inside| inside.hosts),
        }
    }
}

/// Lists the pools of the hosts that report.
#[utoipa::path(
    get, path = "/api/v1/pools", tag = "pools", operation_id = "list_pools",
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, ctx: Context) -> RestResult<ListAnswer> {
    let pools = service::list(&app, &ctx).await?.into_iter();
    Ok(Data(ListAnswer {
        pools: pools.map(Into::into).collect(),
    }))
}

/// A pool.
#[utoipa::path(
    get, path = "/api/v1/pools/{name}", tag = "pools", operation_id = "get_pool",
    params(("name" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(name): Path<String>,
) -> RestResult<Answer> {
    Ok(Data(service::get(&app, &ctx, &name).await?.into()))
}
