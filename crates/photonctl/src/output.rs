//! Tables for people, JSON for programs.

use std::io::{self, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Tables and lines, for people.
    #[default]
    #[value(name = "table")]
    Human,
    /// One JSON document, for programs.
    Json,
}

/// Columns longer than this are cut in tables; `--json` shows everything.
const CELL_CHARS: usize = 80;

/// Prints a JSON document.
pub(crate) fn json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    line(&text)
}

/// Prints a JSON document on one line.
pub(crate) fn json_line(value: &Value) -> Result<(), Failure> {
    line(&value.to_string())
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

/// Prints rows under their headings, in columns as wide as they need.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    bytes(rendered(headings, rows).as_bytes())
}

fn rendered(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| visible(cell)).collect())
        .collect();
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(at, heading)| {
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
    let headings: Vec<String> = headings.iter().map(|&heading| heading.to_owned()).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut printed = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            printed.push_str(&format!("{cell:<width$}  "));
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
        match character {
            control if control.is_control() => shown.extend(control.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = vec![
            vec!["a".to_owned(), "1".to_owned()],
            vec!["long key".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            rendered(&["KEY", "REVISION"], &rows),
            "KEY       REVISION\na         1\nlong key  22\n"
        );
    }

    #[test]
    fn values_cannot_leave_their_cell() {
        assert_eq!(visible("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(visible(&"x".repeat(100)).chars().count(), CELL_CHARS + 1);
    }
}
