//! What the sender of a request is told whose key is known and whose answer cannot be told again.

use photon_core::{Code, Error};
use photon_store::idempotency::{Making, Withheld};
use serde_json::json;

use super::KEY;

/// After how many seconds it is worth to ask again for an answer that is on its way.
const ASK_AGAIN_SECONDS: u64 = 1;

/// The key was used for something else.
pub(super) fn another_request() -> Error {
    let text = format!("{KEY} was used for another request already");
    Error::new(Code::UNPROCESSABLE, text)
        .with_details(json!({ "field": KEY, "constraint": "same_request" }))
}

/// The first request has made its thing and is not answered yet.
pub(super) fn in_flight(making: &Making) -> Error {
    let text = format!(
        "a request with this {KEY} is under way; it has made {} {}",
        making.kind, making.id
    );
    Error::conflict(text).with_details(json!({
        "field": KEY,
        "constraint": "in_flight",
        "resource": { "kind": making.kind, "id": making.id },
        "retry_after_seconds": ASK_AGAIN_SECONDS,
    }))
}

/// The first request has made its thing; what it was answered nobody knows any more.
pub(super) fn made(making: &Making, because: Option<Withheld>) -> Error {
    let (constraint, why) = match because {
        Some(Withheld::ShownOnce) => (
            "shown_once",
            "its answer had a secret in it and is not told again",
        ),
        Some(Withheld::TooLarge) => ("not_kept", "its answer was too large to be kept"),
        Some(Withheld::Failed) => ("not_kept", "what came after that failed"),
        None => ("not_kept", "its answer was lost"),
    };
    let text = format!(
        "an earlier request with this {KEY} has made {} {}; {why}",
        making.kind, making.id
    );
    Error::new(Code::ALREADY_EXISTS, text).with_details(json!({
        "field": KEY,
        "constraint": constraint,
        "resource": { "kind": making.kind, "id": making.id },
    }))
}

/// A create that did not record what it made: a defect of the service.
pub(super) fn not_recorded(what: &dyn std::fmt::Display) -> Error {
    Error::internal(format!(
        "{what} was done with an idempotency key and without Context::once"
    ))
}

/// So many requests with keys run at once that another one cannot be promised to run to its end.
pub(super) fn too_many() -> Error {
    let text = format!("too many requests with an {KEY} are under way");
    Error::new(Code::OVERLOADED, text)
}
