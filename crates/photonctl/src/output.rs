//! Tables for people, JSON and YAML for programs.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and lines, for people.
    #[default]
    Human,
    /// One document, for programs.
    Data(Notation),
}

impl Format {
    /// What most programs read.
    pub(crate) const JSON: Self = Self::Data(Notation::Json);
    /// What spreadsheets read.
    pub(crate) const CSV: Self = Self::Data(Notation::Csv);
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    Json,
    Yaml,
    /// The names of the records in it, one a line.
    Name,
    /// Only where a service writes it.
    Csv,
}

/// The words of `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FormatName {
    /// Tables and lines, for people.
    Table,
    /// One JSON document, for programs.
    Json,
    /// One YAML document.
    Yaml,
    /// Only names or ids, one a line, for scripts.
    Name,
    /// Of statements: the columns of FOCUS.
    Csv,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Table => Self::Human,
            FormatName::Json => Self::JSON,
            FormatName::Yaml => Self::Data(Notation::Yaml),
            FormatName::Name => Self::Data(Notation::Name),
            FormatName::Csv => Self::CSV,
        }
    }
}

/// Columns longer than this are cut in tables; `-o json` shows everything.
const CELL_CHARS: usize = 80;

/// Prints a document.
pub(crate) fn data(notation: Notation, value: &Value) -> Result<(), Failure> {
    match notation {
        Notation::Json => {
            let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
            line(&text)
        }
        Notation::Yaml => bytes(yaml(value)?.as_bytes()),
        Notation::Name => named(value),
        Notation::Csv => Err(Failure::usage("this is not written as CSV")),
    }
}

/// Prints one of several documents: JSON on a line of its own, YAML after a line of three dashes.
pub(crate) fn one_of_many(notation: Notation, value: &Value) -> Result<(), Failure> {
    match notation {
        Notation::Json => line(&value.to_string()),
        Notation::Yaml => bytes(format!("---\n{}", yaml(value)?).as_bytes()),
        Notation::Name | Notation::Csv => data(notation, value),
    }
}

/// The fields by which records are known, the best one first.
const NAMES: &[&str] = &[
    "id",
    "key",
    "kid",
    "project_id",
    "kind",
    "sku",
    "name",
    "instance",
    "principal",
];

/// Prints the names of the records in a document.
fn named(value: &Value) -> Result<(), Failure> {
    match names(value) {
        Some(names) => names.iter().try_for_each(|name| line(name)),
        None => {
            eprintln!("there are no names in this: -o json shows it");
            Ok(())
        }
    }
}

/// The name of a record, or those of the records that a document lists; `None` where there are no records.
fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Object(fields) => {
            let own = NAMES.iter().find_map(|name| match fields.get(*name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            });
            match own {
                Some(name) => Some(vec![name]),
                None => fields
                    .values()
                    .filter(|field| field.is_array())
                    .find_map(names),
            }
        }
        Value::Array(items) => {
            let all: Option<Vec<_>> = items.iter().map(names).collect();
            Some(all?.concat())
        }
        _ => None,
    }
}

fn yaml(value: &Value) -> Result<String, Failure> {
    Ok(yaml_serde::to_string(value).map_err(anyhow::Error::from)?)
}

/// Prints a line. A reader that went away (`photonctl … | head`) ends the command quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    bytes(text.as_bytes())?;
    bytes(b"\n")
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => Ok(outcome.map_err(anyhow::Error::from)?),
    }
}

/// On which side of a column its cells are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    /// For numbers: what counts the same stands below each other.
    Right,
}

/// Prints rows under their headings, in columns as wide as they need.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let columns: Vec<_> = headings
        .iter()
        .map(|&heading| (heading, Side::Left))
        .collect();
    aligned(&columns, rows)
}

/// [`table`] with the side of each column.
pub(crate) fn aligned(columns: &[(&str, Side)], rows: &[Vec<String>]) -> Result<(), Failure> {
    bytes(rendered(columns, rows).as_bytes())
}

/// Prints records as a table of these fields, under their names in capitals. `a.b` is the field b of the field a.
pub(crate) fn records(fields: &[&str], items: &[Value]) -> Result<(), Failure> {
    let name = |field: &&str| field.rsplit('.').next().map(str::to_uppercase);
    let headings: Vec<String> = fields.iter().filter_map(name).collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let row = |item: &Value| {
        let field = |field: &&str| cell(field.split('.').fold(item, |value, name| &value[name]));
        fields.iter().map(field).collect()
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    table(&headings, &rows)
}

/// Prints one record, a field a line.
pub(crate) fn fields(record: &Value) -> Result<(), Failure> {
    let Some(fields) = record.as_object() else {
        return line(&visible(&cell(record)));
    };
    let labelled: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), cell(value)))
        .collect();
    pairs(&labelled)
}

/// Prints values behind their names, one a line.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> Result<(), Failure> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max();
    let width = width.unwrap_or_default();
    for (name, value) in pairs {
        let value: String = value.chars().flat_map(shown_char).collect();
        line(format!("{name:<width$}  {value}").trim_end())?;
    }
    Ok(())
}

/// A value as people read it: texts without quotes, lists with commas, nothing for null.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<String> = items.iter().map(cell).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}

fn rendered(columns: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| visible(cell)).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, (heading, _))| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count());
            cells
                .chain([heading.chars().count()])
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    let headings: Vec<String> = columns.iter().map(|(text, _)| (*text).to_owned()).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut printed = String::new();
        for ((cell, width), (_, side)) in row.iter().zip(&widths).zip(columns) {
            printed.push_str(&match side {
                Side::Left => format!("{cell:<width$}  "),
                Side::Right => format!("{cell:>width$}  "),
            });
        }
        text.push_str(printed.trim_end());
        text.push('\n');
    }
    text
}

/// One line without control characters, so that a value cannot rearrange the table or the terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == CELL_CHARS {
            shown.push('…');
            break;
        }
        shown.extend(shown_char(character));
    }
    shown
}

/// A character, or what stands for it if it is a control character.
fn shown_char(character: char) -> impl Iterator<Item = char> {
    let control = character.is_control();
    let escape = control.then(|| character.escape_default());
    escape
        .into_iter()
        .flatten()
        .chain((!control).then_some(character))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long key".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            rendered(&[("KEY", Side::Left), ("REVISION", Side::Left)], &rows),
            "KEY       REVISION\na         1\nlong key  22\n"
        );
        assert_eq!(
            rendered(&[("KEY", Side::Left), ("N", Side::Right)], &rows),
            "KEY        N\na          1\nlong key  22\n"
        );
    }

    #[test]
    fn names_are_found_in_records_and_lists() {
        let of = |value: Value| names(&value);
        let some = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        for (value, expected) in [
            (
                serde_json::json!({"project_id": "p", "id": "rsv-1"}),
                some(&["rsv-1"]),
            ),
            (
                serde_json::json!({"next_page_token": null, "wallets": [{"org_id": "o", "project_id": "p"}, {"project_id": "q"}]}),
                some(&["p", "q"]),
            ),
            (serde_json::json!({"items": []}), some(&[])),
            (serde_json::json!({"items": [{"id": 7}]}), some(&["7"])),
            (serde_json::json!({"done": true, "made": ["a"]}), None),
        ] {
            assert_eq!(of(value.clone()), expected, "{value}");
        }
    }

    #[test]
    fn values_read_as_people_write_them() {
        for (value, text) in [
            (serde_json::json!("a b"), "a b"),
            (serde_json::json!(["user:x", "group:y"]), "user:x, group:y"),
            (serde_json::json!(true), "yes"),
            (Value::Null, ""),
            (serde_json::json!({"a": 1}), "{\"a\":1}"),
        ] {
            assert_eq!(cell(&value), text);
        }
    }

    #[test]
    fn yaml_says_what_json_says() {
        let value =
            serde_json::json!({"id": "a: b", "count": 10_000, "members": ["user:x"], "none": null});
        let text = yaml(&value).unwrap();
        assert_eq!(
            yaml_serde::from_str::<Value>(&text).unwrap(),
            value,
            "{text}"
        );
        assert!(text.contains("count: 10000\n"), "{text}");
    }

    #[test]
    fn values_cannot_leave_their_cell() {
        assert_eq!(visible("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(visible(&"x".repeat(100)).chars().count(), CELL_CHARS + 1);
    }
}
