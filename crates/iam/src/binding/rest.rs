//! `/api/v1/bindings`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::{Binding, BindingId, Condition, PrincipalRef, Scope};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BindingChange, BindingFilter, NewBinding, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{ConditionText, IdText, PrincipalText, ScopeText},
    },
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/bindings", "iam.bindings.create", create)
        .get("/api/v1/bindings", "iam.bindings.list", list)
        .get("/api/v1/bindings/{id}", "iam.bindings.get", get)
        .patch("/api/v1/bindings/{id}", "iam.bindings.update", update)
        .delete("/api/v1/bindings/{id}", "iam.bindings.delete", delete)
}

/// A binding to be made: gives a principal a role at a scope and everywhere below it.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewBinding)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Who.
    #[schema(value_type = PrincipalText)]
    principal: PrincipalRef,
    /// Which role. Nobody gives what they do not hold themselves.
    #[schema(value_type = IdText, example = "viewer")]
    role: Name,
    /// Where.
    #[schema(value_type = ScopeText)]
    scope: Scope,
    /// Only then.
    #[schema(value_type = Option<ConditionText>)]
    condition: Option<Condition>,
    /// From this moment on it does not count.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What changes of a binding; what is absent stays. Who, what and where always do.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BindingChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// From this moment on it does not count; null for never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
}

/// Tells null from nothing.
fn given<'de, D, T>(from: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from).map(Some)
}

/// Which bindings.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this principal itself.
    #[param(value_type = Option<PrincipalText>)]
    principal: Option<PrincipalRef>,
    /// Only those at this scope, not above and not below it.
    #[param(value_type = Option<ScopeText>)]
    scope: Option<Scope>,
    /// Only those of this role.
    #[param(value_type = Option<IdText>)]
    role: Option<Name>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A binding.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Binding)]
pub(crate) struct Answer {
    #[schema(value_type = String, example = "bnd-0198c0de-0000-7000-8000-000000000001")]
    id: BindingId,
    #[schema(value_type = PrincipalText)]
    principal: PrincipalRef,
    #[schema(value_type = IdText)]
    role: Name,
    #[schema(value_type = ScopeText)]
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = ConditionText, required = false)]
    condition: Option<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// By whom: a principal, or `dev-operator`.
    created_by: String,
    /// The store's revision of its last change; a check may ask for at least this.
    revision: i64,
}

/// Bindings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bindings)]
pub(crate) struct ListAnswer {
    bindings: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Binding>> for Answer {
    fn from(binding: Versioned<Binding>) -> Self {
        Self {
            id: binding.value.id,
            principal: binding.value.principal,
            role: binding.value.role,
            scope: binding.value.scope,
            condition: binding.value.condition,
            expires_at: binding.value.expires_at,
            created_at: binding.value.created_at,
            created_by: binding.value.created_by,
            revision: binding.revision,
        }
    }
}

/// Makes a binding.
#[utoipa::path(
    post, path = "/api/v1/bindings", tag = "bindings", operation_id = "create_binding",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewBinding {
        principal: body.principal,
        role: body.role,
        scope: body.scope,
        condition: body.condition,
        expires_at: body.expires_at,
    };
    let binding = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(binding.revision, binding.into()))
}

/// Lists the bindings the caller may see.
#[utoipa::path(
    get, path = "/api/v1/bindings", tag = "bindings", operation_id = "list_bindings",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = BindingFilter {
        principal: query.principal,
        scope: query.scope,
        role: query.role,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        bindings: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A binding.
#[utoipa::path(
    get, path = "/api/v1/bindings/{id}", tag = "bindings", operation_id = "get_binding",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<BindingId>,
) -> Result<Revised<Answer>, RestError> {
    let binding = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(binding.revision, binding.into()))
}

/// Changes a binding.
#[utoipa::path(
    patch, path = "/api/v1/bindings/{id}", tag = "bindings", operation_id = "update_binding",
    params(
        ("id" = String, Path),
        IfMatchHeader,
    ),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<BindingId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = BindingChange {
        expires_at: body.expires_at,
    };
    let binding = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(binding.revision, binding.into()))
}

/// Takes a binding away.
#[utoipa::path(
    delete, path = "/api/v1/bindings/{id}", tag = "bindings", operation_id = "delete_binding",
    params(
        ("id" = String, Path),
        IfMatchHeader,
    ),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<BindingId>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, &id, expected).await?;
    Ok(removed(id, revision))
}
