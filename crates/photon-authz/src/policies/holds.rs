//! What a principal holds for itself and could pass on: the ground of the rule that nobody gives what they do not have.

use jiff::Timestamp;

use super::{
    Policies,
    place::{Place, level},
    slice::{Grant, built_in},
};
use crate::{
    PermissionPattern, PrincipalRef, Role, Scope,
    condition::{Moment, micros},
    role::Compiled,
};

impl Policies {
    /// Whether a principal holds all that a pattern means at a scope, without a condition and at least until then
    /// (`None`: for ever).
    ///
    /// Never wrongly yes. It is no if a deny rule about the principal or one of its groups touches the pattern at, above
    /// or below the scope; rules about everybody bind whoever receives it, too, and do not count. It may be no where
    /// only several patterns together would justify a yes.
    #[must_use]
    pub fn holds(
        &self,
        principal: &PrincipalRef,
        scope: &Scope,
        pattern: &PermissionPattern,
        until: Option<Timestamp>,
    ) -> bool {
        self.holds_part(principal, scope, pattern, &[], until)
    }

    /// Whether a principal holds all that a role allows, in the same sense: its exceptions taken off, what it includes
    /// taken in.
    #[must_use]
    pub fn holds_role(
        &self,
        principal: &PrincipalRef,
        scope: &Scope,
        role: &Role,
        until: Option<Timestamp>,
    ) -> bool {
        role.parts().into_iter().all(|part| {
            let mut patterns = part.permissions.iter();
            patterns.all(|pattern| self.holds_part(principal, scope, pattern, &part.except, until))
        })
    }

    /// What a principal was given, directly and by its groups, and where; expired bindings left out, conditions not
    /// asked. An upper bound: what roles leave out is not taken off the patterns.
    #[must_use]
    pub fn grants_of(
        &self,
        principal: &PrincipalRef,
        now: Timestamp,
    ) -> Vec<(Scope, Vec<PermissionPattern>)> {
        let moment = Moment::at(now);
        self.all_grants(principal)
            .filter(|grant| !grant.has_expired(moment))
            .map(|grant| {
                let scope = grant.binding.as_ref().map(|binding| binding.scope.clone());
                let parts = grant.role.role.parts().into_iter();
                let patterns = parts.flat_map(|part| part.permissions.iter().cloned());
                (scope.unwrap_or(Scope::System), patterns.collect())
            })
            .collect()
    }

    /// Whether a principal has a binding at the scope or above it, itself or by a group, that has not expired.
    /// Conditions are not asked. In a scope that is not there only bindings at the system count.
    #[must_use]
    pub fn has_binding_at(&self, principal: &PrincipalRef, scope: &Scope, now: Timestamp) -> bool {
        let place = self.place(scope);
        let moment = Moment::at(now);
        self.build(principal, &place)
            .grants
            .iter()
            .any(|grant| !grant.has_expired(moment) && (place.known || grant.level >= place.least))
    }

    fn all_grants<'a>(&'a self, principal: &'a PrincipalRef) -> impl Iterator<Item = Grant> + 'a {
        self.subjects_of(principal)
            .into_iter()
            .filter_map(move |subject| self.subjects.get(subject))
            .flat_map(|subject| &subject.bindings)
            .filter_map(move |binding| {
                let place = self.place(&binding.scope);
                let there = place.known || level(&binding.scope) >= place.least;
                there.then(|| self.grant(binding, place.org)).flatten()
            })
            .chain(built_in(principal))
    }

    fn holds_part(
        &self,
        principal: &PrincipalRef,
        scope: &Scope,
        pattern: &PermissionPattern,
        less: &[PermissionPattern],
        until: Option<Timestamp>,
    ) -> bool {
        if self.state_of(principal).is_some_and(|state| state.disabled) {
            return false;
        }
        let place = self.place(scope);
        let slice = self.build(principal, &place);
        slice
            .grants
            .iter()
            .any(|grant| gives(grant, &place, until, pattern, less))
            && !self.is_restricted(&slice.subjects().collect::<Vec<_>>(), scope, pattern)
    }

    /// Whether a deny rule about one of them touches the pattern where it matters.
    fn is_restricted(
        &self,
        subjects: &[&PrincipalRef],
        scope: &Scope,
        pattern: &PermissionPattern,
    ) -> bool {
        self.denies.values().any(|rule| {
            rule.principal
                .as_ref()
                .is_some_and(|whom| subjects.contains(&whom))
                && (self.contains(&rule.scope, scope) || self.contains(scope, &rule.scope))
                && rule
                    .permissions
                    .iter()
                    .any(|denied| denied.intersection(pattern).is_some())
        })
    }
}

/// Whether one grant covers it for that long.
fn gives(
    grant: &Grant,
    place: &Place<'_>,
    until: Option<Timestamp>,
    pattern: &PermissionPattern,
    less: &[PermissionPattern],
) -> bool {
    let lasts = match grant
        .binding
        .as_ref()
        .and_then(|binding| binding.expires_at)
    {
        None => true,
        Some(end) => until.is_some_and(|until| micros(until) <= micros(end)),
    };
    lasts
        && grant.condition().is_none()
        && (place.known || grant.level >= place.least)
        && covers(&grant.role, pattern, less)
}

fn covers(role: &Compiled, pattern: &PermissionPattern, less: &[PermissionPattern]) -> bool {
    role.parts.iter().any(|part| part.covers(pattern, less))
}
