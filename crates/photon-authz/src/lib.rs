//! Who may do what: pure decisions over the records IAM publishes.
//!
//! ```text
//!   records (Org Project Role Binding DenyRule Group PrincipalState)
//!      | Change                                     roles built in
//!      v                                                  |
//!   Policies  -- slice of (principal, scope) -------------+--> index: allowed, refused, or ...
//!   (snapshot)      cached, dropped when what it is           |   a condition or a deny rule is involved
//!                   made of changes                           v
//!                                                           Cedar over that slice alone
//! ```
//!
//! No I/O, no runtime, no clock: the caller says what time it is.

#![warn(missing_docs)]

pub mod condition;
pub mod permission;
pub mod policies;
pub mod principal;
pub mod records;
pub mod role;
pub mod scope;

mod cedar;
mod sharded;

pub use cedar::Oracle;
pub use condition::{Condition, Day, TimeOfDay, WeeklyWindow};
pub use permission::{Permission, PermissionError, PermissionPattern};
pub use policies::{
    Change, Decision, Granted, GroupFault, Key, Object, Policies, Question, Reason, Visible,
};
pub use principal::{PrincipalError, PrincipalKind, PrincipalRef};
pub use records::{
    Binding, BindingId, DenyId, DenyRule, Group, Keyed, Org, PrincipalState, Project, PublicKey,
    Revoked, Role,
};
pub use role::{ADMIN, built_in, built_in_roles};
pub use scope::{Scope, ScopeError};
