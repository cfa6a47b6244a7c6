//! Where things are decided.
//!
//! What a project does with its credit is decided at the project. What brings credit in, or sets how much of anything there
//! may be, is decided at its org: who rules a project must not fill its wallet.

use photon_auth::Context;
use photon_authz::{Permission, Scope};
use photon_core::{Code, Error, Name};

/// Lets a request go on about a project's wallet; who may not see it is told that there is none.
///
/// # Errors
/// 404, 403, 503.
pub(crate) fn allow_in_project(ctx: &Context, project: &Name) -> Result<(), Error> {
    ctx.allow_hidden(&Scope::Project(project.clone()), wallet(project))
}

/// Lets a request go on that says what was used: the services that run things say it, at the system, and nobody who pays.
///
/// # Errors
/// 403, 503.
pub(crate) fn allow_to_meter(ctx: &Context) -> Result<(), Error> {
    ctx.allow(&Scope::System)
}

/// Lets a request go on that gives something to a project.
///
/// # Errors
/// 404, 403, 503.
pub(crate) fn allow_over_project(ctx: &Context, project: &Name) -> Result<(), Error> {
    ctx.allow(&over(ctx, project)).map_err(|error| {
        if error.code() == Code::FORBIDDEN && !may_see(ctx, project) {
            Error::not_found(wallet(project))
        } else {
            error
        }
    })
}

/// The scope above a project: its org, where IAM knows the project.
fn over(ctx: &Context, project: &Name) -> Scope {
    match ctx.auth().policies().org_of(project) {
        Some(org) => Scope::Org(org.clone()),
        None => Scope::Project(project.clone()),
    }
}

fn may_see(ctx: &Context, project: &Name) -> bool {
    Permission::new("creditservice.wallets.get").is_ok_and(|see| {
        ctx.allow_permission(&see, &Scope::Project(project.clone()))
            .is_ok()
    })
}

/// What is missing, in words.
pub(crate) fn wallet(project: &Name) -> String {
    format!("wallet of project {project}")
}
