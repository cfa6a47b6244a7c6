//! The header that makes a request happen once, for the document; what it does is `photon_auth::idempotency`'s, or a
//! service's own.

use photon_auth::idempotency::{KEPT_FOR, KEY, LONGEST_KEY};
use utoipa::openapi::{
    RefOr, Required,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn},
    schema::{ObjectBuilder, Type},
};

/// Adds the header to a route that heeds it.
pub(super) fn add_header(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(parameter()));
}

/// Adds the answer to a key that was used for something else, where there is the header.
pub(super) fn add_refusal(operation: &mut Operation) {
    let mut parameters = operation.parameters.iter().flatten();
    let has_key = parameters.any(|one| matches!(one, RefOr::T(one) if one.name == KEY));
    let responses = &mut operation.responses.responses;
    if has_key && let Some(RefOr::T(conflict)) = responses.get("409") {
        let mut refusal = conflict.clone();
        refusal.description = format!("The `{KEY}` was used for another request.");
        responses.insert("422".to_owned(), refusal.into());
    }
}

fn parameter() -> Parameter {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(LONGEST_KEY))
        .pattern(Some("^[!-~]+$"));
    let hours = KEPT_FOR.as_secs() / 3600;
    let description = format!(
        "The same request with the same key does it once: its first answer comes again, with `Idempotency-Replayed: \
         true`, for {hours} hours; or 409, if that answer is not there yet, or had a secret in it. Choose a new random \
         one, as a UUID, for every thing that is to be made."
    );
    ParameterBuilder::new()
        .name(KEY)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(text))
        .build()
}
