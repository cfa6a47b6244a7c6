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

    /// A text without a type, as in a query, that is not the number or truth value it should be.
    pub(crate) fn not_parsed(text: &str, expected: &dyn Expected) -> Self {
        let wanted = wanted(expected, Problem::Type);
        let found = found(&Unexpected::Str(text));
        Self::at(
            None,
            Problem::Type,
            format!("must be {wanted}, not {found}"),
        )
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
        let wanted = wanted(expected, Problem::Type);
        let found = match unexpected {
            // What is in a field of another type may be meant for the next one, a password say: it is not shown.
            Unexpected::Str(_) | Unexpected::Char(_) => "a string".to_owned(),
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)
                if !["integer", "number"]
                    .iter()
                    .any(|word| wanted.contains(word)) =>
            {
                "a number".to_owned()
            }
            shown => found(&shown),
        };
        Self::at(
            None,
            Problem::Type,
            format!("must be {wanted}, not {found}"),
        )
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::at(
            None,
            Problem::Value,
            format!(
                "must be {}, not {}",
                wanted(expected, Problem::Value),
                found(&unexpected)
            ),
        )
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::at(
            None,
            Problem::Value,
            format!(
                "has {length} elements and must be {}",
                wanted(expected, Problem::Value)
            ),
        )
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let given = match variant {
            "" => "an empty text",
            variant => variant,
        };
        Self::at(
            None,
            Problem::Value,
            format!("must be one of {}, not {given}", expected.join(", ")),
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

/// What came instead, in JSON's words.
fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Char(value) => format!("the string {value:?}"),
        Unexpected::Str(value) if value.len() <= SHOWN_BYTES => format!("the string {value:?}"),
        Unexpected::Str(_) | Unexpected::Bytes(_) | Unexpected::UnitVariant => {
            "a string".to_owned()
        }
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq | Unexpected::TupleVariant => "an array".to_owned(),
        Unexpected::Map
        | Unexpected::StructVariant
        | Unexpected::NewtypeVariant
        | Unexpected::NewtypeStruct => "an object".to_owned(),
        Unexpected::Enum => "a choice".to_owned(),
        Unexpected::Other(what) => (*what).to_owned(),
    }
}

/// Longer strings are not shown again.
const SHOWN_BYTES: usize = 100;

/// What was wanted, in JSON's words: serde's derived visitors speak of structs and of `u64`. What a type of ours
/// says itself passes as it is.
fn wanted(expected: &dyn Expected, problem: Problem) -> String {
    let text = expected.to_string();
    let first = text.split(' ').next().unwrap_or_default();
    if let Some(range) = integers(first) {
        return match problem {
            Problem::Type => "an integer".to_owned(),
            _ => format!("an integer from {} to {}", range.start(), range.end()),
        };
    }
    let plain = match first {
        "f32" | "f64" => "a number",
        "struct" | "map" => "an object",
        "tuple" | "sequence" => "an array",
        "unit" => "null",
        "enum" | "variant" => "one of its choices",
        "boolean" => "true or false",
        "option" => "a value or null",
        _ => match text.as_str() {
            "a boolean" => "true or false",
            "a map" => "an object",
            "a sequence" => "an array",
            "a borrowed string" | "a character" | "string" => "a string",
            text => text,
        },
    };
    plain.to_owned()
}

/// The values of one of Rust's integer types.
fn integers(type_name: &str) -> Option<std::ops::RangeInclusive<i128>> {
    let bits = type_name.get(1..)?;
    let bits: u32 = match bits {
        "8" | "16" | "32" | "64" => bits.parse().ok()?,
        "size" => 64,
        _ => return None,
    };
    match type_name.get(..1)? {
        "u" => Some(0..=(1 << bits) - 1),
        "i" => Some(-(1 << (bits - 1))..=(1 << (bits - 1)) - 1),
        _ => None,
    }
}
