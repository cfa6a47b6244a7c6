//! What the daemon answers itself, described for the OpenAPI documents of its services. Nothing here is called but
//! [`document`].

use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::envelope::{Envelope, ErrorBody, ErrorEnvelope, Meta};

/// How the service is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `healthy`, or why not in a word: `starting`, `unhealthy`, `draining`.
    #[schema(example = "healthy")]
    status: String,
    service: String,
    version: String,
    /// Of `unhealthy`, and of `healthy` when an alarm is raised: a phrase for an operator.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// That the process answers.
#[derive(Serialize, ToSchema)]
struct Alive {
    #[schema(example = "alive")]
    status: String,
}

/// Whether the service is fit to serve. Needs no credential.
#[utoipa::path(
    get, path = "/health", tag = "process", operation_id = "health",
    responses(
        (status = 200, description = "It is.", body = Envelope<Health>),
        (status = 503, description = "It is not; the content says why.", body = Envelope<Health>),
    )
)]
#[expect(dead_code, reason = "only described, never called")]
fn health() {}

/// The same, under the name that orchestrators know.
#[utoipa::path(
    get, path = "/readyz", tag = "process", operation_id = "readyz",
    responses(
        (status = 200, description = "It is.", body = Envelope<Health>),
        (status = 503, description = "It is not; the content says why.", body = Envelope<Health>),
    )
)]
#[expect(dead_code, reason = "only described, never called")]
fn readyz() {}

/// Whether the process answers at all. Needs no credential.
#[utoipa::path(
    get, path = "/livez", tag = "process", operation_id = "livez",
    responses((status = 200, description = "It does.", body = Envelope<Alive>))
)]
#[expect(dead_code, reason = "only described, never called")]
fn livez() {}

/// What the service counts, in the OpenMetrics text format.
#[utoipa::path(
    get, path = "/metrics", tag = "process", operation_id = "metrics",
    responses(
        (status = 200, description = "All metrics.", content_type = "application/openmetrics-text", body = String),
        (status = 401, description = "No credential, or one that is not accepted.", body = ErrorEnvelope),
        (status = 503, description = "Too much is in flight.", body = ErrorEnvelope),
    )
)]
#[expect(dead_code, reason = "only described, never called")]
fn metrics() {}

#[derive(OpenApi)]
#[openapi(
    paths(health, readyz, livez, metrics),
    components(schemas(ErrorEnvelope, ErrorBody, Meta)),
    tags((name = "process", description = "Whether the service is well, and what it counts")),
)]
struct Document;

/// Paths that need no credential.
pub const OPEN: [&str; 3] = ["/health", "/livez", "/readyz"];

/// The part of a service's document that is the daemon's, to be merged into its own.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
