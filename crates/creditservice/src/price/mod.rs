//! The price book: what usage costs, per SKU and from a second on. What is published does not change.

mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use creditservice_ledger::{Rate, RateError};
use photon_core::Error;

/// A rate from its parts; without a quantity it is for one base unit.
///
/// # Errors
/// 400 naming the field.
fn rate(nanos: u64, per_quantity: Option<u64>, per_seconds: Option<u64>) -> Result<Rate, Error> {
    Rate::new(nanos, per_quantity.unwrap_or(1), per_seconds).map_err(|error| {
        let field = match error {
            RateError::Nanos => "nanos",
            RateError::Quantity => "per_quantity",
            RateError::Seconds => "per_seconds",
        };
        Error::validation(field, "value", error.to_string())
    })
}
