//! What was measured: tables in Markdown, and the same as JSON.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::compare::{Spread, number, spread};

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Value,
    tables: Vec<Table>,
}

/// What was measured of a part.
#[derive(Debug)]
pub(crate) struct Table {
    /// The part.
    pub(crate) part: &'static str,
    /// What the figures of a line are.
    pub(crate) columns: &'static [&'static str],
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// A line of a table.
#[derive(Debug)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// What is wanted of it.
    pub(crate) goal: Option<Goal>,
    /// One for each column.
    pub(crate) figures: Vec<Figure>,
}

/// What is wanted of a line, and whether it is so.
#[derive(Debug)]
pub(crate) struct Goal {
    /// In words.
    pub(crate) text: &'static str,
    /// Whether it is reached.
    pub(crate) is_reached: bool,
}

/// A number, or what several runs came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// Not measured here.
    None,
    /// One number.
    One(f64),
    /// Of several.
    Spread(Spread),
}

impl Figure {
    /// Of several runs; none of none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        spread(numbers).map_or(Self::None, Self::Spread)
    }

    /// The number, or the median; `None` if nothing was measured.
    pub(crate) fn middle(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::One(value) => Some(value),
            Self::Spread(spread) => Some(spread.median),
        }
    }

    fn json(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::One(value) => json!(value),
            Self::Spread(Spread {
                median,
                least,
                greatest,
            }) => json!({"median": median, "least": least, "greatest": greatest}),
        }
    }

    fn markdown(self) -> String {
        match self {
            Self::None => "-".to_owned(),
            Self::One(value) => number(value),
            Self::Spread(of) => {
                let [median, least, greatest] = [of.median, of.least, of.greatest].map(number);
                format!("{median} ({least} - {greatest})")
            }
        }
    }
}

/// A quantile of latencies in microseconds, in milliseconds.
pub(crate) fn milliseconds(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1000.0
}

impl Table {
    /// In Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "| {} | {} | goal |\n|---|{}---|\n",
            self.part,
            self.columns.join(" | "),
            "---|".repeat(self.columns.len())
        );
        for line in &self.lines {
            let figures = line.figures.iter().map(|figure| figure.markdown());
            let goal = line.goal.as_ref().map_or_else(String::new, |goal| {
                let reached = if goal.is_reached {
                    "reached"
                } else {
                    "**missed**"
                };
                format!("{}: {reached}", goal.text)
            });
            let figures: Vec<String> = figures.collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} | {goal} |", line.what, figures.join(" | "));
        }
        text
    }

    fn json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            let figures: serde_json::Map<String, Value> = self
                .columns
                .iter()
                .zip(&line.figures)
                .map(|(column, figure)| ((*column).to_owned(), figure.json()))
                .collect();
            let goal = line.goal.as_ref();
            json!({
                "what": line.what,
                "figures": figures,
                "goal": goal.map(|goal| goal.text),
                "reached": goal.map(|goal| goal.is_reached),
            })
        });
        json!({"part": self.part, "lines": lines.collect::<Vec<_>>()})
    }
}

impl Report {
    /// An empty one.
    pub(crate) fn of_this_machine() -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let kernel = uname.map(|name| name.release().to_string_lossy().into_owned());
        let cores = std::thread::available_parallelism().map(usize::from).ok();
        Self {
            machine: json!({"kernel": kernel, "cores": cores}),
            tables: Vec::new(),
        }
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// All tables in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let tables: Vec<String> = self.tables.iter().map(Table::markdown).collect();
        tables.join("\n")
    }

    /// All of it as JSON.
    ///
    /// # Errors
    /// None: numbers and texts can be written.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let parts: Vec<Value> = self.tables.iter().map(Table::json).collect();
        serde_json::to_string_pretty(&json!({"machine": self.machine, "parts": parts}))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn report() -> Report {
        let line = Line {
            what: "two".to_owned(),
            goal: Some(Goal {
                text: "<= 3 ms",
                is_reached: true,
            }),
            figures: vec![Figure::of([3.0, 1.0, 2.0]), Figure::None],
        };
        let mut report = Report::of_this_machine();
        report.add(Table {
            part: "part",
            columns: &["ms", "other"],
            lines: vec![line],
        });
        report
    }

    #[test]
    fn a_table_has_a_cell_for_every_column() {
        let text = report().markdown();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "| part | ms | other | goal |");
        assert_eq!(lines[1], "|---|---|---|---|");
        assert_eq!(
            lines[2],
            "| two | 2.00 (1.00 - 3.00) | - | <= 3 ms: reached |"
        );
    }

    #[test]
    fn the_same_is_in_the_json() {
        let all: Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        let line = &all["parts"][0]["lines"][0];
        assert_eq!(line["figures"]["ms"]["median"], json!(2.0));
        assert_eq!(line["figures"]["other"], Value::Null);
        assert_eq!(line["reached"], json!(true));
    }
}
