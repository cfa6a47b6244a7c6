//! The header of routes that make something, for the document; what it does is `photon_auth::idempotency`'s.

use photon_auth::idempotency::{KEPT_FOR, KEY, LONGEST_KEY};
use utoipa::openapi::{
    RefOr, Required,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn},
    response::Response,
    schema::{ObjectBuilder, Type},
};

/// Adds the header, and the answer to a key that was used for something else.
pub(super) fn describe(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    parameters.push(RefOr::T(parameter()));
    let conflict = operation.responses.responses.get("409").cloned();
    if let Some(RefOr::T(mut response)) = conflict {
        reword(&mut response);
        operation
            .responses
            .responses
            .insert("422".to_owned(), response.into());
    }
}

fn reword(response: &mut Response) {
    response.description = format!("The `{KEY}` was used for another request.");
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
