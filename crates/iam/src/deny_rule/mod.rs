//! Deny rules: permissions that are taken away at a scope and everywhere below it, whatever bindings say.
//!
//! A rule is made and removed, never changed. Whoever may write deny rules at a scope decides about them there; a rule
//! that is to bind the admins of a project belongs to its org.

pub(crate) mod rest;
pub mod service;

use photon_authz::{Condition, PermissionPattern, PrincipalRef, Scope};

/// A deny rule to be made.
#[derive(Clone, Debug)]
pub struct NewDenyRule {
    /// From whom; none: from everybody.
    pub principal: Option<PrincipalRef>,
    /// Which permissions.
    pub permissions: Vec<PermissionPattern>,
    /// Where.
    pub scope: Scope,
    /// Only then.
    pub condition: Option<Condition>,
}

/// Which deny rules to list.
#[derive(Clone, Debug, Default)]
pub struct DenyRuleFilter {
    /// Only those about this principal.
    pub principal: Option<PrincipalRef>,
    /// Only those at this scope, not above and not below it.
    pub scope: Option<Scope>,
}
