//! Users: people.
//!
//! ```text
//!   (nothing) ──created──> live <──enabled / disabled──> disabled
//!                            └──── deleted ────┴──> its tokens end, what it has goes, its record goes
//! ```
//!
//! What other services know of a user is its [`PrincipalState`](photon_authz::PrincipalState), written together with it.
//! A user belongs to an org, or to the system; that says who manages it, not what it may do.

mod config;
pub(crate) mod email;
pub(crate) mod rest;
pub mod service;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::text::{Email, Label};

pub use config::UsersConfig;

/// A user, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: Name,
    /// Its name, for people.
    pub name: String,
    /// Where mail reaches it; may be empty.
    #[serde(default)]
    pub email: String,
    /// The org that manages it; none: the system does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Name>,
    /// Whether it may do nothing.
    #[serde(default)]
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something of this was last changed.
    pub updated_at: Timestamp,
}

impl Record for User {
    const ROOT: &'static str = "/photon/iam/user/";
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Its id; without it one is made up.
    pub id: Option<Name>,
    /// Its name.
    pub name: Label,
    /// Where mail reaches it.
    pub email: Email,
    /// The org that manages it.
    pub org: Option<Name>,
}

/// What changes of a user.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// Its name.
    pub name: Option<Label>,
    /// Where mail reaches it.
    pub email: Option<Email>,
    /// Whether it may do nothing. Disabling ends its tokens.
    pub disabled: Option<bool>,
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Only those with a binding there: at the org or project of that id, above it, or in it.
    pub scope: Option<Name>,
}
