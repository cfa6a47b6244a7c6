//! Orgs: customers, or departments. They own projects, and the users, groups and roles that are made in them.
//!
//! ```text
//!   implicit (dev mode, on first use) ──created by somebody──> org <──enabled / disabled──> disabled org
//!                                                               └── deleted, once nothing is in it
//! ```
//!
//! In a disabled org nothing can be done and no token for it counts.

pub(crate) mod rest;
pub mod service;

use photon_core::Name;

use crate::text::Label;

/// An org to be made.
#[derive(Clone, Debug)]
pub struct NewOrg {
    /// Its id; without it one is made up.
    pub id: Option<Name>,
    /// What people call it.
    pub name: Label,
}

/// What changes of an org.
#[derive(Clone, Debug, Default)]
pub struct OrgChange {
    /// What people call it.
    pub name: Option<Label>,
    /// Whether nothing can be done in it.
    pub disabled: Option<bool>,
}
