//! `/api/v1/subnets`.

use std::{net::Ipv4Addr, sync::Arc};

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Description, Label, Subnet, SubnetId, TenantBlock, VpcId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewSubnet, SubnetChange, SubnetFilter, gateway, service};
use crate::{
    app::App,
    listing::Ask,
    refusal,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Path, Removed, Revised, removed,
        schema::{AddressText, BlockText, DescriptionText, IdText, LabelText, SubnetText, VpcText},
    },
    scope::Owner,
    versioned::Versioned,
    vpc::block,
    wanted::Wanted,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/subnets", "prismnet.subnets.create", create)
        .get("/api/v1/subnets", "prismnet.subnets.list", list)
        .get("/api/v1/subnets/{id}", "prismnet.subnets.get", get)
        .patch("/api/v1/subnets/{id}", "prismnet.subnets.update", update)
        .delete("/api/v1/subnets/{id}", "prismnet.subnets.delete", delete)
}

/// A subnet to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewSubnet)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name, for people; need not be unique.
    #[schema(value_type = LabelText)]
    name: Label,
    /// The VPC it is to be part of.
    #[schema(value_type = VpcText)]
    vpc_id: String,
    /// Its block, within the VPC's.
    #[schema(value_type = BlockText)]
    cidr_block: String,
    /// The gateway's address. Without it the first one of the block.
    #[schema(value_type = Option<AddressText>)]
    gateway_ip: Option<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
    /// The VPC's org, if it is said.
    #[schema(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// The VPC's project, if it is said.
    #[schema(value_type = Option<IdText>)]
    project_id: Option<Name>,
}

/// What changes of a subnet; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SubnetChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
}

/// Which subnets.
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
    /// Only those of this name.
    name: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// Whose subnet it must be.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeantQuery {
    /// This org's; another's is not found.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// This project's; another's is not found.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// This VPC's; another's is not found.
    vpc_id: Option<String>,
}

impl From<MeantQuery> for SubnetFilter {
    fn from(query: MeantQuery) -> Self {
        Self {
            owner: Owner {
                org: query.org_id,
                project: query.project_id,
            },
            vpc: Wanted::of(query.vpc_id.as_deref()),
            name: None,
        }
    }
}

/// A subnet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subnet)]
pub(crate) struct Answer {
    #[schema(value_type = SubnetText)]
    id: SubnetId,
    name: String,
    #[schema(value_type = VpcText)]
    vpc_id: VpcId,
    #[schema(value_type = BlockText)]
    cidr_block: TenantBlock,
    #[schema(value_type = AddressText)]
    gateway_ip: Ipv4Addr,
    description: String,
    #[schema(example = "active")]
    status: &'static str,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Subnets.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subnets)]
pub(crate) struct ListAnswer {
    subnets: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Subnet>> for Answer {
    fn from(subnet: Versioned<Subnet>) -> Self {
        let Versioned { value, revision } = subnet;
        Self {
            id: value.id,
            name: value.name,
            vpc_id: value.vpc,
            cidr_block: value.cidr_block,
            gateway_ip: value.gateway_ip,
            description: value.description,
            status: "active",
            org_id: value.org,
            project_id: value.project,
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

/// Makes a subnet.
#[utoipa::path(
    post, path = "/api/v1/subnets", tag = "subnets", operation_id = "create_subnet",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let vpc = refusal::named("vpc_id", "vpc", &body.vpc_id)?;
    let cidr_block = block("cidr_block", &body.cidr_block)?;
    let new = NewSubnet {
        name: body.name,
        vpc,
        cidr_block,
        gateway_ip: gateway(cidr_block, body.gateway_ip.as_deref())?,
        description: body.description,
        owner: Owner {
            org: body.org_id,
            project: body.project_id,
        },
    };
    let subnet = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(subnet.revision, subnet.into()))
}

/// Lists the subnets the caller may see.
#[utoipa::path(
    get, path = "/api/v1/subnets", tag = "subnets", operation_id = "list_subnets",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = SubnetFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        vpc: Wanted::of(query.vpc_id.as_deref()),
        name: query.name,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        subnets: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A subnet.
#[utoipa::path(
    get, path = "/api/v1/subnets/{id}", tag = "subnets", operation_id = "get_subnet",
    params(("id" = SubnetText, Path), MeantQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<SubnetId>,
    Query(meant): Query<MeantQuery>,
) -> Result<Revised<Answer>, RestError> {
    let subnet = service::get(&app, &ctx, id, &meant.into()).await?;
    Ok(Revised::ok(subnet.revision, subnet.into()))
}

/// Changes a subnet.
#[utoipa::path(
    patch, path = "/api/v1/subnets/{id}", tag = "subnets", operation_id = "update_subnet",
    params(("id" = SubnetText, Path), IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<SubnetId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = SubnetChange {
        name: body.name,
        description: body.description,
    };
    let subnet = service::update(&app, &ctx, id, &change, expected).await?;
    Ok(Revised::ok(subnet.revision, subnet.into()))
}

/// Deletes a subnet that has no ports and that no route leads through.
#[utoipa::path(
    delete, path = "/api/v1/subnets/{id}", tag = "subnets", operation_id = "delete_subnet",
    params(("id" = SubnetText, Path), MeantQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<SubnetId>,
    Query(meant): Query<MeantQuery>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, &meant.into(), expected).await?;
    Ok(removed(id, revision))
}
