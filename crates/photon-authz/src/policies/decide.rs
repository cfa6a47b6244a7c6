//! One question, one answer.
//!
//! ```text
//!   scope outside the token ──> no
//!   principal disabled ───────> no
//!   bindings of the principal and its groups, at the scope and above it:
//!     none whose role allows it ──────────────────────────────────────> no
//!     one without condition, and no deny rule about it ───────────────> yes
//!     `iam.deny_rules.get|list|delete` by a whole admin of the system ─> yes, whatever deny rules say
//!     else Cedar, over these bindings and the deny rules about it, of the scope and above it
//! ```

use std::{fmt, net::IpAddr};

use jiff::Timestamp;

use super::{
    Policies,
    place::{Place, SYSTEM},
    slice::{Grant, Slice, speaks_of},
};
use crate::{
    ADMIN, BindingId, DenyId, Permission, PrincipalKind, PrincipalRef, Scope,
    cedar::{Answer, Facts},
    condition::Moment,
};

/// May this principal do this there?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who.
    pub principal: &'a PrincipalRef,
    /// What.
    pub permission: &'a Permission,
    /// Where.
    pub scope: &'a Scope,
    /// When.
    pub now: Timestamp,
    /// From where, if that is known.
    pub source: Option<IpAddr>,
    /// The scope of the token it asks with: nothing outside is allowed. None and [`Scope::System`]: no limit.
    pub limit: Option<&'a Scope>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// What gives it; one of them, if several do.
        binding: Granted,
    },
    /// No.
    Deny {
        /// Why.
        reason: Reason,
    },
}

/// What gives a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// A binding.
    Binding(BindingId),
    /// The built-in role of a service of the suite.
    BuiltIn,
}

/// Why something is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing allows it.
    NoBinding,
    /// This rule takes it away.
    DenyRule(DenyId),
    /// There is no such org or project, and nothing at the system allows it.
    ScopeUnknown,
    /// The principal is disabled; or the scope or its org is, and would it not be, a binding might allow it.
    Disabled,
    /// The scope is not within the token's.
    OutsideToken,
    /// A policy could not be evaluated. Nothing known leads here.
    Evaluation,
}

impl Decision {
    /// Whether it is yes.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    pub(crate) const fn no(reason: Reason) -> Self {
        Self::Deny { reason }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBinding => f.write_str("no binding allows it"),
            Self::DenyRule(id) => write!(f, "the deny rule {id} forbids it"),
            Self::ScopeUnknown => f.write_str("there is no such org or project"),
            Self::Disabled => f.write_str("the principal, the project or its org is disabled"),
            Self::OutsideToken => f.write_str("the token is not for this scope"),
            Self::Evaluation => f.write_str("a policy could not be evaluated"),
        }
    }
}

impl Policies {
    /// The answer, by the index as far as that goes, else by Cedar over the slice.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        if let Some(reason) = self.refused_anyhow(question) {
            return Decision::no(reason);
        }
        let place = self.place(question.scope);
        let slice = self.slice(question.principal, &place);
        self.judge(question, &place, &slice)
    }

    /// The same without leaving a trace in what is remembered; for going through many scopes once.
    pub(super) fn decide_in_passing(&self, question: &Question<'_>) -> Decision {
        if let Some(reason) = self.refused_anyhow(question) {
            return Decision::no(reason);
        }
        let place = self.place(question.scope);
        self.judge(question, &place, &self.build(question.principal, &place))
    }

    /// What no binding helps against.
    pub(crate) fn refused_anyhow(&self, question: &Question<'_>) -> Option<Reason> {
        if let Some(limit) = question.limit
            && !self.contains(limit, question.scope)
        {
            return Some(Reason::OutsideToken);
        }
        let state = self.state_of(question.principal);
        state
            .is_some_and(|state| state.disabled)
            .then_some(Reason::Disabled)
    }
}

/// In a disabled scope only IAM's own permissions are left, so that somebody above can open it again, and the services of
/// the suite, so that they can clear it.
pub(crate) fn is_shut(question: &Question<'_>, place: &Place<'_>) -> bool {
    place.closed
        && question.principal.kind != PrincipalKind::Service
        && question.permission.service() != "iam"
}

/// Whether it is about finding and removing deny rules, which they cannot take from a whole admin of the system.
pub(crate) fn unlocks(permission: &Permission) -> bool {
    matches!(
        permission.segments(),
        ["iam", "deny_rules", "get" | "list" | "delete"]
    )
}

fn is_whole_admin(grant: &Grant) -> bool {
    grant.level == SYSTEM && grant.condition().is_none() && grant.role.role.id.as_str() == ADMIN
}

fn why_nothing(place: &Place<'_>, withheld: bool) -> Reason {
    if !place.known {
        Reason::ScopeUnknown
    } else if place.closed && withheld {
        Reason::Disabled
    } else {
        Reason::NoBinding
    }
}

impl Policies {
    fn judge(&self, question: &Question<'_>, place: &Place<'_>, slice: &Slice) -> Decision {
        let moment = Moment::at(question.now);
        let shut = is_shut(question, place);
        let mut withheld = false;
        let mut conditional = false;
        let mut plain = None;
        for grant in &slice.grants {
            if grant.has_expired(moment) || !grant.role.allows(question.permission) {
                continue;
            }
            if shut || grant.level < place.least {
                withheld = true;
            } else if grant.condition().is_some() {
                conditional = true;
            } else if unlocks(question.permission) && is_whole_admin(grant) {
                return Decision::Allow {
                    binding: grant.granted(),
                };
            } else {
                plain = plain.or(Some(grant));
            }
        }
        if plain.is_none() && !conditional {
            return Decision::no(why_nothing(place, withheld));
        }
        let mut rules = slice.denies.iter();
        let denied = rules.any(|rule| speaks_of(rule, question.permission));
        match plain {
            Some(grant) if !denied => Decision::Allow {
                binding: grant.granted(),
            },
            _ => self.by_cedar(question, place, slice, moment),
        }
    }

    fn by_cedar(
        &self,
        question: &Question<'_>,
        place: &Place<'_>,
        slice: &Slice,
        moment: Moment,
    ) -> Decision {
        let prepared = self.prepared(question.principal, place, slice, question.permission);
        let facts = Facts {
            permission: question.permission,
            moment,
            source: question.source,
            least: place.least,
        };
        match prepared.map(|prepared| prepared.ask(&facts)) {
            Some(Answer::Allow(binding)) => Decision::Allow { binding },
            Some(Answer::Forbid(rule)) => Decision::no(Reason::DenyRule(rule)),
            Some(Answer::Nothing) => Decision::no(why_nothing(place, false)),
            Some(Answer::Failed) | None => Decision::no(Reason::Evaluation),
        }
    }
}
