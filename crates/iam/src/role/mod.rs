//! Roles: named sets of permissions. Some are built in; an org, or the system, may make others of listed permissions.
//!
//! A binding names its role, so a role that changes changes what all its bindings give: whoever changes it must hold what
//! it then allows, in the whole of the org it belongs to.

pub(crate) mod rest;
pub mod service;

use photon_authz::PermissionPattern;
use photon_core::Name;

use crate::text::Label;

/// A role to be made.
#[derive(Clone, Debug)]
pub struct NewRole {
    /// Its id.
    pub id: Name,
    /// The org it belongs to, and in which it can be given; none: the system, and everywhere.
    pub org: Option<Name>,
    /// One line that says what it is for.
    pub title: Option<Label>,
    /// What it allows.
    pub permissions: Vec<PermissionPattern>,
}

/// What changes of a role.
#[derive(Clone, Debug, Default)]
pub struct RoleChange {
    /// One line that says what it is for.
    pub title: Option<Label>,
    /// What it allows, all of it.
    pub permissions: Option<Vec<PermissionPattern>>,
}

/// Which roles to list.
#[derive(Clone, Debug, Default)]
pub struct RoleFilter {
    /// Only those of this org.
    pub org: Option<Name>,
}
