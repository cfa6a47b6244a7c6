//! The OpenAPI document of these routes, and the envelope around every answer.

pub(super) use photon_server::rest::Envelope;
use photon_server::rest::{ErrorEnvelope, builtin};
use utoipa::{IntoResponses, OpenApi};

use super::{cluster, kv, lease, maintenance, txn, watch};

/// The failures every route shares.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never built")]
pub(super) enum Failure {
    /// The request is wrong; `details` name the field.
    #[response(status = 400)]
    Validation(ErrorEnvelope),
    /// No credential, or one that is not accepted.
    #[response(status = 401)]
    Unauthenticated(ErrorEnvelope),
    /// The user may not do this.
    #[response(status = 403)]
    Forbidden(ErrorEnvelope),
    /// The thing does not exist.
    #[response(status = 404)]
    NotFound(ErrorEnvelope),
    /// The path has no such method; `Allow` names those it has.
    #[response(status = 405)]
    WrongMethod(ErrorEnvelope),
    /// It exists already, or its state does not allow this.
    #[response(status = 409)]
    Conflict(ErrorEnvelope),
    /// The history asked for has been compacted.
    #[response(status = 410)]
    Compacted(ErrorEnvelope),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorEnvelope),
    /// Path and query are too long.
    #[response(status = 414)]
    UriTooLong(ErrorEnvelope),
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(ErrorEnvelope),
    /// The headers are too large.
    #[response(status = 431)]
    HeadersTooLarge(ErrorEnvelope),
    /// A defect of the store.
    #[response(status = 500)]
    Internal(ErrorEnvelope),
    /// No quorum, or too much to do: try again.
    #[response(status = 503)]
    Unavailable(ErrorEnvelope),
    /// The store's space quota is used up.
    #[response(status = 507)]
    NoSpace(ErrorEnvelope),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ChainFire",
        description = "The shared state store: a Raft key-value store. Every route exists on every member.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        cluster::status, cluster::members, cluster::add, cluster::promote, cluster::remove, cluster::transfer,
        kv::get, kv::list, kv::put, kv::delete, txn::txn,
        lease::grant, lease::list, lease::get, lease::keep_alive, lease::revoke,
        watch::watch,
        maintenance::compact, maintenance::snapshot,
    ),
    tags(
        (name = "kv", description = "Keys and values"),
        (name = "watch", description = "Changes as they happen"),
        (name = "leases", description = "Keys that end by themselves"),
        (name = "cluster", description = "Members and leadership"),
        (name = "maintenance", description = "History and backup"),
    )
)]
struct Document;

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/chainfire.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    document.merge(builtin::document());
    document
}
