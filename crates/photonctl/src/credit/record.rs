//! Records as people read them.

use jiff::Timestamp;
use serde_json::Value;

use super::money;
use crate::{
    failure::Failure,
    output::{self, Side},
};

/// How the value of a field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// As it is.
    Plain,
    /// As money: with its currency.
    Money,
    /// As money, where it is not 0.
    Debt,
    /// As a count: on the right.
    Count,
    /// A time, and how far away it is.
    Until,
}

/// A field, and how it is shown.
pub(crate) type Field = (&'static str, Show);

/// Prints a record, the known fields first and in their order; those that are absent are left out.
pub(crate) fn print(
    record: &Value,
    known: &[Field],
    currency: Option<&str>,
) -> Result<(), Failure> {
    let mut pairs = Vec::new();
    for (name, show) in known {
        if let Some(value) = record.get(name).filter(|value| !value.is_null()) {
            pairs.push((*name, shown(value, *show, currency)));
        }
    }
    // What a newer service says is not hidden.
    for (name, value) in record.as_object().into_iter().flatten() {
        if !known.iter().any(|(known, _)| known == name) {
            pairs.push((name.as_str(), output::cell(value)));
        }
    }
    output::pairs(&pairs)
}

/// Prints records as a table of these fields.
pub(crate) fn table<'a>(
    columns: &[Field],
    rows: impl IntoIterator<Item = &'a Value>,
    currency: impl Fn(&'a Value) -> Option<&'a str>,
) -> Result<(), Failure> {
    let headings: Vec<String> = columns
        .iter()
        .map(|(name, _)| name.to_uppercase())
        .collect();
    let headings: Vec<(&str, Side)> = headings
        .iter()
        .map(String::as_str)
        .zip(columns.iter().map(|(_, show)| side(*show)))
        .collect();
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| {
            let cell = |(name, show): &Field| shown(&row[*name], *show, currency(row));
            columns.iter().map(cell).collect()
        })
        .collect();
    output::aligned(&headings, &rows)
}

fn side(show: Show) -> Side {
    match show {
        Show::Money | Show::Debt | Show::Count => Side::Right,
        Show::Plain | Show::Until => Side::Left,
    }
}

fn shown(value: &Value, show: Show, currency: Option<&str>) -> String {
    match (show, value) {
        (Show::Money, Value::Array(amounts)) => {
            let all: Vec<String> = amounts
                .iter()
                .map(|one| money::shown(one, currency))
                .collect();
            // A comma is in them already.
            all.join("; ")
        }
        (Show::Debt, value) if value == 0 => String::new(),
        (Show::Money | Show::Debt, value) => money::shown(value, currency),
        (Show::Plain, Value::Object(counts)) => {
            let one = |(kind, count): (&String, &Value)| format!("{kind}={}", output::cell(count));
            counts.iter().map(one).collect::<Vec<_>>().join(",")
        }
        (Show::Until, Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => until(text, time.as_second() - Timestamp::now().as_second()),
            Err(_) => text.clone(),
        },
        (_, value) => output::cell(value),
    }
}

/// A time and what is left until it.
fn until(text: &str, left: i64) -> String {
    let (days, hours, minutes, seconds) =
        (left / 86_400, left / 3_600 % 24, left / 60 % 60, left % 60);
    match (days, hours, minutes) {
        _ if left <= 0 => text.to_owned(),
        (0, 0, 0) => format!("{text} (in {seconds}s)"),
        (0, 0, _) => format!("{text} (in {minutes}m{seconds:02}s)"),
        (0, _, _) => format!("{text} (in {hours}h{minutes:02}m)"),
        _ => format!("{text} (in {days}d{hours:02}h)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_shown_for_people() {
        for (value, show, text) in [
            (json!(15_000), Show::Money, "15,000 JPY"),
            (json!([500, 1_000]), Show::Money, "500 JPY; 1,000 JPY"),
            (json!([]), Show::Money, ""),
            (json!(0), Show::Debt, ""),
            (json!(7), Show::Debt, "7 JPY"),
            (
                json!({"memory_mib": 512, "vcpu": 2}),
                Show::Plain,
                "memory_mib=512,vcpu=2",
            ),
            (
                json!("1970-01-01T00:00:00Z"),
                Show::Until,
                "1970-01-01T00:00:00Z",
            ),
            (json!(true), Show::Plain, "yes"),
        ] {
            assert_eq!(shown(&value, show, Some("JPY")), text);
        }
        for (left, text) in [
            (0, "t"),
            (59, "t (in 59s)"),
            (3_599, "t (in 59m59s)"),
            (3_600, "t (in 1h00m)"),
            (90_000, "t (in 1d01h)"),
        ] {
            assert_eq!(until("t", left), text);
        }
    }
}
