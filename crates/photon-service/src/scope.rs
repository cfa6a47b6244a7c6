//! Where things are, and whether they may be made and seen there. Everything is decided at the project.

use photon_auth::Context;
use photon_authz::{Scope, Visible};
use photon_core::{Error, Name};
use photon_server::Mode;

/// An org and one of its projects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Home {
    /// The org.
    pub org: Name,
    /// Its project.
    pub project: Name,
}

/// Whose things a request is about: what is given narrows.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// Only this org's.
    pub org: Option<Name>,
    /// Only this project's.
    pub project: Option<Name>,
}

impl Home {
    /// Where it is decided what may be done there.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::Project(self.project.clone())
    }

    /// What the keys of its records begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}/{}/", self.org, self.project)
    }
}

impl Owner {
    /// Whether a thing of this org and project is meant.
    #[must_use]
    pub fn is(&self, org: &Name, project: &Name) -> bool {
        self.org.as_ref().is_none_or(|wanted| wanted == org)
            && self.project.as_ref().is_none_or(|wanted| wanted == project)
    }

    /// What the keys of all that is meant begin with.
    #[must_use]
    pub fn prefix(&self, ctx: &Context) -> String {
        let known = match (&self.org, &self.project, ctx.auth().mode()) {
            // Dev mode takes a project in any org: there may be several of one id.
            (None, Some(project), Mode::Enforce) => ctx.auth().policies().org_of(project).cloned(),
            (org, _, _) => org.clone(),
        };
        match (known, &self.project) {
            (Some(org), Some(project)) => format!("{org}/{project}/"),
            (Some(org), None) => format!("{org}/"),
            (None, _) => String::new(),
        }
    }
}

/// Lets a request make something in a project. In enforce mode that must be there, and be one of the org's; dev mode takes
/// both as they come.
///
/// # Errors
/// 403, 503; 400 naming `project_id`.
pub fn allow_new(ctx: &Context, home: &Home) -> Result<(), Error> {
    ctx.allow(&home.scope())?;
    if ctx.auth().mode() == Mode::Dev {
        return Ok(());
    }
    let policies = ctx.auth().policies();
    let project = &home.project;
    match policies.project(project) {
        Some(known) if known.org == home.org && !known.disabled => Ok(()),
        Some(known) if known.org == home.org => Err(Error::failed_precondition(format!(
            "project {project} is disabled"
        ))),
        // One of another org is none of the caller's.
        _ => Err(Error::validation(
            "project_id",
            "exists",
            format!("project_id {project} is no project of org {}", home.org),
        )),
    }
}

/// Lets a request go on about a thing that was found, or not: whoever may not see it is told that there is none, and so is
/// whoever means another owner's.
///
/// # Errors
/// 404, 403, 503.
pub fn allow_found<T>(
    ctx: &Context,
    found: Option<T>,
    home: impl FnOnce(&T) -> Home,
    what: &str,
) -> Result<T, Error> {
    // One that is not there is looked for at the system, so that nobody learns which there are.
    let scope = found
        .as_ref()
        .map_or(Scope::System, |found| home(found).scope());
    ctx.allow_hidden(&scope, what)?;
    found.ok_or_else(|| Error::not_found(what))
}

/// Whether something in a project may be seen.
#[must_use]
pub fn is_visible(ctx: &Context, visible: &Visible, project: &Name) -> bool {
    visible.project(project, ctx.auth().policies().org_of(project))
}
