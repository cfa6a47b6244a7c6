//! `/api/v1/external-networks`.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{
    AddressRange, Block, Description, ExternalNetwork, ExternalNetworkId, Interface, Label,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    ExternalNetworkChange, ExternalNetworkFilter, NewExternalNetwork, block, gateway, range,
    service, uplinks,
};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Path, Removed, Revised, given, removed,
        schema::{
            AddressText, BlockText, DescriptionText, ExternalNetworkText, InterfaceText, LabelText,
        },
    },
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    const ALL: &str = "/api/v1/external-networks";
    const ONE: &str = "/api/v1/external-networks/{id}";
    Routes::new()
        .create(ALL, "prismnet.external_networks.create", create)
        .get(ALL, "prismnet.external_networks.list", list)
        .get(ONE, "prismnet.external_networks.get", get)
        .patch(ONE, "prismnet.external_networks.update", update)
        .delete(ONE, "prismnet.external_networks.delete", delete)
}

/// Addresses from `first` to `last`, both among them.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AddressRange)]
#[serde(deny_unknown_fields)]
pub(crate) struct RangeBody {
    /// The first.
    #[schema(value_type = AddressText)]
    first: String,
    /// The last.
    #[schema(value_type = AddressText)]
    last: String,
}

/// An external network to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewExternalNetwork)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name, for people; need not be unique.
    #[schema(value_type = LabelText)]
    name: Label,
    /// Its addresses: /8 to /32, apart from those of other external networks.
    #[schema(value_type = BlockText)]
    cidr_block: String,
    /// Who knows the way on. Without it only the block itself is reached.
    #[schema(value_type = Option<AddressText>)]
    gateway_ip: Option<String>,
    /// Which addresses are given out, at most 64 ranges, in order and apart. Without it all but the gateway's, the network's
    /// and the broadcast address.
    #[schema(value_type = Option<Vec<RangeBody>>, max_items = 64)]
    pool: Option<Vec<RangeBody>>,
    /// By host, the interface or bridge that reaches the network there; at most 1,000.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, InterfaceText>, required = false)]
    uplinks: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
}

/// What changes of an external network; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ExternalNetworkChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
    /// Who knows the way on; `null` for nobody.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<AddressText>)]
    gateway_ip: Option<Option<String>>,
    /// Which addresses are given out from now on. Those that are must stay in it.
    #[schema(value_type = Option<Vec<RangeBody>>, max_items = 64)]
    pool: Option<Vec<RangeBody>>,
    /// All of its uplinks from now on.
    #[schema(value_type = Option<BTreeMap<String, InterfaceText>>)]
    uplinks: Option<BTreeMap<String, String>>,
}

/// Which external networks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this name.
    name: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// An external network.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExternalNetwork)]
pub(crate) struct Answer {
    #[schema(value_type = ExternalNetworkText)]
    id: ExternalNetworkId,
    name: String,
    #[schema(value_type = BlockText)]
    cidr_block: Block,
    #[schema(value_type = Option<AddressText>)]
    gateway_ip: Option<Ipv4Addr>,
    #[schema(value_type = Vec<RangeBody>)]
    pool: Vec<AddressRange>,
    /// By host, the interface that reaches it; only for those who may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, InterfaceText>>, nullable = false)]
    uplinks: Option<BTreeMap<Name, Interface>>,
    /// Addresses of the pool that hosts have, or answer for without a record: they are not given out. At most 100 are named; only
    /// for those who may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    held_by_hosts: Option<Vec<HeldAnswer>>,
    description: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// An address of a pool that is a host's.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HeldAddress)]
pub(crate) struct HeldAnswer {
    #[schema(value_type = AddressText)]
    address: Ipv4Addr,
    #[schema(value_type = String)]
    host_id: Name,
}

/// External networks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExternalNetworks)]
pub(crate) struct ListAnswer {
    external_networks: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl Answer {
    /// A network as this caller is shown it.
    fn to(app: &App, ctx: &Context, network: Versioned<ExternalNetwork>) -> Result<Self, Error> {
        let sees_hosts = service::sees_hosts(app, ctx)?;
        Ok(Self::of(app, sees_hosts, network))
    }

    fn of(app: &App, sees_hosts: bool, network: Versioned<ExternalNetwork>) -> Self {
        let Versioned { value, revision } = network;
        let held = || {
            let held = service::held_by_hosts(app, &value).into_iter();
            held.map(|(address, host_id)| HeldAnswer { address, host_id })
                .collect()
        };
        Self {
            held_by_hosts: sees_hosts.then(held),
            id: value.id,
            name: value.name,
            cidr_block: value.cidr_block,
            gateway_ip: value.gateway_ip,
            pool: value.pool,
            uplinks: sees_hosts.then_some(value.uplinks),
            description: value.description,
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

fn ranges(given: Vec<RangeBody>) -> Result<Vec<AddressRange>, Error> {
    let ranges = given.iter();
    ranges.map(|one| range(&one.first, &one.last)).collect()
}

impl CreateBody {
    fn parsed(self) -> Result<NewExternalNetwork, Error> {
        Ok(NewExternalNetwork {
            name: self.name,
            cidr_block: block("cidr_block", &self.cidr_block)?,
            gateway_ip: gateway(self.gateway_ip.as_deref().unwrap_or_default())?,
            pool: self.pool.map(ranges).transpose()?,
            uplinks: uplinks(self.uplinks.into_iter())?,
            description: self.description,
        })
    }
}

impl ChangeBody {
    fn parsed(self) -> Result<ExternalNetworkChange, Error> {
        Ok(ExternalNetworkChange {
            name: self.name,
            description: self.description,
            gateway_ip: self
                .gateway_ip
                .map(|text| gateway(text.as_deref().unwrap_or_default()))
                .transpose()?,
            pool: self.pool.map(ranges).transpose()?,
            uplinks: self
                .uplinks
                .map(|all| uplinks(all.into_iter()))
                .transpose()?,
        })
    }
}

/// Makes an external network: for operators.
#[utoipa::path(
    post, path = "/api/v1/external-networks", tag = "external-networks", operation_id = "create_external_network",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let network = service::create(&app, &ctx, body.parsed()?).await?;
    Ok(Revised::created(
        network.revision,
        Answer::to(&app, &ctx, network)?,
    ))
}

/// Lists the external networks.
#[utoipa::path(
    get, path = "/api/v1/external-networks", tag = "external-networks", operation_id = "list_external_networks",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = ExternalNetworkFilter { name: query.name };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    let sees_hosts = service::sees_hosts(&app, &ctx)?;
    let networks = listing.items.into_iter();
    Ok(Data(ListAnswer {
        external_networks: networks
            .map(|network| Answer::of(&app, sees_hosts, network))
            .collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// An external network.
#[utoipa::path(
    get, path = "/api/v1/external-networks/{id}", tag = "external-networks", operation_id = "get_external_network",
    params(("id" = ExternalNetworkText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ExternalNetworkId>,
) -> Result<Revised<Answer>, RestError> {
    let network = service::get(&app, &ctx, id).await?;
    Ok(Revised::ok(
        network.revision,
        Answer::to(&app, &ctx, network)?,
    ))
}

/// Changes an external network: for operators.
#[utoipa::path(
    patch, path = "/api/v1/external-networks/{id}", tag = "external-networks", operation_id = "update_external_network",
    params(("id" = ExternalNetworkText, Path), IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ExternalNetworkId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let network = service::update(&app, &ctx, id, &body.parsed()?, expected).await?;
    Ok(Revised::ok(
        network.revision,
        Answer::to(&app, &ctx, network)?,
    ))
}

/// Deletes an external network that no floating IP is from: for operators.
#[utoipa::path(
    delete, path = "/api/v1/external-networks/{id}", tag = "external-networks", operation_id = "delete_external_network",
    params(("id" = ExternalNetworkText, Path), IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ExternalNetworkId>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, expected).await?;
    Ok(removed(id, revision))
}
