//! What is wrong with which field.

use std::fmt;

use photon_core::Error;
use serde::de::{self, Expected, Unexpected};

/// The rule that a field breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Missing,
    Unknown,
    Duplicate,
    Type,
    Value,
}

impl Problem {
    /// The word in `details.constraint`.
    pub(crate) fn constraint(self) -> &'static str {
        match self {
            Self::Missing => "required",
            Self::Unknown => "unknown",
            Self::Duplicate => "duplicate",
            Self::Type => "type",
            Self::Value => "value",
        }
    }
}

/// One step from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// A problem and the field that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// From the inside out, as it is collected.
    reversed: Vec<Step>,
    pub(crate) problem: Problem,
    /// What follows the field's name in the message.
    predicate: String,
}

impl FieldError {
    fn at(field: Option<&str>, problem: Problem, predicate: String) -> Self {
        let reversed = field
            .map(|field| Step::Key(field.to_owned()))
            .into_iter()
            .collect();
        Self {
            reversed,
            problem,
            predicate,
        }
    }

    /// The error of a value that is one level further in.
    pub(crate) fn within(mut self, step: Step) -> Self {
        self.reversed.push(step);
        self
    }

    /// A key that nobody reads; the key is added by the map that holds it.
    pub(crate) fn ignored() -> Self {
        Self::at(None, Problem::Unknown, "is not a known field".to_owned())
    }

    /// The keys and indexes from the outside in.
    pub(crate) fn path(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.reversed.iter().rev()
    }

    /// `a.b[2].c`; empty when the whole input is meant.
    pub(crate) fn field(&self) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        for step in self.path() {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                // Writing to a String cannot fail.
                Step::Key(key) => drop(write!(text, ".{key}")),
                Step::Index(index) => drop(write!(text, "[{index}]")),
            }
        }
        text
    }

    /// The public error; `whole` is what the input is called when no single field is at fault.
    pub(crate) fn into_error(self, whole: &str) -> Error {
        let mut field = self.field();
        if field.is_empty() {
            whole.clone_into(&mut field);
        }
        let message = format!("{field} {}", self.predicate);
        Error::validation(&field, self.problem.constraint(), message)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field();
        if !field.is_empty() {
            write!(f, "{field} ")?;
        }
        f.write_str(&self.predicate)
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::at(None, Problem::Value, format!("is not valid: {message}"))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::at(
            None,
            Problem::Type,
            format!("must be {expected}, not {unexpected}"),
        )
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::at(
            None,
            Problem::Value,
            format!("must be {expected}, not {unexpected}"),
        )
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::at(
            None,
            Problem::Value,
            format!("has {length} elements and must have {expected}"),
        )
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::at(
            None,
            Problem::Value,
            format!("must be one of {}, not {variant}", expected.join(", ")),
        )
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let predicate = if expected.is_empty() {
            "is not a known field".to_owned()
        } else {
            format!("is not a known field; known are {}", expected.join(", "))
        };
        Self::at(Some(field), Problem::Unknown, predicate)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::at(Some(field), Problem::Missing, "is required".to_owned())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::at(
            Some(field),
            Problem::Duplicate,
            "is given more than once".to_owned(),
        )
    }
}
