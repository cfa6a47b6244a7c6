//! Scopes as callers name them: `project:shop`, or the guide's bare id.

use photon_auth::Context;
use photon_authz::{Org, Policies, Project, Scope, Visible};
use photon_core::{Error, Name};
use photon_store::{Record as _, Transaction};

use crate::{app::App, contention::Lost, org, project};

/// The bare id of [`Scope::System`]; no org and no project has it.
pub(crate) const SYSTEM: &str = "system";

/// Where dev mode puts a project that is used before anybody made it.
const DEFAULT_ORG: &str = "default";

/// The org in which dev mode makes a project that is used before anybody made it.
pub(crate) fn default_org() -> Result<Name, Error> {
    Name::new(DEFAULT_ORG).map_err(Error::internal)
}

/// What a bare id means, if there is such a thing.
pub(crate) async fn resolve(app: &App, id: &Name) -> Result<Option<Scope>, Error> {
    if id.as_str() == SYSTEM {
        return Ok(Some(Scope::System));
    }
    let Some(entry) = app
        .store
        .get_raw(&format!("/photon/iam/id/scope/{id}"))
        .await?
    else {
        return Ok(None);
    };
    let path = String::from_utf8_lossy(&entry.value);
    if path.starts_with(Org::ROOT) {
        Ok(Some(Scope::Org(id.clone())))
    } else if path.starts_with(Project::ROOT) {
        Ok(Some(Scope::Project(id.clone())))
    } else {
        let odd = format!("the index of scope {id} leads to {path}");
        Err(Error::internal(odd))
    }
}

/// Sees to it that a scope is there: in dev mode it is made, marked implicit.
///
/// # Errors
/// In enforce mode 404 for what there is not.
pub(crate) async fn ensure(app: &App, ctx: &Context, scope: &Scope) -> Result<(), Error> {
    match scope {
        Scope::System => Ok(()),
        Scope::Org(id) => org::service::ensure(app, Some(ctx), id).await,
        Scope::Project(id) => project::service::ensure(app, Some(ctx), id).await.map(drop),
    }
}

/// Requires, in a transaction, that a scope is there, is live, and stays so: nothing is hung on what is being deleted.
pub(crate) async fn require_live(
    app: &App,
    transaction: &mut Transaction,
    scope: &Scope,
) -> Result<(), Lost> {
    match scope {
        Scope::System => Ok(()),
        Scope::Org(id) => require_live_org(app, transaction, id).await,
        Scope::Project(id) => {
            let projects = app.records::<Project>();
            let project = projects.get(id.as_str()).await?;
            let project = project.ok_or_else(|| Error::not_found(format!("project {id}")))?;
            if project.value.disabled {
                return Err(disabled(format!("project {id}")));
            }
            transaction.unchanged(&projects, &project)?;
            require_live_org(app, transaction, &project.value.org).await
        }
    }
}

async fn require_live_org(app: &App, transaction: &mut Transaction, id: &Name) -> Result<(), Lost> {
    let orgs = app.records::<Org>();
    let org = orgs.get(id.as_str()).await?;
    let org = org.ok_or_else(|| Error::not_found(format!("org {id}")))?;
    if org.value.disabled {
        return Err(disabled(format!("org {id}")));
    }
    transaction.unchanged(&orgs, &org)?;
    Ok(())
}

fn disabled(what: String) -> Lost {
    Error::failed_precondition(format!("{what} is disabled")).into()
}

/// The scope of what belongs to an org, or to the system.
pub(crate) fn home(org: Option<&Name>) -> Scope {
    org.map_or(Scope::System, |org| Scope::Org(org.clone()))
}

/// What a scope is called in an answer: `org acme`, `project shop`, `the system`.
pub(crate) fn named(scope: &Scope) -> String {
    scope.id().map_or_else(
        || "the system".to_owned(),
        |id| format!("{} {id}", scope.kind()),
    )
}

/// Whether something at a scope may be seen.
pub(crate) fn is_visible(policies: &Policies, visible: &Visible, at: &Scope) -> bool {
    match at {
        Scope::System => visible.all,
        Scope::Org(id) => visible.org(id),
        Scope::Project(id) => visible.project(id, policies.org_of(id)),
    }
}

/// Whether `inner` is `outer` or lies within it.
pub(crate) fn contains(policies: &Policies, outer: &Scope, inner: &Scope) -> bool {
    policies.contains(outer, inner)
}

/// Refuses an id for an org or a project that means something else.
pub(crate) fn refuse_reserved(id: &Name) -> Result<(), Error> {
    if id.as_str() == SYSTEM {
        return Err(Error::validation(
            "id",
            "reserved",
            "id must not be \"system\": that names the scope above all orgs",
        ));
    }
    Ok(())
}
