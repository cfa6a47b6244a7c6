//! What a token or certificate is checked against on every use: keys, revocations, and whether its principal and its
//! scope are alive.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use photon_authz::{PrincipalKind, PrincipalRef, Scope};
use photon_core::Name;

use crate::{
    keys::{Keys, VerifyingKey},
    token::{Refused, Verified},
};

/// The state of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) disabled: bool,
    /// Tokens issued before are refused.
    pub(crate) epoch: i64,
}

/// The state of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProjectState {
    pub(crate) org: Name,
    pub(crate) standing: Standing,
}

/// One thing to know, or (`None`) to know no more.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Key(String, Option<Arc<VerifyingKey>>),
    /// Whether it is.
    Revoked(String, bool),
    Principal(PrincipalRef, Option<Standing>),
    Project(Name, Option<ProjectState>),
    /// Whether it is disabled.
    Org(Name, Option<bool>),
}

/// The facts.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Shared, so that a signature can be checked without holding up who brings news.
    pub(crate) keys: Arc<Keys>,
    revoked: HashSet<String>,
    principals: HashMap<PrincipalRef, Standing>,
    projects: HashMap<Name, ProjectState>,
    orgs: HashMap<Name, bool>,
}

fn set<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl Known {
    pub(crate) fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::Key(kid, key) => set(Arc::make_mut(&mut self.keys), kid, key),
            Fact::Revoked(jti, true) => {
                self.revoked.insert(jti);
            }
            Fact::Revoked(jti, false) => {
                self.revoked.remove(&jti);
            }
            Fact::Principal(principal, state) => set(&mut self.principals, principal, state),
            Fact::Project(project, state) => set(&mut self.projects, project, state),
            Fact::Org(org, disabled) => set(&mut self.orgs, org, disabled),
        }
    }

    /// Whether a token whose signature was found good is to be believed now. `strict`: its principal must exist. Its
    /// project or org must in any case: with them go their tokens.
    pub(crate) fn check(&self, token: &Verified, strict: bool) -> Result<(), Refused> {
        let claims = &token.claims;
        // The same object: a key that was replaced vouches for nothing that the one before did.
        let key = self.keys.get(&token.key.kid);
        if !key.is_some_and(|key| Arc::ptr_eq(key, &token.key)) {
            return Err(Refused::UnknownKey);
        }
        let ids = [Some(&claims.jti), claims.sid.as_ref()];
        if ids
            .into_iter()
            .flatten()
            .any(|id| self.revoked.contains(id))
        {
            return Err(Refused::Revoked);
        }
        self.check_principal(&token.principal, Some(claims.iat), strict)?;
        self.check_scope(&token.limit, claims.iat)
    }

    /// Whether a principal may act. `issued_at`: when its credential was made, if that is a token.
    ///
    /// Services of the suite need no record: the authority that issued their certificates vouches for them.
    pub(crate) fn check_principal(
        &self,
        principal: &PrincipalRef,
        issued_at: Option<i64>,
        strict: bool,
    ) -> Result<(), Refused> {
        match self.principals.get(principal) {
            Some(standing) if standing.disabled => Err(Refused::PrincipalDisabled),
            Some(standing) if issued_at.is_some_and(|at| at < standing.epoch) => {
                Err(Refused::PrincipalEpoch)
            }
            None if strict && principal.kind != PrincipalKind::Service => {
                Err(Refused::PrincipalUnknown)
            }
            _ => Ok(()),
        }
    }

    fn check_scope(&self, scope: &Scope, issued_at: i64) -> Result<(), Refused> {
        match scope {
            Scope::System => Ok(()),
            Scope::Org(org) => self.check_org(org),
            Scope::Project(project) => match self.projects.get(project) {
                Some(state) if issued_at < state.standing.epoch => Err(Refused::ProjectEpoch),
                Some(state) if state.standing.disabled => Err(Refused::ScopeDisabled),
                Some(state) => self.check_org(&state.org),
                None => Err(Refused::ScopeUnknown),
            },
        }
    }

    fn check_org(&self, org: &Name) -> Result<(), Refused> {
        match self.orgs.get(org) {
            Some(true) => Err(Refused::ScopeDisabled),
            Some(false) => Ok(()),
            None => Err(Refused::ScopeUnknown),
        }
    }

    /// Whether work may go on for a project.
    pub(crate) fn is_live(&self, project: &Name) -> bool {
        self.projects.get(project).is_some_and(|state| {
            !state.standing.disabled && self.orgs.get(&state.org) == Some(&false)
        })
    }
}
