//! Service accounts: programs of a tenant. Each belongs to a project and goes with it.
//!
//! ```text
//!   (nothing) ──created──> live <──enabled / disabled──> disabled
//!                            └──── deleted, or its project ────┴──> its tokens end, what it has goes, its record goes
//! ```

pub(crate) mod rest;
pub mod service;

use jiff::Timestamp;
use photon_core::Name;
use photon_store::Record;
use serde::{Deserialize, Serialize};

use crate::text::Label;

/// A service account, as it is stored: at `<project>/<id>`, so that one range has those of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Its id; unique in all projects.
    pub id: Name,
    /// The project that owns it.
    pub project: Name,
    /// Its name, for people.
    pub name: String,
    /// Whether it may do nothing.
    #[serde(default)]
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When something of this was last changed.
    pub updated_at: Timestamp,
}

impl Record for ServiceAccount {
    const ROOT: &'static str = "/photon/iam/service_account/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![index(&self.id)]
    }
}

/// The key that leads from the id to the record.
pub(crate) fn index(id: &Name) -> String {
    format!("/photon/iam/id/service_account/{id}")
}

/// The key below the collection.
pub(crate) fn key(account: &ServiceAccount) -> String {
    format!("{}/{}", account.project, account.id)
}

/// A service account to be made.
#[derive(Clone, Debug)]
pub struct NewServiceAccount {
    /// Its id; without it one is made up.
    pub id: Option<Name>,
    /// The project that owns it.
    pub project: Name,
    /// Its name.
    pub name: Label,
}

/// What changes of a service account.
#[derive(Clone, Debug, Default)]
pub struct ServiceAccountChange {
    /// Its name.
    pub name: Option<Label>,
    /// Whether it may do nothing. Disabling ends its tokens.
    pub disabled: Option<bool>,
}

/// Which service accounts to list.
#[derive(Clone, Debug, Default)]
pub struct ServiceAccountFilter {
    /// Only those of this project.
    pub project: Option<Name>,
}
