//! Who may act: users, service accounts, services of the suite, and groups of them.

use std::{fmt, str::FromStr};

use photon_core::{Error, Name};
use serde::{Deserialize, Serialize};

/// What sort of actor a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program of a tenant; belongs to a project.
    ServiceAccount,
    /// A service of the suite itself, known by its certificate.
    Service,
    /// Several principals under one name. A group holds bindings; it never acts and has no token.
    Group,
}

impl PrincipalKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::User, Self::ServiceAccount, Self::Service, Self::Group];

    /// The word for it: `user`, `service_account`, `service`, `group`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "service_account",
            Self::Service => "service",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PrincipalKind {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(PrincipalError::Kind)
    }
}

/// A principal, in text `<kind>:<id>`, for example `user:alice` or `group:admins`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalRef {
    /// What sort of actor.
    pub kind: PrincipalKind,
    /// Its id, unique within the kind.
    pub id: Name,
}

/// Why a text is not a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalError {
    /// No colon between kind and id.
    #[error("must be written as <kind>:<id>, for example user:alice")]
    Form,
    /// The kind is not known.
    #[error("must be one of user, service_account, service, group")]
    Kind,
    /// The id is not a name.
    #[error("must have an id that matches [a-z0-9][a-z0-9._-]{{0,62}}")]
    Id,
}

impl PrincipalRef {
    /// A principal.
    #[must_use]
    pub const fn new(kind: PrincipalKind, id: Name) -> Self {
        Self { kind, id }
    }

    /// A user.
    #[must_use]
    pub const fn user(id: Name) -> Self {
        Self::new(PrincipalKind::User, id)
    }

    /// A service account.
    #[must_use]
    pub const fn service_account(id: Name) -> Self {
        Self::new(PrincipalKind::ServiceAccount, id)
    }

    /// A service of the suite.
    #[must_use]
    pub const fn service(id: Name) -> Self {
        Self::new(PrincipalKind::Service, id)
    }

    /// A group.
    #[must_use]
    pub const fn group(id: Name) -> Self {
        Self::new(PrincipalKind::Group, id)
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
        text.parse().map_err(|error: PrincipalError| {
            Error::validation(field, "principal", format!("{field} {error}"))
        })
    }
}

impl fmt::Display for PrincipalRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl FromStr for PrincipalRef {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        let (kind, id) = text.split_once(':').ok_or(PrincipalError::Form)?;
        Ok(Self {
            kind: kind.parse()?,
            id: id.parse().map_err(|_| PrincipalError::Id)?,
        })
    }
}

impl TryFrom<String> for PrincipalRef {
    type Error = PrincipalError;
    fn try_from(text: String) -> Result<Self, PrincipalError> {
        text.parse()
    }
}

impl From<PrincipalRef> for String {
    fn from(principal: PrincipalRef) -> Self {
        principal.to_string()
    }
}
