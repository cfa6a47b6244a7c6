//! `/api/v1/operations`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Envelope, Path, Query, RestError};
use photon_service::{
    openapi::Failure,
    rest::{IdText, OwnerQuery, Revised},
    versioned::Versioned,
};
use plasmavmc_model::OperationId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{VmOperation, service};
use crate::{app::App, rest::schema::OperationText};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new().get("/api/v1/operations/{id}", "plasmavmc.operations.get", get)
}

/// Work that takes longer than a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(crate) struct Answer {
    #[schema(value_type = OperationText)]
    id: OperationId,
    #[schema(example = "vm.create")]
    kind: String,
    /// What it is done to.
    target_id: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// On whose behalf.
    requested_by: String,
    /// `running`, `undoing`, `done`, `failed` or `cancelled`.
    #[schema(example = "running")]
    state: &'static str,
    #[schema(maximum = 100)]
    percent: u32,
    /// What it waits for at present; else empty.
    waiting_for: String,
    /// Why it failed, or is undone; else empty.
    error: String,
    steps: Vec<StepAnswer>,
    /// The latest last; at most 100 lines.
    log: Vec<LogAnswer>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// The store's revision of its last change.
    revision: i64,
}

/// A step of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationStep)]
pub(crate) struct StepAnswer {
    #[schema(example = "place")]
    name: String,
    /// `waiting`, `done` or `undone`.
    #[schema(example = "done")]
    state: &'static str,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationLogLine)]
pub(crate) struct LogAnswer {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    text: String,
}

impl From<Versioned<VmOperation>> for Answer {
    fn from(found: Versioned<VmOperation>) -> Self {
        let Versioned { value, revision } = found;
        Self {
            percent: value.percent(),
            id: value.id,
            kind: value.kind,
            target_id: value.target,
            org_id: value.org,
            project_id: value.project,
            requested_by: value.by,
            state: value.state.as_str(),
            waiting_for: value.waiting_for,
            error: value.error,
            steps: value
                .steps
                .into_iter()
                .map(|step| StepAnswer {
                    name: step.name,
                    state: step.state.as_str(),
                })
                .collect(),
            log: value
                .log
                .into_iter()
                .map(|line| LogAnswer {
                    at: line.at,
                    text: line.text,
                })
                .collect(),
            created_at: value.created_at,
            updated_at: value.updated_at,
            ended_at: value.ended_at,
            revision,
        }
    }
}

/// An operation; it is kept for 30 days after its end.
#[utoipa::path(
    get, path = "/api/v1/operations/{id}", tag = "operations", operation_id = "get_operation",
    params(("id" = OperationText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<OperationId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let found = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(found.revision, found.into()))
}
