//! What changes a snapshot: one record written or removed.

use photon_core::Name;

use crate::{
    Binding, BindingId, DenyId, DenyRule, Group, Org, PrincipalRef, PrincipalState, Project, Role,
};

/// A record that decisions depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// An org.
    Org(Org),
    /// A project.
    Project(Project),
    /// A custom role.
    Role(Role),
    /// A binding.
    Binding(Binding),
    /// A deny rule.
    DenyRule(DenyRule),
    /// A group.
    Group(Group),
    /// The state of a principal.
    PrincipalState(PrincipalState),
}

/// What one record is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// An org.
    Org(Name),
    /// A project.
    Project(Name),
    /// A custom role.
    Role(Name),
    /// A binding.
    Binding(BindingId),
    /// A deny rule.
    DenyRule(DenyId),
    /// A group.
    Group(Name),
    /// The state of a principal.
    PrincipalState(PrincipalRef),
}

/// One change. Each is complete in itself: they may come in any order.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are put, and the record is boxed when it is applied"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Written: replaces the record of the same key, if there was one.
    Put(Object),
    /// Removed.
    Delete(Key),
}
