//! `/api/v1/quotas` and `/api/v1/limits`.

use std::sync::Arc;

use axum::extract::State;
use creditservice_ledger::{Limit, ResourceKind};
use http::Method;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Quota, service};
use crate::{
    app::App,
    catalog::Row,
    idempotency::Given,
    rest::{
        Envelope, Failure, Outcome,
        schema::{IdText, KeyHeader},
    },
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .get("/api/v1/quotas", "creditservice.quotas.get", list)
        .put(
            "/api/v1/quotas/{project}/{kind}",
            "creditservice.quotas.update",
            set,
        )
        .delete(
            "/api/v1/quotas/{project}/{kind}",
            "creditservice.quotas.update",
            unset,
        )
        .get("/api/v1/limits", "creditservice.limits.list", limits)
        .once(
            Method::PUT,
            "/api/v1/limits/{kind}",
            "creditservice.limits.update",
            register,
        )
}

/// Whose quotas.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// The project.
    #[param(value_type = IdText)]
    project_id: Name,
}

/// A limit of a project's own.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OwnLimit)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitBody {
    /// A number, or `"unlimited"`.
    #[schema(value_type = LimitNumber)]
    limit: Limit,
}

/// The limit of projects without one of their own.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DefaultLimit)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefaultBody {
    /// A number, or `"unlimited"`.
    #[schema(value_type = LimitNumber)]
    default: Limit,
}

/// How many units, a whole number from 0 on; or `"unlimited"`.
#[derive(ToSchema)]
#[schema(as = Limit, value_type = serde_json::Value, example = 16)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct LimitNumber(serde_json::Value);

/// What a project may have of a kind, and has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quota)]
pub(crate) struct Answer {
    #[schema(value_type = IdText, example = "vcpu")]
    kind: ResourceKind,
    #[schema(value_type = LimitNumber)]
    limit: Limit,
    /// Whether the limit is the project's own.
    own: bool,
    /// Units in use.
    used: i64,
    /// Units that reservations hold.
    reserved: i64,
    /// What may be reserved besides; null if there is no limit. Negative after the limit was lowered.
    available: Option<i64>,
}

/// A project's quotas.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quotas)]
pub(crate) struct ListAnswer {
    quotas: Vec<Answer>,
}

/// A registered limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegisteredLimit)]
pub(crate) struct RegisteredAnswer {
    #[schema(value_type = IdText, example = "vcpu")]
    kind: ResourceKind,
    #[schema(value_type = LimitNumber)]
    default: Limit,
}

/// Registered limits.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegisteredLimits)]
pub(crate) struct LimitsAnswer {
    limits: Vec<RegisteredAnswer>,
}

impl From<Quota> for Answer {
    fn from(quota: Quota) -> Self {
        let Quota {
            kind,
            limit,
            own,
            used,
            reserved,
        } = quota;
        Self {
            available: limit.count().map(|limit| limit - used - reserved),
            kind,
            limit,
            own,
            used,
            reserved,
        }
    }
}

/// Every registered kind, as it is for a project.
#[utoipa::path(
    get, path = "/api/v1/quotas", tag = "quotas", operation_id = "list_quotas",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let quotas = service::list(&app, &ctx, &query.project_id).await?;
    Ok(Data(ListAnswer {
        quotas: quotas.into_iter().map(Into::into).collect(),
    }))
}

/// Gives a project a limit of its own. A lower one takes nothing away; it refuses more.
#[utoipa::path(
    put, path = "/api/v1/quotas/{project}/{kind}", tag = "quotas", operation_id = "set_quota",
    params(("project" = IdText, Path), ("kind" = IdText, Path), KeyHeader),
    request_body = LimitBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path((project, kind)): Path<(Name, ResourceKind)>,
    Json(body): Json<LimitBody>,
) -> Result<Outcome<Answer>, RestError> {
    let done = service::set(&app, &ctx, &given, &project, &kind, Some(body.limit)).await?;
    Ok(Outcome::ok(done.map(Answer::from)))
}

/// Takes a project's own limit away: the default counts again.
#[utoipa::path(
    delete, path = "/api/v1/quotas/{project}/{kind}", tag = "quotas", operation_id = "unset_quota",
    params(("project" = IdText, Path), ("kind" = IdText, Path), KeyHeader),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn unset(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path((project, kind)): Path<(Name, ResourceKind)>,
) -> Result<Outcome<Answer>, RestError> {
    let done = service::set(&app, &ctx, &given, &project, &kind, None).await?;
    Ok(Outcome::ok(done.map(Answer::from)))
}

/// The registered kinds and their defaults.
#[utoipa::path(
    get, path = "/api/v1/limits", tag = "quotas", operation_id = "list_limits",
    responses((status = 200, body = Envelope<LimitsAnswer>), Failure)
)]
pub(crate) async fn limits(State(app): State<Arc<App>>, ctx: Context) -> RestResult<LimitsAnswer> {
    let rows = service::registered(&app, &ctx).await?;
    let limits = rows.into_iter().filter_map(|row| match row {
        Row::Limit { kind, default } => Some(RegisteredAnswer { kind, default }),
        Row::Price { .. } => None,
    });
    Ok(Data(LimitsAnswer {
        limits: limits.collect(),
    }))
}

/// Makes a kind known, or changes its default. Repeating it changes nothing.
#[utoipa::path(
    put, path = "/api/v1/limits/{kind}", tag = "quotas", operation_id = "register_limit",
    params(("kind" = IdText, Path)),
    request_body = DefaultBody,
    responses((status = 200, body = Envelope<RegisteredAnswer>), Failure)
)]
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(kind): Path<ResourceKind>,
    Json(body): Json<DefaultBody>,
) -> RestResult<RegisteredAnswer> {
    let default = body.default;
    service::register(&app, &ctx, kind.clone(), default).await?;
    Ok(Data(RegisteredAnswer { kind, default }))
}
