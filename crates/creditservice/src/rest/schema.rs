//! How texts and numbers with a form of their own look in the OpenAPI document. Nothing here is built.

pub(crate) use photon_service::rest::IdText;
use utoipa::{IntoParams, ToSchema};

/// What something is for, in a caller's words: 1 to 1024 bytes without control characters.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 1024, example = "Monthly credit purchase")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct DescriptionText(String);

/// A resource as its service names it: 1 to 256 bytes without control characters.
#[derive(ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 256, example = "vm-004")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ResourceText(String);

/// A currency by its ISO 4217 code.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^JPY$", example = "JPY")]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct CurrencyText(String);

/// The id of a transaction.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^txn-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "txn-019ac8e5-3c00-7001-8c00-000000000005"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct TransactionText(String);

/// The id of a reservation.
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^rsv-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    example = "rsv-019ac8e5-3c00-7001-8c00-000000000006"
)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ReservationText(String);

/// Seconds from 1 to 31 days.
#[derive(ToSchema)]
#[schema(value_type = i64, minimum = 1, maximum = 2678400, example = 3600)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct TtlNumber(i64);

/// What makes a change happen once.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct KeyHeader {
    /// The same key and body within a day are answered as at first, with `Idempotency-Replayed: true`; another body is 422.
    /// 1 to 255 visible ASCII characters.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        required = false
    )]
    idempotency_key: Option<String>,
}
