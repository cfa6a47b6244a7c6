//! Fields of messages as the types that cannot be wrong. Errors name the field, as REST's do.

use jiff::Timestamp;
use photon_core::{
    Error, Id, Name,
    id::{IdError, Kind},
};
use prismnet_model::{Description, Label};

use crate::{
    listing::{Ask, Listing},
    versioned::Versioned,
};

/// The id of something that is to be there. What cannot be one names nothing, as in a path of REST.
pub(crate) fn id<K: Kind>(what: &str, text: &str) -> Result<Id<K>, Error> {
    id_in("id", what, text)
}

/// [`id`] in another field.
pub(crate) fn id_in<K: Kind>(field: &str, what: &str, text: &str) -> Result<Id<K>, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    // The text itself is not repeated: it may be long.
    text.parse()
        .map_err(|error: IdError| Error::not_found(what).with_source(error))
}

/// A text that has to be given: proto3 does not tell an empty one from none.
pub(crate) fn required<'a>(field: &str, text: &'a str) -> Result<&'a str, Error> {
    given(text).ok_or_else(|| Error::required(field))
}

/// A text, if it is given.
pub(crate) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// An id that the caller chose, and has to give.
pub(crate) fn name(field: &str, text: &str) -> Result<Name, Error> {
    Name::parse_field(field, required(field, text)?)
}

/// An id that the caller chose, if one is given.
pub(crate) fn maybe_name(field: &str, text: &str) -> Result<Option<Name>, Error> {
    given(text)
        .map(|text| Name::parse_field(field, text))
        .transpose()
}

/// A name for people that has to be given.
pub(crate) fn label(field: &str, text: String) -> Result<Label, Error> {
    required(field, &text)?;
    Label::try_from(text).map_err(|error| invalid(field, error))
}

/// A name for people, where the field is there.
pub(crate) fn maybe_label(field: &str, text: Option<String>) -> Result<Option<Label>, Error> {
    text.map(|text| Label::try_from(text).map_err(|error| invalid(field, error)))
        .transpose()
}

/// What something is for.
pub(crate) fn description(text: String) -> Result<Description, Error> {
    Description::try_from(text).map_err(|error| invalid("description", error))
}

/// What something is for, where the field is there.
pub(crate) fn maybe_description(text: Option<String>) -> Result<Option<Description>, Error> {
    text.map(description).transpose()
}

/// In the words of REST's reader.
fn invalid(field: &str, why: impl std::fmt::Display) -> Error {
    Error::validation(field, "value", format!("{field} is not valid: {why}"))
}

/// A time on its way out.
pub(crate) fn shown_time(time: Timestamp) -> prost_types::Timestamp {
    // Stored times are whole seconds.
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: 0,
    }
}

/// Which part of a list: 0 and an empty text are what proto3 has for "not given".
pub(crate) fn ask(limit: i64, page_token: &str) -> Result<Ask, Error> {
    let limit = match limit {
        0 => None,
        // What is negative is out of range, too.
        limit => Some(u64::try_from(limit).unwrap_or(u64::MAX)),
    };
    Ask::new(limit, given(page_token))
}

/// What use cases answer with, as a message. `From` cannot say it: neither the message nor [`Versioned`] is of this crate.
pub(crate) trait IntoMessage {
    /// Of gRPC.
    type Message;

    fn into_message(self) -> Self::Message;
}

/// A list's rows and the token of its next page.
pub(crate) fn page<T, M>(listing: Listing<T>) -> (Vec<M>, String)
where
    Versioned<T>: IntoMessage<Message = M>,
{
    let rows = listing
        .items
        .into_iter()
        .map(IntoMessage::into_message)
        .collect();
    (rows, listing.next_page_token.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_core::Code;
    use prismnet_model::VpcId;

    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
        let error = result.unwrap_err();
        let field = error.details().map(|details| details["field"].clone());
        let field = field.and_then(|field| field.as_str().map(str::to_owned));
        (error.code(), field.unwrap_or_default())
    }

    #[test]
    fn errors_name_the_field() {
        for (found, code, field) in [
            (
                refused(id_in::<prismnet_model::id::VpcKind>("id", "vpc", "")),
                Code::VALIDATION_ERROR,
                "id",
            ),
            (
                refused(
                    "vpc-1"
                        .parse::<VpcId>()
                        .map_err(|_| Error::not_found("vpc")),
                ),
                Code::NOT_FOUND,
                "",
            ),
            (
                refused(name("org_id", "")),
                Code::VALIDATION_ERROR,
                "org_id",
            ),
            (
                refused(maybe_name("org_id", "A")),
                Code::VALIDATION_ERROR,
                "org_id",
            ),
            (
                refused(label("name", " ".to_owned())),
                Code::VALIDATION_ERROR,
                "name",
            ),
            (
                refused(description("a\nb".to_owned())),
                Code::VALIDATION_ERROR,
                "description",
            ),
            (refused(ask(-1, "")), Code::VALIDATION_ERROR, "limit"),
        ] {
            assert_eq!(found, (code, field.to_owned()));
        }
        assert!(ask(0, "").is_ok() && maybe_name("org_id", "").unwrap().is_none());
    }
}
