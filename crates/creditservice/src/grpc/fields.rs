//! Fields of messages as the types that cannot be wrong. Errors name the field, as REST's do.

use std::collections::HashMap;

use creditservice_ledger::{Amount, Charge, Text, Time, Ttl, Units};
use jiff::Timestamp;
use photon_core::{Error, Name};

use crate::listing::Ask;

/// A name that has to be given.
pub(crate) fn name(field: &str, text: &str) -> Result<Name, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    Name::parse_field(field, text)
}

/// A name, if one is given: proto3 does not tell an empty text from none.
pub(crate) fn maybe_name(field: &str, text: &str) -> Result<Option<Name>, Error> {
    given(text)
        .map(|text| Name::parse_field(field, text))
        .transpose()
}

/// A text, if it is not empty.
pub(crate) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// In the words of REST's reader.
pub(crate) fn invalid(field: &str, why: impl std::fmt::Display) -> Error {
    Error::validation(field, "value", format!("{field} is not valid: {why}"))
}

/// A text that has to be given.
pub(crate) fn text<const N: usize>(field: &str, text: String) -> Result<Text<N>, Error> {
    maybe_text(field, text)?.ok_or_else(|| Error::required(field))
}

/// A text, if it is not empty.
pub(crate) fn maybe_text<const N: usize>(
    field: &str,
    text: String,
) -> Result<Option<Text<N>>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = Text::new(text).map_err(|error| invalid(field, error))?;
    Ok(Some(text))
}

/// An amount that moves; 0 is what proto3 has for one that is not given.
pub(crate) fn amount(field: &str, number: i64) -> Result<Amount, Error> {
    if number == 0 {
        return Err(Error::required(field));
    }
    Amount::new(number).map_err(|error| invalid(field, error))
}

/// An amount that may be nothing.
pub(crate) fn charge(field: &str, number: i64) -> Result<Charge, Error> {
    Charge::new(number).map_err(|error| invalid(field, error))
}

/// Counts of units by kind.
pub(crate) fn units(counts: HashMap<String, i64>) -> Result<Units, Error> {
    let counts = counts.into_iter().map(|(kind, count)| {
        let field = format!("units.{kind}");
        Ok((Name::parse_field(&field, &kind)?, count))
    });
    let counts = counts.collect::<Result<_, Error>>()?;
    Units::new(counts).map_err(|error| invalid("units", error))
}

/// A time to live that has to be given.
pub(crate) fn ttl(field: &str, seconds: i64) -> Result<Ttl, Error> {
    Ttl::new(seconds).map_err(|error| invalid(field, error))
}

/// What part of a list.
pub(crate) fn ask<P: serde::de::DeserializeOwned>(
    limit: i64,
    page_token: &str,
) -> Result<Ask<P>, Error> {
    let limit = match limit {
        0 => None,
        // Out of range, as every negative one.
        limit => Some(u64::try_from(limit).unwrap_or(u64::MAX)),
    };
    Ask::new(limit, given(page_token))
}

/// A moment, if one is given.
pub(crate) fn moment(
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Time>, Error> {
    Ok(timestamp(field, time)?.map(crate::transaction::rest::time))
}

/// A time, if one is given.
pub(crate) fn timestamp(
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    time.map(|time| {
        Timestamp::new(time.seconds, time.nanos)
            .map_err(|_| Error::validation(field, "range", format!("{field} is not a time")))
    })
    .transpose()
}

/// A time on its way out.
pub(crate) fn shown_time(time: Timestamp) -> prost_types::Timestamp {
    // Times of the ledger are whole seconds after 1970.
    prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: 0,
    }
}
