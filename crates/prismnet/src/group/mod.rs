//! Security groups: named sets of ports, with rules.
//!
//! ```text
//!   (nothing) ──created──> active ──deleted, when nothing uses it──> deleting ──its rules are gone──> (nothing)
//! ```
//!
//! One that is being deleted is used by nobody and gets no rules; the same delete takes up where it was cut off.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use prismnet_model::{Description, Label, SecurityGroup};

use crate::scope::{Home, Owner};

/// A group to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewGroup {
    pub(crate) name: Label,
    pub(crate) home: Home,
    pub(crate) description: Description,
}

/// What changes of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupChange {
    pub(crate) name: Option<Label>,
    pub(crate) description: Option<Description>,
}

/// Which groups to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupFilter {
    pub(crate) owner: Owner,
    pub(crate) name: Option<String>,
}

/// The word for how a group is.
pub(crate) fn status(group: &SecurityGroup) -> &'static str {
    if group.deleting { "deleting" } else { "active" }
}
