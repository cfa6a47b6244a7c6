//! `/api/v1/security-groups/{id}/rules`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Block, Description, GroupId, Protocol, Remote, Rule, RuleId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{RuleFields, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, Path, Removed, Revised, removed,
        schema::{BlockText, DescriptionText, DirectionText, GroupText, ProtocolText, RuleText},
    },
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create(
            "/api/v1/security-groups/{id}/rules",
            "prismnet.security_groups.update",
            create,
        )
        .get(
            "/api/v1/security-groups/{id}/rules",
            "prismnet.security_groups.get",
            list,
        )
        .delete(
            "/api/v1/security-groups/{id}/rules/{rule}",
            "prismnet.security_groups.update",
            delete,
        )
}

/// A rule to be added: something that is allowed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewRule)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Which way connections go.
    #[schema(value_type = DirectionText)]
    direction: String,
    /// Without it any.
    #[schema(value_type = Option<ProtocolText>)]
    protocol: Option<String>,
    /// With tcp and udp the lowest destination port, with icmp the type. Without it all.
    #[schema(minimum = 0, maximum = 65535)]
    port_min: Option<u32>,
    /// With tcp and udp the highest destination port; without it `port_min`. With icmp the code; without it all.
    #[schema(minimum = 0, maximum = 65535)]
    port_max: Option<u32>,
    /// The other side: addresses. Without this and a group 0.0.0.0/0.
    #[schema(value_type = Option<BlockText>)]
    remote_cidr: Option<String>,
    /// The other side: the ports of a group of the same project, in the same VPC.
    #[schema(value_type = Option<GroupText>)]
    remote_group_id: Option<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
}

/// Which rules.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rule)]
pub(crate) struct Answer {
    #[schema(value_type = RuleText)]
    id: RuleId,
    #[schema(value_type = GroupText)]
    security_group_id: GroupId,
    #[schema(value_type = DirectionText)]
    direction: &'static str,
    #[schema(value_type = ProtocolText)]
    protocol: Protocol,
    port_min: Option<u16>,
    port_max: Option<u16>,
    #[schema(value_type = Option<BlockText>)]
    remote_cidr: Option<Block>,
    #[schema(value_type = Option<GroupText>)]
    remote_group_id: Option<GroupId>,
    description: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The store's revision of its making.
    revision: i64,
}

/// Rules.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rules)]
pub(crate) struct ListAnswer {
    rules: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Rule>> for Answer {
    fn from(rule: Versioned<Rule>) -> Self {
        let Versioned { value, revision } = rule;
        let (cidr, group) = match value.remote {
            Remote::Cidr(block) => (Some(block), None),
            Remote::Group(group) => (None, Some(group)),
        };
        Self {
            id: value.id,
            security_group_id: value.group,
            direction: value.direction.as_str(),
            protocol: value.services.protocol(),
            port_min: value.services.min(),
            port_max: value.services.max(),
            remote_cidr: cidr,
            remote_group_id: group,
            description: value.description,
            created_at: value.created_at,
            revision,
        }
    }
}

/// Adds a rule to a group.
#[utoipa::path(
    post, path = "/api/v1/security-groups/{id}/rules", tag = "security-groups", operation_id = "create_rule",
    params(("id" = GroupText, Path)),
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(group): Path<GroupId>,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let fields = RuleFields {
        direction: body.direction,
        protocol: body.protocol,
        port_min: body.port_min,
        port_max: body.port_max,
        remote_cidr: body.remote_cidr,
        remote_group_id: body.remote_group_id,
        description: body.description,
    };
    let rule = service::create(&app, &ctx, group, fields.parsed()?).await?;
    Ok(Revised::created(rule.revision, rule.into()))
}

/// Lists the rules of a group.
#[utoipa::path(
    get, path = "/api/v1/security-groups/{id}/rules", tag = "security-groups", operation_id = "list_rules",
    params(("id" = GroupText, Path), ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(group): Path<GroupId>,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let listing = service::list(&app, &ctx, group, &ask).await?;
    Ok(Data(ListAnswer {
        rules: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// Takes a rule out of a group.
#[utoipa::path(
    delete, path = "/api/v1/security-groups/{id}/rules/{rule}", tag = "security-groups", operation_id = "delete_rule",
    params(("id" = GroupText, Path), ("rule" = RuleText, Path)),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path((group, rule)): Path<(GroupId, RuleId)>,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, group, rule).await?;
    Ok(removed(rule, revision))
}
