//! Groups: several principals under one name, to which bindings are given. Members may be groups.
//!
//! ```text
//!     ops ──member──> on-call ──member──> user:alice          never in a circle, at most eight deep
//! ```
//!
//! Two changes that are each fine may together make a circle. So every change that puts a group into a group also writes
//! one key that all of them share, and decides by what was there when that key was last written.

pub(crate) mod rest;
pub mod service;

use photon_authz::PrincipalRef;
use photon_core::Name;

use crate::text::Label;

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Its id; without it one is made up.
    pub id: Option<Name>,
    /// The org that owns it; none: the system does.
    pub org: Option<Name>,
    /// One line that says what it is for.
    pub title: Option<Label>,
    /// Who is in it to begin with: at most [`service::MOST_FIRST_MEMBERS`].
    pub members: Vec<PrincipalRef>,
}

/// What changes of a group.
#[derive(Clone, Debug, Default)]
pub struct GroupChange {
    /// One line that says what it is for.
    pub title: Option<Label>,
}

/// Which groups to list.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter {
    /// Only those of this org.
    pub org: Option<Name>,
}
