//! Fields of messages as the types that cannot be wrong. Errors name the field, as REST's do.

use std::collections::BTreeMap;

use jiff::Timestamp;
use photon_core::{
    Error, Id, Name,
    id::{IdError, Kind},
};
use photon_service::listing::Ask;
use plasmavmc_model::Labels;

/// The id of something that is to be there. What cannot be one names nothing, as in a path of REST.
pub(crate) fn id<K: Kind>(what: &str, text: &str) -> Result<Id<K>, Error> {
    if text.is_empty() {
        return Err(Error::required("id"));
    }
    // The text itself is not repeated: it may be long.
    text.parse()
        .map_err(|error: IdError| Error::not_found(what).with_source(error))
}

/// A text, if it is given: proto3 does not tell an empty one from none.
pub(crate) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// An id that the caller chose, and has to give.
pub(crate) fn name(field: &str, text: &str) -> Result<Name, Error> {
    Name::parse_field(field, given(text).ok_or_else(|| Error::required(field))?)
}

/// An id that the caller chose, if one is given.
pub(crate) fn maybe_name(field: &str, text: &str) -> Result<Option<Name>, Error> {
    given(text)
        .map(|text| Name::parse_field(field, text))
        .transpose()
}

/// A value that its type refuses, in the words of REST's reader.
pub(crate) fn valid<T, V>(field: &str, value: V) -> Result<T, Error>
where
    T: TryFrom<V, Error = &'static str>,
{
    T::try_from(value)
        .map_err(|why| Error::validation(field, "value", format!("{field} is not valid: {why}")))
}

/// All labels of something.
pub(crate) fn labels(labels: impl IntoIterator<Item = (String, String)>) -> Result<Labels, Error> {
    let labels: BTreeMap<String, String> = labels.into_iter().collect();
    valid("labels", labels)
}

/// A time on its way out.
pub(crate) fn shown_time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
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
