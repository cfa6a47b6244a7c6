//! Bindings: who has which role where, under which condition, and for how long.
//!
//! What a binding gives is settled when it is made: only its end can be moved. Nobody makes one that gives what they do
//! not hold themselves.

pub(crate) mod rest;
pub mod service;

use jiff::Timestamp;
use photon_authz::{Condition, PrincipalRef, Scope};
use photon_core::Name;

/// A binding to be made.
#[derive(Clone, Debug)]
pub struct NewBinding {
    /// Who.
    pub principal: PrincipalRef,
    /// Which role.
    pub role: Name,
    /// Where.
    pub scope: Scope,
    /// Only then.
    pub condition: Option<Condition>,
    /// From this moment on it does not count.
    pub expires_at: Option<Timestamp>,
}

/// What changes of a binding.
#[derive(Clone, Debug, Default)]
pub struct BindingChange {
    /// When it ends: `Some(None)` for never.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Which bindings to list.
#[derive(Clone, Debug, Default)]
pub struct BindingFilter {
    /// Only those of this principal.
    pub principal: Option<PrincipalRef>,
    /// Only those at this scope, not above and not below it.
    pub scope: Option<Scope>,
    /// Only those of this role.
    pub role: Option<Name>,
}
