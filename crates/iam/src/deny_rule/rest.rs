//! `/api/v1/deny-rules`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::{Condition, DenyId, DenyRule, PermissionPattern, PrincipalRef, Scope};

use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{DenyRuleFilter, NewDenyRule, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{ConditionText, PatternText, PrincipalText, ScopeText},
    },
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/deny-rules", "iam.deny_rules.create", create)
        .get("/api/v1/deny-rules", "iam.deny_rules.list", list)
        .get("/api/v1/deny-rules/{id}", "iam.deny_rules.get", get)
        .delete("/api/v1/deny-rules/{id}", "iam.deny_rules.delete", delete)
}

/// A deny rule to be made: takes permissions away at a scope and everywhere below it, whatever bindings say.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewDenyRule)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// From whom; without it from everybody.
    #[schema(value_type = Option<PrincipalText>)]
    principal: Option<PrincipalRef>,
    /// Which permissions.
    #[schema(value_type = Vec<PatternText>, min_items = 1, max_items = 1000)]
    permissions: Vec<PermissionPattern>,
    /// Where.
    #[schema(value_type = ScopeText)]
    scope: Scope,
    /// Only then.
    #[schema(value_type = Option<ConditionText>)]
    condition: Option<Condition>,
}

/// Which deny rules.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those about this principal.
    #[param(value_type = Option<PrincipalText>)]
    principal: Option<PrincipalRef>,
    /// Only those at this scope, not above and not below it.
    #[param(value_type = Option<ScopeText>)]
    scope: Option<Scope>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A deny rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DenyRule)]
pub(crate) struct Answer {
    #[schema(value_type = String, example = "dny-0198c0de-0000-7000-8000-000000000001")]
    id: DenyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = PrincipalText, required = false)]
    principal: Option<PrincipalRef>,
    #[schema(value_type = Vec<PatternText>)]
    permissions: Vec<PermissionPattern>,
    #[schema(value_type = ScopeText)]
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ConditionText, required = false)]
    condition: Option<Condition>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// By whom: a principal, or `dev-operator`.
    created_by: String,
    /// The store's revision of its last change.
    revision: i64,
}

/// Deny rules.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DenyRules)]
pub(crate) struct ListAnswer {
    deny_rules: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<DenyRule>> for Answer {
    fn from(rule: Versioned<DenyRule>) -> Self {
        Self {
            id: rule.value.id,
            principal: rule.value.principal,
            permissions: rule.value.permissions,
            scope: rule.value.scope,
            condition: rule.value.condition,
            created_at: rule.value.created_at,
            created_by: rule.value.created_by,
            revision: rule.revision,
        }
    }
}

/// Makes a deny rule. Decided one level above its scope, for a project at its org.
#[utoipa::path(
    post, path = "/api/v1/deny-rules", tag = "deny-rules", operation_id = "create_deny_rule",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewDenyRule {
        principal: body.principal,
        permissions: body.permissions,
        scope: body.scope,
        condition: body.condition,
    };
    let rule = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(rule.revision, rule.into()))
}

/// Lists the deny rules the caller may see.
#[utoipa::path(
    get, path = "/api/v1/deny-rules", tag = "deny-rules", operation_id = "list_deny_rules",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = DenyRuleFilter {
        principal: query.principal,
        scope: query.scope,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        deny_rules: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A deny rule.
#[utoipa::path(
    get, path = "/api/v1/deny-rules/{id}", tag = "deny-rules", operation_id = "get_deny_rule",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<DenyId>,
) -> Result<Revised<Answer>, RestError> {
    let rule = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(rule.revision, rule.into()))
}

/// Lifts a deny rule. Decided one level above its scope, for a project at its org.
#[utoipa::path(
    delete, path = "/api/v1/deny-rules/{id}", tag = "deny-rules", operation_id = "delete_deny_rule",
    params(
        ("id" = String, Path),
        IfMatchHeader,
    ),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<DenyId>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, &id, expected).await?;
    Ok(removed(id, revision))
}
