//! Where a scope lies: what is above it, whether it is there, and from how high up a binding must come to count in it.

use photon_core::Name;

use super::Policies;
use crate::Scope;

/// How high a scope is.
pub(crate) type Level = u8;
pub(crate) const PROJECT: Level = 0;
pub(crate) const ORG: Level = 1;
pub(crate) const SYSTEM: Level = 2;

pub(crate) fn level(scope: &Scope) -> Level {
    match scope {
        Scope::Project(_) => PROJECT,
        Scope::Org(_) => ORG,
        Scope::System => SYSTEM,
    }
}

/// A scope as a decision sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) scope: &'a Scope,
    /// The org that it is or belongs to, as far as known.
    pub(crate) org: Option<&'a Name>,
    /// Whether it and everything above it is there.
    pub(crate) known: bool,
    /// Whether it or its org is disabled.
    pub(crate) closed: bool,
    /// Bindings below this level do not count: those of a scope that is not there, and those at or below what is
    /// disabled.
    pub(crate) least: Level,
}

impl Policies {
    pub(crate) fn place<'a>(&'a self, scope: &'a Scope) -> Place<'a> {
        let (org, project) = match scope {
            Scope::System => {
                return Place {
                    scope,
                    org: None,
                    known: true,
                    closed: false,
                    least: PROJECT,
                };
            }
            Scope::Org(org) => (Some(org), None),
            Scope::Project(id) => {
                let project = self.projects.get(id);
                (project.map(|project| &project.org), project)
            }
        };
        let found = org.and_then(|org| self.orgs.get(org));
        let org_closed = found.is_some_and(|org| org.disabled);
        let project_closed = project.is_some_and(|project| project.disabled);
        Place {
            scope,
            org,
            known: found.is_some(),
            closed: org_closed || project_closed,
            least: match (found.is_some() && !org_closed, project_closed) {
                (false, _) => SYSTEM,
                (true, true) => ORG,
                (true, false) => PROJECT,
            },
        }
    }

    /// The org a project belongs to, if the project is known.
    #[must_use]
    pub fn org_of(&self, project: &Name) -> Option<&Name> {
        self.projects.get(project).map(|project| &project.org)
    }

    /// Whether `inner` is `outer` or lies within it.
    #[must_use]
    pub fn contains(&self, outer: &Scope, inner: &Scope) -> bool {
        match (outer, inner) {
            (Scope::System, _) => true,
            (Scope::Org(org), Scope::Project(project)) => self.org_of(project) == Some(org),
            (outer, inner) => outer == inner,
        }
    }
}
