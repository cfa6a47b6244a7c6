//! What stands around every answer, described for the OpenAPI document.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Every successful answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Envelope<T: ToSchema> {
    data: T,
    meta: Meta,
}

/// What an answer says about itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct Meta {
    /// Ours; it stands in the log too.
    #[schema(example = "0f8fad5b-d9cb-469f-a165-70867728950e")]
    request_id: String,
    #[schema(format = DateTime, example = "2025-12-12T08:30:00Z")]
    timestamp: String,
}

/// Every other answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorEnvelope {
    error: ErrorBody,
    meta: Meta,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// A word for programs: VALIDATION_ERROR, NOT_FOUND, INSUFFICIENT_CREDIT, RESERVATION_COMMITTED, …
    #[schema(example = "INSUFFICIENT_CREDIT")]
    code: String,
    /// A sentence for people.
    message: String,
    /// For programs: of a VALIDATION_ERROR, `field` and `constraint`; of INSUFFICIENT_CREDIT, `required`, `available`,
    /// `missing`.
    details: Option<serde_json::Value>,
}

/// The failures every route shares.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) enum Failure {
    /// The request is wrong; `details` name the field.
    #[response(status = 400)]
    Validation(ErrorEnvelope),
    /// No credential, or one that is not accepted.
    #[response(status = 401)]
    Unauthenticated(ErrorEnvelope),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(ErrorEnvelope),
    /// The thing does not exist, or the caller must not learn that it does.
    #[response(status = 404)]
    NotFound(ErrorEnvelope),
    /// The path has no such method; `Allow` names those it has.
    #[response(status = 405)]
    WrongMethod(ErrorEnvelope),
    /// Not enough credit, or the state of the wallet or reservation does not allow this; the code says which.
    #[response(status = 409)]
    Conflict(ErrorEnvelope),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorEnvelope),
    /// Path and query are too long.
    #[response(status = 414)]
    UriTooLong(ErrorEnvelope),
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(ErrorEnvelope),
    /// The `Idempotency-Key` was used for another request.
    #[response(status = 422)]
    KeyReused(ErrorEnvelope),
    /// Too many requests; `Retry-After` says how many seconds to wait.
    #[response(status = 429)]
    TooMany(ErrorEnvelope),
    /// The headers are too large.
    #[response(status = 431)]
    HeadersTooLarge(ErrorEnvelope),
    /// A defect of ours.
    #[response(status = 500)]
    Internal(ErrorEnvelope),
    /// The store or the ledger's owner cannot be reached, or there is too much to do: try again. `DEADLINE_EXCEEDED`: a change
    /// may have been made.
    #[response(status = 503)]
    Unavailable(ErrorEnvelope),
    /// The store's space quota is used up.
    #[response(status = 507)]
    NoSpace(ErrorEnvelope),
}
