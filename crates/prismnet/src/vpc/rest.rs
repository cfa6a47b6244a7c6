//! `/api/v1/vpcs`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Description, Label, TenantBlock, Vpc, VpcId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewVpc, VpcChange, VpcFilter, block, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, OwnerQuery, Path, Removed, Revised, removed,
        schema::{BlockText, DescriptionText, IdText, LabelText, VpcText},
    },
    scope::{Home, Owner},
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/vpcs", "prismnet.vpcs.create", create)
        .get("/api/v1/vpcs", "prismnet.vpcs.list", list)
        .get("/api/v1/vpcs/{id}", "prismnet.vpcs.get", get)
        .patch("/api/v1/vpcs/{id}", "prismnet.vpcs.update", update)
        .delete("/api/v1/vpcs/{id}", "prismnet.vpcs.delete", delete)
}

/// A VPC to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewVpc)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name, for people; need not be unique.
    #[schema(value_type = LabelText)]
    name: Label,
    /// What its subnets will lie in: /8 to /30. Other VPCs may have the same.
    #[schema(value_type = BlockText)]
    cidr_block: String,
    /// The org that owns the project.
    #[schema(value_type = IdText)]
    org_id: Name,
    /// The project that owns it.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
    /// Whether hosts let its ports out, under the host's own address.
    #[serde(default)]
    internet_access: bool,
}

/// What changes of a VPC; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VpcChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
    /// Whether hosts let its ports out.
    internet_access: Option<bool>,
}

/// Which VPCs.
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
    /// Only those of this name.
    name: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A VPC.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vpc)]
pub(crate) struct Answer {
    #[schema(value_type = VpcText)]
    id: VpcId,
    name: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    #[schema(value_type = BlockText)]
    cidr_block: TenantBlock,
    description: String,
    #[schema(example = "active")]
    status: &'static str,
    internet_access: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// VPCs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vpcs)]
pub(crate) struct ListAnswer {
    vpcs: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Vpc>> for Answer {
    fn from(vpc: Versioned<Vpc>) -> Self {
        let Versioned { value, revision } = vpc;
        Self {
            id: value.id,
            name: value.name,
            org_id: value.org,
            project_id: value.project,
            cidr_block: value.cidr_block,
            description: value.description,
            status: "active",
            internet_access: value.internet_access,
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

/// Makes a VPC.
#[utoipa::path(
    post, path = "/api/v1/vpcs", tag = "vpcs", operation_id = "create_vpc",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewVpc {
        cidr_block: block("cidr_block", &body.cidr_block)?,
        name: body.name,
        home: Home {
            org: body.org_id,
            project: body.project_id,
        },
        description: body.description,
        internet_access: body.internet_access,
    };
    let vpc = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(vpc.revision, vpc.into()))
}

/// Lists the VPCs the caller may see.
#[utoipa::path(
    get, path = "/api/v1/vpcs", tag = "vpcs", operation_id = "list_vpcs",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = VpcFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        name: query.name,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        vpcs: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A VPC.
#[utoipa::path(
    get, path = "/api/v1/vpcs/{id}", tag = "vpcs", operation_id = "get_vpc",
    params(("id" = VpcText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VpcId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let vpc = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(vpc.revision, vpc.into()))
}

/// Changes a VPC.
#[utoipa::path(
    patch, path = "/api/v1/vpcs/{id}", tag = "vpcs", operation_id = "update_vpc",
    params(("id" = VpcText, Path), IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VpcId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = VpcChange {
        name: body.name,
        description: body.description,
        internet_access: body.internet_access,
    };
    let vpc = service::update(&app, &ctx, id, &change, expected).await?;
    Ok(Revised::ok(vpc.revision, vpc.into()))
}

/// Deletes a VPC that has no subnets and no routes.
#[utoipa::path(
    delete, path = "/api/v1/vpcs/{id}", tag = "vpcs", operation_id = "delete_vpc",
    params(("id" = VpcText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VpcId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(removed(id, revision))
}
