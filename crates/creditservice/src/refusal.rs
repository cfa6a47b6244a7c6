//! What the ledger refuses, in the suite's error codes.

use creditservice_ledger::{Refusal, Time};
use jiff::Timestamp;
use photon_core::{Code, Error};
use serde_json::{Value, json};

use crate::idempotency;

/// A refusal as doors show it.
pub(crate) fn error(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::KeyReused => return idempotency::reused(),
        Refusal::TooManyKeys => {
            return Error::new(
                Code::OVERLOADED,
                "too many idempotency keys are remembered; nothing was done",
            )
            .with_details(json!({ "retry_after_seconds": 60 }));
        }
        Refusal::Defect(cause) => return Error::internal(cause.to_string()),
        _ => {}
    }
    let Some(code) = Code::by_name(refusal.code()) else {
        return Error::internal(format!("{} is no code of the suite", refusal.code()));
    };
    let error = Error::new(code, refusal.to_string());
    match details(refusal) {
        Value::Null => error,
        details => error.with_details(details),
    }
}

/// The ledger's details with times as the suite writes them.
fn details(refusal: &Refusal) -> Value {
    let mut details = refusal.details();
    let at = match refusal {
        Refusal::ReservationCommitted { at }
        | Refusal::ReservationReleased { at }
        | Refusal::ReservationExpired { at } => Some(("at", *at)),
        Refusal::RefundTooLate { until } => Some(("until", *until)),
        _ => None,
    };
    if let Some((name, time)) = at {
        details[name] = shown(time).to_string().into();
    }
    // Prices are effective from whole seconds.
    if let Refusal::PriceFixed { at, .. } | Refusal::PriceNotFound { at, .. } = refusal {
        details["at"] = shown(Time::from_seconds(*at)).to_string().into();
    }
    details
}

/// A time of the ledger, to the second.
pub(crate) fn shown(time: creditservice_ledger::Time) -> Timestamp {
    // Within 1970 … 9999, where every second is one of jiff's.
    Timestamp::from_second(time.seconds()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use photon_core::Name;

    use super::*;

    #[test]
    fn codes_and_details_are_those_of_the_page() {
        let project = Name::new("shop").unwrap();
        for (refusal, code, details) in [
            (
                Refusal::InsufficientCredit {
                    required: 20,
                    available: 5,
                    missing: 15,
                },
                Code::INSUFFICIENT_CREDIT,
                json!({"required": 20, "available": 5, "missing": 15}),
            ),
            (
                Refusal::WalletSuspended { project },
                Code::WALLET_SUSPENDED,
                json!({"project_id": "shop"}),
            ),
            (
                Refusal::ReservationCommitted {
                    at: Time::from_seconds(1_764_547_200),
                },
                Code::RESERVATION_COMMITTED,
                json!({"at": "2025-12-01T00:00:00Z"}),
            ),
            (
                Refusal::Invalid {
                    field: "ttl_seconds",
                    constraint: "max",
                    reason: "is too long".to_owned(),
                },
                Code::VALIDATION_ERROR,
                json!({"field": "ttl_seconds", "constraint": "max"}),
            ),
            (
                Refusal::KeyReused,
                Code::UNPROCESSABLE,
                json!({"field": "Idempotency-Key", "constraint": "same_request"}),
            ),
        ] {
            let error = error(&refusal);
            assert_eq!(error.code(), code);
            assert_eq!(error.details(), Some(&details));
        }
    }
}
