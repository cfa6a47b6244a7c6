//! `/api/v1/ports`.

use std::{net::Ipv4Addr, sync::Arc};

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Description, GroupId, Mac, Port, PortId, PortKind, SubnetId, VpcId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewPort, PortChange, PortFilter, groups, host, kind, mac, maybe_label, service};
use crate::{
    app::App,
    host::PortStatus,
    listing::Ask,
    refusal,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, OwnerQuery, Path, Removed, Revised, removed,
        schema::{
            AddressText, DescriptionText, GroupText, IdText, MacText, MaybeIdText, MaybeLabelText,
            PortKindText, PortText, SubnetText, VpcText,
        },
    },
    scope::Owner,
    versioned::Versioned,
    wanted::Wanted,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/ports", "prismnet.ports.create", create)
        .get("/api/v1/ports", "prismnet.ports.list", list)
        .get("/api/v1/ports/{id}", "prismnet.ports.get", get)
        .patch("/api/v1/ports/{id}", "prismnet.ports.update", update)
        .delete("/api/v1/ports/{id}", "prismnet.ports.delete", delete)
}

/// A port to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewPort)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// The subnet its address is from.
    #[schema(value_type = SubnetText)]
    subnet_id: String,
    /// Its name, for people.
    #[serde(default)]
    #[schema(value_type = MaybeLabelText, required = false)]
    name: String,
    /// What is connected. Without it a guest.
    #[schema(value_type = Option<PortKindText>)]
    kind: Option<String>,
    /// Its MAC address. Without it one is made up.
    #[schema(value_type = Option<MacText>)]
    mac_address: Option<String>,
    /// Its address. Without it the next one that is free.
    #[schema(value_type = Option<AddressText>)]
    ip_address: Option<String>,
    /// Its groups, at most 16. Without them the project's default group; an empty list is none at all.
    #[schema(value_type = Option<Vec<GroupText>>, max_items = 16)]
    security_group_ids: Option<Vec<String>>,
    /// The host it is to be on: for services of the suite and operators.
    #[schema(value_type = Option<MaybeIdText>)]
    host_id: Option<String>,
    /// Whose it is: `vm-…`.
    #[serde(default)]
    #[schema(value_type = MaybeLabelText, required = false)]
    device_id: String,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
    /// The subnet's org, if it is said.
    #[schema(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// The subnet's project, if it is said.
    #[schema(value_type = Option<IdText>)]
    project_id: Option<Name>,
}

/// What changes of a port; what is absent stays, and an empty text is none.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PortChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<MaybeLabelText>)]
    name: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
    /// All its groups from now on.
    #[schema(value_type = Option<Vec<GroupText>>, max_items = 16)]
    security_group_ids: Option<Vec<String>>,
    /// The host it is to be on: for services of the suite and operators.
    #[schema(value_type = Option<MaybeIdText>)]
    host_id: Option<String>,
    /// Whose it is.
    #[schema(value_type = Option<MaybeLabelText>)]
    device_id: Option<String>,
}

/// Which ports.
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
    /// Only those of this subnet.
    subnet_id: Option<String>,
    /// Only those in this group.
    security_group_id: Option<String>,
    /// Only those on this host.
    host_id: Option<String>,
    /// Only those of this one.
    device_id: Option<String>,
    /// Only those with this address.
    #[param(value_type = Option<AddressText>)]
    ip_address: Option<String>,
    /// Only those of this name.
    name: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A port.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Port)]
pub(crate) struct Answer {
    #[schema(value_type = PortText)]
    id: PortId,
    name: String,
    #[schema(value_type = VpcText)]
    vpc_id: VpcId,
    #[schema(value_type = SubnetText)]
    subnet_id: SubnetId,
    #[schema(value_type = PortKindText)]
    kind: PortKind,
    #[schema(value_type = MacText)]
    mac_address: Mac,
    #[schema(value_type = AddressText)]
    ip_address: Ipv4Addr,
    #[schema(value_type = Vec<GroupText>)]
    security_group_ids: Vec<GroupId>,
    /// The host it is to be on.
    #[schema(value_type = Option<IdText>)]
    host_id: Option<Name>,
    /// Whose it is.
    device_id: Option<String>,
    description: String,
    /// `down`: it has no host; `building`: it has one that has not reported it yet; `active`, `error`: as its host reports;
    /// `unknown`: its host does not report any more.
    #[schema(example = "active")]
    status: &'static str,
    /// Why, if it is `error` or `unknown`.
    status_reason: Option<String>,
    /// Since when, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    status_since: Option<Timestamp>,
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

/// Ports.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ports)]
pub(crate) struct ListAnswer {
    ports: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl Answer {
    /// A port, and how it is.
    fn of(app: &App, port: Versioned<Port>) -> Self {
        let PortStatus {
            word,
            reason,
            since,
        } = app.hosts.status(&port);
        let Versioned { value, revision } = port;
        Self {
            status: word,
            status_reason: reason,
            status_since: since,
            id: value.id,
            name: value.name,
            vpc_id: value.vpc,
            subnet_id: value.subnet,
            kind: value.kind,
            mac_address: value.mac_address,
            ip_address: value.ip_address,
            security_group_ids: value.security_groups,
            host_id: value.host,
            device_id: value.device,
            description: value.description,
            org_id: value.org,
            project_id: value.project,
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

impl CreateBody {
    fn parsed(self) -> Result<NewPort, Error> {
        Ok(NewPort {
            subnet: refusal::named("subnet_id", "subnet", &self.subnet_id)?,
            name: maybe_label("name", self.name)?,
            kind: self
                .kind
                .map_or(Ok(PortKind::default()), |text| kind(&text))?,
            mac_address: self.mac_address.map(|text| mac(&text)).transpose()?,
            ip_address: self
                .ip_address
                .map(|text| refusal::address("ip_address", &text))
                .transpose()?,
            groups: self
                .security_group_ids
                .map(|ids| groups(&ids))
                .transpose()?,
            host: host(self.host_id.as_deref().unwrap_or_default())?,
            device: maybe_label("device_id", self.device_id)?,
            description: self.description,
            owner: Owner {
                org: self.org_id,
                project: self.project_id,
            },
        })
    }
}

impl ChangeBody {
    fn parsed(self) -> Result<PortChange, Error> {
        let label =
            |field, text: Option<String>| text.map(|text| maybe_label(field, text)).transpose();
        Ok(PortChange {
            name: label("name", self.name)?,
            description: self.description,
            groups: self
                .security_group_ids
                .map(|ids| groups(&ids))
                .transpose()?,
            host: self.host_id.map(|text| host(&text)).transpose()?,
            device: label("device_id", self.device_id)?,
        })
    }
}

/// Makes a port.
#[utoipa::path(
    post, path = "/api/v1/ports", tag = "ports", operation_id = "create_port",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let port = Box::pin(service::create(&app, &ctx, body.parsed()?)).await?;
    Ok(Revised::created(port.revision, Answer::of(&app, port)))
}

/// Lists the ports the caller may see.
#[utoipa::path(
    get, path = "/api/v1/ports", tag = "ports", operation_id = "list_ports",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = PortFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        vpc: Wanted::of(query.vpc_id.as_deref()),
        subnet: Wanted::of(query.subnet_id.as_deref()),
        group: Wanted::of(query.security_group_id.as_deref()),
        host: query.host_id,
        device: query.device_id,
        address: query
            .ip_address
            .map(|text| refusal::address("ip_address", &text))
            .transpose()?,
        name: query.name,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        ports: listing
            .items
            .into_iter()
            .map(|port| Answer::of(&app, port))
            .collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A port.
#[utoipa::path(
    get, path = "/api/v1/ports/{id}", tag = "ports", operation_id = "get_port",
    params(("id" = PortText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<PortId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let port = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(port.revision, Answer::of(&app, port)))
}

/// Changes a port.
#[utoipa::path(
    patch, path = "/api/v1/ports/{id}", tag = "ports", operation_id = "update_port",
    params(("id" = PortText, Path), IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<PortId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let port = service::update(&app, &ctx, id, &body.parsed()?, expected).await?;
    Ok(Revised::ok(port.revision, Answer::of(&app, port)))
}

/// Deletes a port that has no floating IP. Its address is free; its host takes it down.
#[utoipa::path(
    delete, path = "/api/v1/ports/{id}", tag = "ports", operation_id = "delete_port",
    params(("id" = PortText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<PortId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(removed(id, revision))
}
