//! What went wrong, as the specification wants it told.

use serde_json::{Value, json};

/// Numbers that the specification gives a meaning, and, from 100 on, ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// A version that is not spoken.
    Version = 1,
    /// A field of the configuration that is not supported.
    Unsupported = 2,
    /// An environment variable that is missing or cannot be.
    Environment = 4,
    /// Standard input cannot be read.
    Io = 5,
    /// The configuration is no JSON.
    Decode = 6,
    /// The configuration cannot be.
    Config = 7,
    /// It may go well later.
    Later = 11,
    /// No container can be connected now.
    Unavailable = 50,
    /// None can be, and those that are may not reach everything.
    Limited = 51,
    /// There is no such port.
    NoPort = 100,
    /// As things are, the port cannot be plugged here.
    Unfit = 101,
    /// The agent does not do it for this user.
    Forbidden = 102,
    /// It is not as it was made.
    Differs = 103,
    /// The agent failed.
    Agent = 104,
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind.
    pub code: Code,
    /// What is wrong, in a few words.
    pub message: String,
    /// More of it; may be empty.
    pub details: String,
}

impl Failure {
    /// Without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: String::new(),
        }
    }

    /// With more of it.
    #[must_use]
    pub fn because(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// As it goes to standard output.
    #[must_use]
    pub fn to_json(&self, version: &str) -> Value {
        let mut said = json!({
            "cniVersion": version, "code": self.code as u16, "msg": self.message,
        });
        if !self.details.is_empty() {
            said["details"] = json!(self.details);
        }
        said
    }
}
