//! `/api/v1/audit`, `/api/v1/audit/verify`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::Context;
use photon_core::Error;
use photon_server::rest::{Data, Query, RestResult};
use photon_store::audit::{Mark, Verdict};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::service::{self, Which};
use crate::{
    app::App,
    rest::{Envelope, Failure},
};

/// The paths of this module, for the service's document.
#[derive(OpenApi)]
#[openapi(paths(list, verify, verify_again))]
pub(crate) struct RestDoc;

/// The routes, each with what it needs.
pub(crate) fn routes(
    routes: photon_auth::rest::Routes<Arc<App>>,
) -> photon_auth::rest::Routes<Arc<App>> {
    routes
        .get("/api/v1/audit", "iam.audit.list", list)
        .get("/api/v1/audit/verify", "iam.audit.list", verify)
        .post("/api/v1/audit/verify", "iam.audit.list", verify_again)
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Whose trail: `system`, `org:<id>`, `project:<id>`, or the bare id of an org or project.
    scope: Option<String>,
    /// Only records at or after this time (RFC 3339).
    #[param(format = DateTime)]
    from: Option<String>,
    /// Only records before this time (RFC 3339).
    #[param(format = DateTime)]
    to: Option<String>,
    /// The most records to answer with; 1 to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Continues a list.
    page_token: Option<String>,
}

/// Which trail to check.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerifyQuery {
    /// Whose trail: `system`, `org:<id>`, `project:<id>`, or the bare id of an org or project.
    scope: Option<String>,
    /// The number of the first record to look at. Default: the first that is still in the store.
    #[param(minimum = 1)]
    from_seq: Option<u64>,
}

/// Records of one trail, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditRecords {
    #[schema(value_type = Vec<AuditRecordBody>)]
    records: Vec<photon_store::Fields>,
    /// Records that are there and cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableRecord>,
    /// Continues the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// One change. `hash` is the SHA-256 of all other members as JSON with sorted keys and without spaces.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never built")]
struct AuditRecordBody {
    /// Its number in the trail, from 1 on without gaps.
    seq: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// The hash of the record before; zeros for the first.
    prev: String,
    /// Its own hash.
    hash: String,
    /// Who: `user:alice`, `service:plasmavmc`, `dev-operator`, `anonymous`, `local:<command>`.
    actor: String,
    /// The token it was done with.
    token_id: Option<String>,
    /// Who acted as `actor`, if the token was issued to somebody else.
    acted_by: Option<String>,
    /// For whom a service acted.
    on_behalf: Option<OnBehalfBody>,
    /// Where the request came from.
    source: Option<String>,
    /// The request.
    request_id: Option<String>,
    /// What was done: the permission it needed.
    #[schema(example = "iam.users.create")]
    action: String,
    /// What it was done to.
    resource: ResourceBody,
    /// Where.
    #[schema(example = "project:shop")]
    scope: String,
    /// `done`: only changes that happened are recorded.
    answer: String,
    /// What else a reader wants to know.
    details: Option<serde_json::Value>,
}

/// For whom a service acted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never built")]
struct OnBehalfBody {
    principal: String,
    project: String,
}

/// What was changed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never built")]
struct ResourceBody {
    #[schema(example = "user")]
    kind: String,
    id: String,
}

/// A record that cannot be read.
#[derive(Debug, Serialize, ToSchema)]
struct UnreadableRecord {
    key: String,
    reason: String,
}

/// What a check found.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditVerdict {
    scope: String,
    /// Nothing wrong was found.
    intact: bool,
    /// The end of the trail was reached; otherwise ask again with `from_seq` = `next_seq`.
    complete: bool,
    /// How many records were found good.
    records: u64,
    /// The number of the first one looked at.
    from_seq: u64,
    /// The last one found good.
    through: MarkBody,
    /// Where the trail ends. Whoever writes this down elsewhere can tell later that nothing before it was changed.
    head: Option<MarkBody>,
    /// The last record that was moved to files.
    exported: Option<MarkBody>,
    /// The first thing that is wrong.
    fault: Option<FaultBody>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_seq: Option<u64>,
}

/// A place in a trail.
#[derive(Debug, Serialize, ToSchema)]
struct MarkBody {
    seq: u64,
    hash: String,
}

/// What is wrong with a trail.
#[derive(Debug, Serialize, ToSchema)]
struct FaultBody {
    /// Where it shows.
    seq: u64,
    what: String,
}

/// Lists what was changed in a scope.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", operation_id = "list_audit",
    params(ListQuery),
    responses((status = 200, body = Envelope<AuditRecords>), Failure)
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<AuditRecords> {
    let which = Which {
        scope: scope(&app, query.scope.as_deref()).await?,
        from: time("from", query.from.as_deref())?,
        to: time("to", query.to.as_deref())?,
        limit: query.limit,
        page_token: query.page_token,
    };
    let found = service::list(&app, &ctx, &which).await?;
    Ok(Data(AuditRecords {
        records: found
            .records
            .into_iter()
            .map(|record| record.fields)
            .collect(),
        unreadable: found
            .unreadable
            .into_iter()
            .map(|unreadable| UnreadableRecord {
                key: unreadable.key,
                reason: unreadable.reason,
            })
            .collect(),
        next_page_token: found.next_page_token,
    }))
}

/// Checks a scope's trail: every hash, every link, and its end.
#[utoipa::path(
    get, path = "/api/v1/audit/verify", tag = "audit", operation_id = "verify_audit",
    params(VerifyQuery),
    responses((status = 200, body = Envelope<AuditVerdict>), Failure)
)]
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<VerifyQuery>,
) -> RestResult<AuditVerdict> {
    let scope = scope(&app, query.scope.as_deref()).await?;
    if query.from_seq == Some(0) {
        return Err(Error::validation("from_seq", "minimum", "from_seq is at least 1").into());
    }
    let from = query.from_seq.unwrap_or(1);
    let verdict = service::verify(&app, &ctx, &scope, from).await?;
    Ok(Data(shown(scope.to_string(), verdict)))
}

/// The same as GET, for those who think of it as something that is done.
#[utoipa::path(
    post, path = "/api/v1/audit/verify", tag = "audit", operation_id = "verify_audit_again",
    params(VerifyQuery),
    responses((status = 200, body = Envelope<AuditVerdict>), Failure)
)]
pub(super) async fn verify_again(
    app: State<Arc<App>>,
    ctx: Context,
    query: Query<VerifyQuery>,
) -> RestResult<AuditVerdict> {
    verify(app, ctx, query).await
}

fn shown(scope: String, verdict: Verdict) -> AuditVerdict {
    let mark = |mark: Mark| MarkBody {
        seq: mark.seq,
        hash: mark.hash,
    };
    let next_seq = (!verdict.complete && verdict.fault.is_none()).then(|| verdict.through.seq + 1);
    AuditVerdict {
        scope,
        intact: verdict.fault.is_none(),
        complete: verdict.complete,
        records: verdict.records,
        from_seq: verdict.from,
        through: mark(verdict.through),
        head: verdict.head.as_ref().map(|head| MarkBody {
            seq: head.seq,
            hash: head.hash.clone(),
        }),
        exported: verdict.head.and_then(|head| head.exported).map(mark),
        fault: verdict.fault.map(|fault| FaultBody {
            seq: fault.seq,
            what: fault.what,
        }),
        next_seq,
    }
}

async fn scope(app: &App, text: Option<&str>) -> Result<photon_authz::Scope, Error> {
    service::scope_of(app, text.ok_or_else(|| Error::required("scope"))?).await
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Error> {
    text.map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{field} must be a time as in RFC 3339: 2026-11-22T08:30:00Z");
            Error::validation(field, "format", message)
        })
    })
    .transpose()
}
