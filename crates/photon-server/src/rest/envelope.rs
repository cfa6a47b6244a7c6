//! What stands around every answer, described for the OpenAPI document.

use serde::Serialize;
use utoipa::ToSchema;

/// Every successful answer.
#[derive(Serialize, ToSchema)]
pub struct Envelope<T: ToSchema> {
    data: T,
    meta: Meta,
}

/// What an answer says about itself.
#[derive(Serialize, ToSchema)]
pub struct Meta {
    /// Ours; it stands in the log too, and where there is one in the audit.
    #[schema(example = "0f8fad5b-d9cb-469f-a165-70867728950e")]
    request_id: String,
    #[schema(format = DateTime, example = "2025-12-12T08:30:00Z")]
    timestamp: String,
}

/// Every other answer.
#[derive(Serialize, ToSchema)]
pub struct ErrorEnvelope {
    error: ErrorBody,
    meta: Meta,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub struct ErrorBody {
    /// A word for programs: VALIDATION_ERROR, NOT_FOUND, ALREADY_EXISTS, FORBIDDEN, …
    #[schema(example = "NOT_FOUND")]
    code: String,
    /// A sentence for people.
    message: String,
    /// For programs: of a VALIDATION_ERROR, `field` and `constraint`.
    details: Option<serde_json::Value>,
}
