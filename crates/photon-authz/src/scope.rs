//! Where something happens: the whole system, an org, or a project of an org.

use std::{fmt, str::FromStr};

use photon_core::{Error, Name};
use serde::{Deserialize, Serialize};

/// A place in the hierarchy system → org → project; in text `system`, `org:<id>`, `project:<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Everything.
    System,
    /// An org and all its projects.
    Org(Name),
    /// A project.
    Project(Name),
}

/// Why a text is not a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Neither `system` nor something with a known kind before a colon.
    #[error("must be system, org:<id> or project:<id>")]
    Form,
    /// The id is not a name.
    #[error("must have an id that matches [a-z0-9][a-z0-9._-]{{0,62}}")]
    Id,
}

impl Scope {
    /// The word for its sort, as in a token's `scope_type`: `system`, `org`, `project`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Org(_) => "org",
            Self::Project(_) => "project",
        }
    }

    /// The id of the org or project; the system has none.
    #[must_use]
    pub const fn id(&self) -> Option<&Name> {
        match self {
            Self::System => None,
            Self::Org(id) | Self::Project(id) => Some(id),
        }
    }

    /// The bare id, as in a token's `scope_id`: of the org or project, or `system`.
    #[must_use]
    pub fn bare_id(&self) -> &str {
        self.id().map_or("system", Name::as_str)
    }

    /// Parses the value of a request's field; the error names the field.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::validation(
                field,
                "required",
                format!("{field} must not be empty"),
            ));
        }
        text.parse().map_err(|error: ScopeError| {
            Error::validation(field, "scope", format!("{field} {error}"))
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Org(id) => write!(f, "org:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text == "system" {
            return Ok(Self::System);
        }
        let (kind, id) = text.split_once(':').ok_or(ScopeError::Form)?;
        let id = || id.parse().map_err(|_| ScopeError::Id);
        match kind {
            "org" => Ok(Self::Org(id()?)),
            "project" => Ok(Self::Project(id()?)),
            _ => Err(ScopeError::Form),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;
    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}
