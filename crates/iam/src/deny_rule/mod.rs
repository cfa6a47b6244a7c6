//! Deny rules: permissions that are taken away at a scope and everywhere below it, whatever bindings say.
//!
//! A rule is made and removed, never changed, and both are decided one level above it: at a project by whoever may write
//! deny rules at its org, at an org by whoever may at the system, at the system by its admin. So nobody lifts a rule that
//! binds them by what they hold where the rule is, and the admin of a project cannot lock out those above. Rules are seen
//! by whoever may see them where they are.

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
