//! Fields of messages as the types that cannot be wrong. Errors name the field, as REST's do.

use jiff::Timestamp;
use photon_authz::{Condition, Day, PermissionPattern, PrincipalRef, Scope, WeeklyWindow};
use photon_core::{
    Error, Id, Name,
    id::{IdError, Kind},
};
use photon_proto::photon::iam::v1 as pb;

use crate::{
    listing::{Ask, Listing},
    text::{Email, Label},
    versioned::Versioned,
};

/// The id of something that is to be there. What cannot be an id names nothing, as in a path of REST.
pub(super) fn id(what: &str, text: &str) -> Result<Name, Error> {
    if text.is_empty() {
        return Err(Error::required("id"));
    }
    // The text itself is not repeated: it may be long.
    Name::new(text).map_err(|error| Error::not_found(what).with_source(error))
}

/// The id, made by us, of something that is to be there.
pub(super) fn generated_id<K: Kind>(what: &str, text: &str) -> Result<Id<K>, Error> {
    if text.is_empty() {
        return Err(Error::required("id"));
    }
    text.parse()
        .map_err(|error: IdError| Error::not_found(what).with_source(error))
}

/// A name that has to be given.
pub(super) fn name(field: &str, text: &str) -> Result<Name, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    Name::parse_field(field, text)
}

/// A name, if one is given.
pub(super) fn maybe_name(field: &str, text: &str) -> Result<Option<Name>, Error> {
    given(text)
        .map(|text| Name::parse_field(field, text))
        .transpose()
}

/// A text, if it is not empty: proto3 does not tell the two apart.
pub(super) fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A name for people that has to be given.
pub(super) fn label(field: &str, text: String) -> Result<Label, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    Label::try_from(text).map_err(|error| invalid(field, error))
}

/// A name for people, where the field is there.
pub(super) fn maybe_label(field: &str, text: Option<String>) -> Result<Option<Label>, Error> {
    text.map(|text| Label::try_from(text).map_err(|error| invalid(field, error)))
        .transpose()
}

/// An address for mail, or none.
pub(super) fn email(field: &str, text: String) -> Result<Email, Error> {
    Email::try_from(text).map_err(|error| invalid(field, error))
}

/// In the words of REST's reader.
pub(super) fn invalid(field: &str, why: impl std::fmt::Display) -> Error {
    Error::validation(field, "value", format!("{field} is not valid: {why}"))
}

/// A principal that has to be given.
pub(super) fn principal(field: &str, text: &str) -> Result<PrincipalRef, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    PrincipalRef::parse_field(field, text)
}

/// A principal, if one is given.
pub(super) fn maybe_principal(field: &str, text: &str) -> Result<Option<PrincipalRef>, Error> {
    given(text)
        .map(|text| PrincipalRef::parse_field(field, text))
        .transpose()
}

/// Several principals.
pub(super) fn principals(field: &str, texts: &[String]) -> Result<Vec<PrincipalRef>, Error> {
    each(field, texts, PrincipalRef::parse_field)
}

/// A scope that has to be given.
pub(super) fn scope(field: &str, text: &str) -> Result<Scope, Error> {
    if text.is_empty() {
        return Err(Error::required(field));
    }
    Scope::parse_field(field, text)
}

/// A scope, if one is given.
pub(super) fn maybe_scope(field: &str, text: &str) -> Result<Option<Scope>, Error> {
    given(text)
        .map(|text| Scope::parse_field(field, text))
        .transpose()
}

/// Patterns of permissions.
pub(super) fn patterns(field: &str, texts: &[String]) -> Result<Vec<PermissionPattern>, Error> {
    each(field, texts, PermissionPattern::parse_field)
}

fn each<T>(
    field: &str,
    texts: &[String],
    parse: fn(&str, &str) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let element = |(index, text): (usize, &String)| parse(&format!("{field}[{index}]"), text);
    texts.iter().enumerate().map(element).collect()
}

/// A time, if one is given.
pub(super) fn time(
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    time.map(|time| {
        Timestamp::new(time.seconds, time.nanos)
            .map_err(|_| Error::validation(field, "range", format!("{field} is not a time")))
    })
    .transpose()
}

/// What an update says about the end of something: nothing, `Some(None)` that it has none, or when.
pub(super) fn new_end(
    expires_at: Option<prost_types::Timestamp>,
    never_expires: bool,
) -> Result<Option<Option<Timestamp>>, Error> {
    match (time("expires_at", expires_at)?, never_expires) {
        (Some(_), true) => {
            let message = "expires_at does not go with never_expires";
            Err(Error::validation("expires_at", "exclusive", message))
        }
        (None, true) => Ok(Some(None)),
        (Some(end), false) => Ok(Some(Some(end))),
        (None, false) => Ok(None),
    }
}

/// A time on its way out.
pub(super) fn shown_time(time: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
    // Before 1970 jiff counts both downwards; the message counts nanoseconds upwards always.
    let (seconds, nanos) = match nanos {
        ..0 => (seconds - 1, nanos + 1_000_000_000),
        _ => (seconds, nanos),
    };
    prost_types::Timestamp { seconds, nanos }
}

/// A second since 1970, as tokens have it, on its way out.
pub(super) fn shown_second(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

/// When and from where something counts.
pub(super) fn condition(
    field: &str,
    condition: Option<pb::Condition>,
) -> Result<Option<Condition>, Error> {
    let Some(condition) = condition else {
        return Ok(None);
    };
    let parsed = Condition {
        not_before: time(&format!("{field}.not_before"), condition.not_before)?,
        not_after: time(&format!("{field}.not_after"), condition.not_after)?,
        window: condition
            .window
            .map(|window| weekly_window(&format!("{field}.window"), &window))
            .transpose()?,
        source_networks: each(
            &format!("{field}.source_networks"),
            &condition.source_networks,
            |field, text| text.parse().map_err(|error| invalid(field, error)),
        )?,
    };
    Ok(Some(parsed))
}

fn weekly_window(field: &str, window: &pb::WeeklyWindow) -> Result<WeeklyWindow, Error> {
    let at = |below: &str, text: &str| {
        let field = format!("{field}.{below}");
        if text.is_empty() {
            return Err(Error::required(&field));
        }
        text.parse().map_err(|error| invalid(&field, error))
    };
    Ok(WeeklyWindow {
        days: each(&format!("{field}.days"), &window.days, day)?,
        from: at("from", &window.from)?,
        until: at("until", &window.until)?,
    })
}

/// Three letters each, Monday first, as in [`Day::ALL`].
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn day(field: &str, text: &str) -> Result<Day, Error> {
    let found = DAYS.iter().zip(Day::ALL).find(|(word, _)| **word == text);
    found.map(|(_, day)| day).ok_or_else(|| {
        let message = format!("{field} must be one of {}", DAYS.join(", "));
        Error::validation(field, "value", message)
    })
}

/// A condition on its way out.
pub(super) fn shown_condition(condition: Condition) -> pb::Condition {
    let shown_day = |day: Day| {
        let found = DAYS.iter().zip(Day::ALL).find(|(_, other)| *other == day);
        found.map_or_else(String::new, |(word, _)| (*word).to_owned())
    };
    pb::Condition {
        not_before: condition.not_before.map(shown_time),
        not_after: condition.not_after.map(shown_time),
        window: condition.window.map(|window| pb::WeeklyWindow {
            days: window.days.into_iter().map(shown_day).collect(),
            from: window.from.to_string(),
            until: window.until.to_string(),
        }),
        source_networks: texts(&condition.source_networks),
    }
}

/// Things as they are written.
pub(super) fn texts<T: ToString>(things: &[T]) -> Vec<String> {
    things.iter().map(T::to_string).collect()
}

/// Something that need not be there; then the text is empty.
pub(super) fn maybe_text<T: ToString>(thing: Option<T>) -> String {
    thing.map(|thing| thing.to_string()).unwrap_or_default()
}

/// Which part of a list: 0 and an empty text are what proto3 has for "not given".
pub(super) fn ask(limit: i64, page_token: &str) -> Result<Ask, Error> {
    let limit = match limit {
        0 => None,
        // What is negative is out of range, too.
        limit => Some(u64::try_from(limit).unwrap_or(u64::MAX)),
    };
    Ask::new(limit, given(page_token))
}

/// What use cases answer with, as a message. `From` cannot say it: neither the message nor [`Versioned`] is of this crate.
pub(super) trait IntoMessage {
    /// Of gRPC.
    type Message;

    fn into_message(self) -> Self::Message;
}

/// A list's rows and the token of its next page.
pub(super) fn page<T, M>(listing: Listing<T>) -> (Vec<M>, String)
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

    use super::*;

    fn field(error: &Error) -> (String, String) {
        let details = error.details().unwrap();
        let text = |key: &str| details[key].as_str().unwrap().to_owned();
        (text("field"), text("constraint"))
    }

    fn pair(field: &str, constraint: &str) -> (String, String) {
        (field.to_owned(), constraint.to_owned())
    }

    #[test]
    fn what_is_no_id_names_nothing() {
        assert_eq!(field(&id("org", "").unwrap_err()), pair("id", "required"));
        for bad in ["A", "a/b", "../x", &"x".repeat(10_000)] {
            let error = id("org", bad).unwrap_err();
            assert_eq!(
                (error.code(), error.message()),
                (Code::NOT_FOUND, "org not found")
            );
        }
    }

    #[test]
    fn errors_name_the_field() {
        let patterns = patterns("permissions", &["a.b.c".to_owned(), "x".to_owned()]);
        for (error, expected) in [
            (name("org_id", "A").unwrap_err(), pair("org_id", "pattern")),
            (
                label("name", String::new()).unwrap_err(),
                pair("name", "required"),
            ),
            (
                label("name", " ".to_owned()).unwrap_err(),
                pair("name", "value"),
            ),
            (
                principal("principal", "x").unwrap_err(),
                pair("principal", "principal"),
            ),
            (
                scope("scope", "project").unwrap_err(),
                pair("scope", "scope"),
            ),
            (patterns.unwrap_err(), pair("permissions[1]", "permission")),
            (ask(-1, "").unwrap_err(), pair("limit", "range")),
            (ask(10_001, "").unwrap_err(), pair("limit", "range")),
        ] {
            assert_eq!(field(&error), expected, "{error}");
        }
        assert!(ask(0, "").is_ok() && ask(1, "").is_ok());
        assert!(ask(1, "nonsense").is_err());
    }

    #[test]
    fn times_come_back_as_they_went_and_out_of_range_are_refused() {
        for (seconds, nanos) in [(0, 0), (5, 7), (-2, 999_999_999), (-1, 0)] {
            let given = prost_types::Timestamp { seconds, nanos };
            let parsed = time("x", Some(given)).unwrap().unwrap();
            assert_eq!(shown_time(parsed), given);
        }
        for (seconds, nanos) in [(i64::MAX, 0), (i64::MIN, 0), (0, i32::MAX)] {
            let wrong = prost_types::Timestamp { seconds, nanos };
            let error = time("expires_at", Some(wrong)).unwrap_err();
            assert_eq!(field(&error), pair("expires_at", "range"));
        }
    }

    #[test]
    fn an_end_is_set_or_taken_away() {
        let at = prost_types::Timestamp {
            seconds: 5,
            nanos: 0,
        };
        let parsed = Timestamp::from_second(5).unwrap();
        assert_eq!(new_end(None, false).unwrap(), None);
        assert_eq!(new_end(None, true).unwrap(), Some(None));
        assert_eq!(new_end(Some(at), false).unwrap(), Some(Some(parsed)));
        let both = new_end(Some(at), true).unwrap_err();
        assert_eq!(field(&both), pair("expires_at", "exclusive"));
    }

    #[test]
    fn conditions_come_back_as_they_went() {
        let condition_of = |days: &[&str], from: &str, network: &str| pb::Condition {
            not_before: Some(prost_types::Timestamp {
                seconds: 1,
                nanos: 5,
            }),
            not_after: None,
            window: Some(pb::WeeklyWindow {
                days: days.iter().map(|day| (*day).to_owned()).collect(),
                from: from.to_owned(),
                until: "24:00".to_owned(),
            }),
            source_networks: vec![network.to_owned()],
        };
        let given = condition_of(&DAYS, "08:30", "10.0.0.0/8");
        let parsed = condition("condition", Some(given.clone()))
            .unwrap()
            .unwrap();
        assert_eq!(shown_condition(parsed), given);
        for (wrong, at) in [
            (
                condition_of(&["monday"], "08:30", "10.0.0.0/8"),
                "condition.window.days[0]",
            ),
            (
                condition_of(&["mon"], "25:00", "10.0.0.0/8"),
                "condition.window.from",
            ),
            (
                condition_of(&["mon"], "", "10.0.0.0/8"),
                "condition.window.from",
            ),
            (
                condition_of(&["mon"], "08:30", "10.0.0.0"),
                "condition.source_networks[0]",
            ),
        ] {
            let error = condition("condition", Some(wrong)).unwrap_err();
            assert_eq!(field(&error).0, at);
        }
    }
}
