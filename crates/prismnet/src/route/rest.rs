//! `/api/v1/routes`.

use std::{net::Ipv4Addr, sync::Arc};

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Block, Description, Route, RouteId, VpcId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewRoute, RouteFilter, destination, service};
use crate::{
    app::App,
    listing::Ask,
    refusal,
    rest::{
        Envelope, Failure, Path, Removed, Revised, removed,
        schema::{AddressText, BlockText, DescriptionText, IdText, RouteText, VpcText},
    },
    scope::Owner,
    versioned::Versioned,
    wanted::Wanted,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/routes", "prismnet.routes.create", create)
        .get("/api/v1/routes", "prismnet.routes.list", list)
        .get("/api/v1/routes/{id}", "prismnet.routes.get", get)
        .delete("/api/v1/routes/{id}", "prismnet.routes.delete", delete)
}

/// A route to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewRoute)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// The VPC that is to know it.
    #[schema(value_type = VpcText)]
    vpc_id: String,
    /// For which addresses: outside the VPC's block, or 0.0.0.0/0 for everything that leaves.
    #[schema(value_type = BlockText)]
    destination: String,
    /// Over which address of the VPC's subnets.
    #[schema(value_type = AddressText)]
    next_hop: String,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
}

/// Which routes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this org.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// Only those of this project.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// Only those of this VPC.
    vpc_id: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct Answer {
    #[schema(value_type = RouteText)]
    id: RouteId,
    #[schema(value_type = VpcText)]
    vpc_id: VpcId,
    #[schema(value_type = BlockText)]
    destination: Block,
    #[schema(value_type = AddressText)]
    next_hop: Ipv4Addr,
    description: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The store's revision of its making.
    revision: i64,
}

/// Routes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Routes)]
pub(crate) struct ListAnswer {
    routes: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Route>> for Answer {
    fn from(route: Versioned<Route>) -> Self {
        let Versioned { value, revision } = route;
        Self {
            id: value.id,
            vpc_id: value.vpc,
            destination: value.destination,
            next_hop: value.next_hop,
            description: value.description,
            org_id: value.org,
            project_id: value.project,
            created_at: value.created_at,
            revision,
        }
    }
}

/// Makes a route.
#[utoipa::path(
    post, path = "/api/v1/routes", tag = "routes", operation_id = "create_route",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewRoute {
        vpc: refusal::named("vpc_id", "vpc", &body.vpc_id)?,
        destination: destination(&body.destination)?,
        next_hop: refusal::address("next_hop", &body.next_hop)?,
        description: body.description,
    };
    let route = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(route.revision, route.into()))
}

/// Lists the routes the caller may see.
#[utoipa::path(
    get, path = "/api/v1/routes", tag = "routes", operation_id = "list_routes",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = RouteFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        vpc: Wanted::of(query.vpc_id.as_deref()),
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        routes: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A route.
#[utoipa::path(
    get, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "get_route",
    params(("id" = RouteText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<RouteId>,
) -> Result<Revised<Answer>, RestError> {
    let route = service::get(&app, &ctx, id).await?;
    Ok(Revised::ok(route.revision, route.into()))
}

/// Deletes a route.
#[utoipa::path(
    delete, path = "/api/v1/routes/{id}", tag = "routes", operation_id = "delete_route",
    params(("id" = RouteText, Path)),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<RouteId>,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id).await?;
    Ok(removed(id, revision))
}
