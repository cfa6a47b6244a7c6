//! Path parameters.

use axum::extract::{FromRequestParts, RawPathParams, path::ErrorKind, rejection::PathRejection};
use http::request::Parts;
use photon_core::{Code, Error};
use serde::de::DeserializeOwned;

use super::{RestError, escapes::check_escapes};

/// Path parameters, percent-decoded. What does not parse (an id of another kind, a word where a number
/// belongs) names nothing that exists: 404. Escapes that are none, or not UTF-8, are 400.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = RestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RestError> {
        check_escapes(parts.uri.path(), "path")?;
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                let given = RawPathParams::from_request_parts(parts, state).await;
                let given: Vec<String> = given
                    .iter()
                    .flatten()
                    .map(|(_, text)| text.to_owned())
                    .collect();
                Err(explain(rejection, &given.join("/")).into())
            }
        }
    }
}

/// So many characters of what names nothing are said again.
const SHOWN: usize = 100;

/// Why parameters name nothing; `given` is what they are.
fn explain(rejection: PathRejection, given: &str) -> Error {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return Error::internal(rejection);
    };
    match failed.kind() {
        ErrorKind::InvalidUtf8InPathParam { key } => {
            Error::validation(key, "utf-8", format!("{key} is not UTF-8"))
        }
        ErrorKind::WrongNumberOfParameters { .. } | ErrorKind::UnsupportedType { .. } => {
            Error::internal(failed)
        }
        ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => {
            let shown: String = given.chars().take(SHOWN).collect();
            let message = format!("{shown:?} names nothing here: {message}");
            Error::new(Code::NOT_FOUND, message).with_source(failed)
        }
        _ => Error::new(Code::NOT_FOUND, "there is nothing at this path").with_source(failed),
    }
}
