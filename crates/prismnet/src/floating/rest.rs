//! `/api/v1/floating-ips`.

use std::{net::Ipv4Addr, sync::Arc};

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Description, ExternalNetworkId, FloatingIpId, PortId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    FloatingIpChange, FloatingIpFilter, NewFloatingIp, port,
    service::{self, Shown},
};
use crate::{
    app::App,
    listing::Ask,
    refusal,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, OwnerQuery, Path, Removed, Revised, given,
        removed,
        schema::{
            AddressText, DescriptionText, ExternalNetworkText, FloatingIpText, IdText,
            MaybePortText, PortText,
        },
    },
    scope::{Home, Owner},
    wanted::Wanted,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    const ALL: &str = "/api/v1/floating-ips";
    const ONE: &str = "/api/v1/floating-ips/{id}";
    Routes::new()
        .create(ALL, "prismnet.floating_ips.create", create)
        .get(ALL, "prismnet.floating_ips.list", list)
        .get(ONE, "prismnet.floating_ips.get", get)
        .patch(ONE, "prismnet.floating_ips.update", update)
        .delete(ONE, "prismnet.floating_ips.delete", delete)
}

/// A floating IP to be allocated.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewFloatingIp)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Where its address is from.
    #[schema(value_type = ExternalNetworkText)]
    external_network_id: String,
    /// The org that owns the project.
    #[schema(value_type = IdText)]
    org_id: Name,
    /// The project that is to have it.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// The address, one of the network's pool. Without it the next one that is free.
    #[schema(value_type = Option<AddressText>)]
    address: Option<String>,
    /// The port that is to have it, of the same project.
    #[schema(value_type = Option<MaybePortText>)]
    port_id: Option<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
}

/// What changes of a floating IP; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = FloatingIpChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// The port that is to have it, of the same project; `null` or an empty text for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<MaybePortText>)]
    port_id: Option<Option<String>>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
}

/// Which floating IPs.
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
    /// Only those of this external network.
    external_network_id: Option<String>,
    /// Only that of this port.
    port_id: Option<String>,
    /// Only that with this address.
    #[param(value_type = Option<AddressText>)]
    address: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A floating IP.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FloatingIp)]
pub(crate) struct Answer {
    #[schema(value_type = FloatingIpText)]
    id: FloatingIpId,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    #[schema(value_type = ExternalNetworkText)]
    external_network_id: ExternalNetworkId,
    #[schema(value_type = AddressText)]
    address: Ipv4Addr,
    /// The port that has it.
    #[schema(value_type = Option<PortText>)]
    port_id: Option<PortId>,
    /// The port's own address.
    #[schema(value_type = Option<AddressText>)]
    fixed_ip: Option<Ipv4Addr>,
    /// The host the port is to be on, which answers for the address.
    #[schema(value_type = Option<IdText>)]
    host_id: Option<Name>,
    description: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Floating IPs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FloatingIps)]
pub(crate) struct ListAnswer {
    floating_ips: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Shown> for Answer {
    fn from(shown: Shown) -> Self {
        let Shown { floating, port } = shown;
        let value = floating.value;
        Self {
            id: value.id,
            org_id: value.org,
            project_id: value.project,
            external_network_id: value.external_network,
            address: value.address,
            port_id: value.port,
            fixed_ip: port.as_ref().map(|port| port.ip_address),
            host_id: port.and_then(|port| port.host),
            description: value.description,
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision: floating.revision,
        }
    }
}

fn address(text: Option<String>) -> Result<Option<Ipv4Addr>, Error> {
    text.map(|text| refusal::address("address", &text))
        .transpose()
}

/// Allocates a floating IP to a project.
#[utoipa::path(
    post, path = "/api/v1/floating-ips", tag = "floating-ips", operation_id = "create_floating_ip",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let (field, what) = ("external_network_id", "external network");
    let new = NewFloatingIp {
        network: refusal::named(field, what, &body.external_network_id)?,
        home: Home {
            org: body.org_id,
            project: body.project_id,
        },
        address: address(body.address)?,
        port: port(body.port_id.as_deref().unwrap_or_default())?,
        description: body.description,
    };
    let made = Box::pin(service::create(&app, &ctx, new)).await?;
    Ok(Revised::created(made.floating.revision, made.into()))
}

/// Lists the floating IPs the caller may see.
#[utoipa::path(
    get, path = "/api/v1/floating-ips", tag = "floating-ips", operation_id = "list_floating_ips",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = FloatingIpFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        network: Wanted::of(query.external_network_id.as_deref()),
        port: Wanted::of(query.port_id.as_deref()),
        address: address(query.address)?,
    };
    let (rows, next_page_token) = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        floating_ips: rows.into_iter().map(Into::into).collect(),
        next_page_token,
    }))
}

/// A floating IP.
#[utoipa::path(
    get, path = "/api/v1/floating-ips/{id}", tag = "floating-ips", operation_id = "get_floating_ip",
    params(("id" = FloatingIpText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<FloatingIpId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let found = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(found.floating.revision, found.into()))
}

/// Associates a floating IP with a port, or with none, and changes its description.
#[utoipa::path(
    patch, path = "/api/v1/floating-ips/{id}", tag = "floating-ips", operation_id = "update_floating_ip",
    params(("id" = FloatingIpText, Path), IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<FloatingIpId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = FloatingIpChange {
        port: body
            .port_id
            .map(|text| port(text.as_deref().unwrap_or_default()))
            .transpose()?,
        description: body.description,
    };
    let done = service::update(&app, &ctx, id, &change, expected).await?;
    Ok(Revised::ok(done.floating.revision, done.into()))
}

/// Releases a floating IP. Its address is free.
#[utoipa::path(
    delete, path = "/api/v1/floating-ips/{id}", tag = "floating-ips", operation_id = "delete_floating_ip",
    params(("id" = FloatingIpText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<FloatingIpId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(removed(id, revision))
}
