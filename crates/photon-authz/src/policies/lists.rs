//! Where a principal may do something: what a list shows.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;
use photon_core::Name;

use super::{Policies, Question};
use crate::{Permission, PrincipalRef, Scope};

/// Where something is allowed. Ask [`Visible::org`] and [`Visible::project`]: the sets alone do not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visible {
    /// At the system, and so everywhere but in what is excepted.
    pub all: bool,
    /// In these orgs and their projects, but not in what is excepted.
    pub orgs: BTreeSet<Name>,
    /// In these projects.
    pub projects: BTreeSet<Name>,
    /// Not in these orgs and their projects.
    pub except_orgs: BTreeSet<Name>,
    /// Not in these projects.
    pub except_projects: BTreeSet<Name>,
}

impl Visible {
    /// Everything, without exception: what the operator of dev mode sees.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Whether it is allowed in nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.orgs.is_empty() && self.projects.is_empty()
    }

    /// Whether it is allowed at the org itself.
    #[must_use]
    pub fn org(&self, org: &Name) -> bool {
        !self.except_orgs.contains(org) && (self.all || self.orgs.contains(org))
    }

    /// Whether it is allowed at the project; its org, if it is known.
    #[must_use]
    pub fn project(&self, project: &Name, org: Option<&Name>) -> bool {
        if self.except_projects.contains(project) {
            return false;
        }
        let by_above = match org {
            Some(org) => self.org(org),
            None => self.all,
        };
        by_above || self.projects.contains(project)
    }
}

impl Policies {
    /// Where a principal may do something now; agrees with [`Policies::decide`] at every org and project there is.
    #[must_use]
    pub fn scopes_with(
        &self,
        principal: &PrincipalRef,
        permission: &Permission,
        now: Timestamp,
        source: Option<IpAddr>,
    ) -> Visible {
        let allowed = |scope: &Scope| {
            self.decide_in_passing(&Question {
                principal,
                permission,
                scope,
                now,
                source,
                limit: None,
            })
            .is_allowed()
        };
        let mut visible = Visible {
            all: allowed(&Scope::System),
            ..Visible::default()
        };
        for scope in self.scopes_bound(principal) {
            match scope {
                Scope::Org(id) if allowed(scope) => visible.orgs.insert(id.clone()),
                Scope::Project(id) if allowed(scope) => visible.projects.insert(id.clone()),
                _ => false,
            };
        }
        if visible.all || !visible.orgs.is_empty() {
            for scope in self.scopes_closed_to_some() {
                match scope {
                    Scope::Org(id) if visible.org(id) && !allowed(scope) => {
                        visible.except_orgs.insert(id.clone())
                    }
                    Scope::Project(id)
                        if visible.project(id, self.org_of(id)) && !allowed(scope) =>
                    {
                        visible.except_projects.insert(id.clone())
                    }
                    _ => false,
                };
            }
        }
        visible
    }

    /// What of it is left to a bearer of a token for `limit`.
    #[must_use]
    pub fn within_limit(&self, visible: Visible, limit: &Scope) -> Visible {
        match limit {
            Scope::System => visible,
            Scope::Org(org) => {
                let here = visible.org(org);
                Visible {
                    all: false,
                    orgs: here.then(|| org.clone()).into_iter().collect(),
                    projects: visible
                        .projects
                        .into_iter()
                        .filter(|project| self.org_of(project) == Some(org))
                        .collect(),
                    except_orgs: BTreeSet::new(),
                    except_projects: visible.except_projects,
                }
            }
            Scope::Project(project) => {
                let here = visible.project(project, self.org_of(project));
                Visible {
                    projects: here.then(|| project.clone()).into_iter().collect(),
                    ..Visible::default()
                }
            }
        }
    }

    /// The scopes at which a principal or one of its groups has a binding.
    fn scopes_bound<'a>(&'a self, principal: &'a PrincipalRef) -> BTreeSet<&'a Scope> {
        self.subjects_of(principal)
            .into_iter()
            .flat_map(|subject| self.bindings_of(subject))
            .map(|binding| &binding.scope)
            .collect()
    }

    /// The scopes at which less may be allowed than above them: orgs first.
    fn scopes_closed_to_some(&self) -> BTreeSet<&Scope> {
        self.disabled.iter().chain(self.denies_at.keys()).collect()
    }
}
