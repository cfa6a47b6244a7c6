//! The use cases of projects.

use photon_auth::Context;
use photon_authz::{Project, Scope};
use photon_core::{Error, Name};
use photon_store::{Record as _, Stored};
use tokio::time::Instant;

use super::{NewProject, ProjectChange, ProjectFilter, retired};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, PATIENCE, contended, contended_until},
    ids::made_up,
    listing::{self, Ask, Listing},
    org, principal, removal, scope, service_account,
    versioned::{Versioned, expect},
};

/// Where index keys of names lie.
const NAMES: &str = "/photon/iam/name/";

fn named(id: &Name) -> String {
    format!("project {id}")
}

fn act(id: &Name) -> Act {
    Act::new("project", id.as_str(), Scope::Project(id.clone()))
}

/// Makes a project, or makes an implicit one its own. In dev mode its org is made too, if it is not there.
pub async fn create(
    app: &App,
    ctx: &Context,
    new: NewProject,
) -> Result<Versioned<Project>, Error> {
    ctx.allow_hidden(&Scope::Org(new.org.clone()), format!("org {}", new.org))?;
    let now = clock::now();
    let project = Project {
        id: new.id.map_or_else(|| made_up("prj"), Ok)?,
        org: new.org,
        name: new.name.into(),
        implicit: false,
        disabled: false,
        // Tokens for an earlier project of this id stay refused.
        epoch: now.as_second(),
        created_at: now,
    };
    scope::refuse_reserved(&project.id)?;
    org::service::ensure(app, Some(ctx), &project.org).await?;
    contended(ctx, || try_create(app, ctx, &project)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    project: &Project,
) -> Result<Versioned<Project>, Lost> {
    let projects = app.records::<Project>();
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, &Scope::Org(project.org.clone())).await?;
    retired::require_own(app, &mut transaction, project).await?;
    let mut project = project.clone();
    match projects.get(project.id.as_str()).await? {
        Some(mut implicit) if implicit.value.implicit => {
            // Its tokens are in use.
            project.epoch = implicit.value.epoch;
            implicit.value = project.clone();
            transaction.replace(&projects, &implicit)?;
        }
        Some(_) => return Err(Error::already_exists(named(&project.id)).into()),
        None => {
            transaction.create(&projects, project.id.as_str(), &project)?;
        }
    }
    match app.publish_new(ctx, transaction, act(&project.id)).await {
        Ok(revision) => Ok(Versioned::new(project, revision)),
        Err(photon_store::Error::AlreadyExists { key }) => Err(taken(&project, &key)),
        Err(error) => Err(error.into()),
    }
}

/// What of a project is taken, by the key that is.
fn taken(project: &Project, key: &str) -> Lost {
    if key.starts_with(NAMES) {
        let what = format!("a project named {:?} in org {}", project.name, project.org);
        Error::already_exists(what).into()
    } else if key.starts_with("/photon/iam/id/") {
        let what = format!("an org or project with the id {}", project.id);
        Error::already_exists(what).into()
    } else {
        Lost::Race
    }
}

/// Sees to it that a project is there, and returns it; dev mode makes it, in an org of its own for such ones. A request
/// may have asked for it.
pub(crate) async fn ensure(app: &App, ctx: Option<&Context>, id: &Name) -> Result<Project, Error> {
    if let Some(project) = app.records::<Project>().get(id.as_str()).await? {
        return Ok(project.value);
    }
    if !app.is_dev() {
        return Err(Error::not_found(named(id)));
    }
    scope::refuse_reserved(id)?;
    let org = scope::default_org()?;
    org::service::ensure(app, ctx, &org).await?;
    let now = clock::now();
    let project = Project {
        id: id.clone(),
        org,
        name: id.to_string(),
        implicit: true,
        disabled: false,
        epoch: now.as_second(),
        created_at: now,
    };
    let deadline = ctx.map_or_else(|| Instant::now() + PATIENCE, |ctx| ctx.deadline);
    contended_until(deadline, || try_make_implicit(app, ctx, &project)).await
}

async fn try_make_implicit(
    app: &App,
    ctx: Option<&Context>,
    project: &Project,
) -> Result<Project, Lost> {
    let projects = app.records::<Project>();
    if let Some(there) = projects.get(project.id.as_str()).await? {
        return Ok(there.value); // somebody else was first
    }
    if let Some(Scope::Org(id)) = scope::resolve(app, &project.id).await? {
        return Err(Error::already_exists(format!("an org with the id {id}")).into());
    }
    let project = with_free_name(app, project.clone()).await?;
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, &Scope::Org(project.org.clone())).await?;
    retired::require_own(app, &mut transaction, &project).await?;
    transaction.create(&projects, project.id.as_str(), &project)?;
    app.publish_implicit(ctx, transaction, act(&project.id), "iam.projects.create")
        .await?;
    tracing::info!(project = %project.id, "made a project on first use");
    Ok(project)
}

/// Somebody may have given the id of an implicit project to another project as its name.
async fn with_free_name(app: &App, mut project: Project) -> Result<Project, Error> {
    for key in project.index_keys(project.id.as_str()) {
        if key.starts_with(NAMES) && app.store.get_raw(&key).await?.is_some() {
            project.name = made_up("implicit")?.to_string();
        }
    }
    Ok(project)
}

/// Reads a project.
pub async fn get(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<Project>, Error> {
    ctx.allow_hidden(&Scope::Project(id.clone()), named(id))?;
    Ok(read(app, id).await?.into())
}

async fn read(app: &App, id: &Name) -> Result<Stored<Project>, Error> {
    let project = app.records().get(id.as_str()).await?;
    project.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the projects the caller may see.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &ProjectFilter,
    ask: &Ask,
) -> Result<Listing<Project>, Error> {
    let visible = ctx.visible()?;
    let keep = |project: &Project| {
        visible.project(&project.id, Some(&project.org))
            && filter.org.as_ref().is_none_or(|org| *org == project.org)
    };
    listing::list(&app.records(), "", ask, keep).await
}

/// Changes a project.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &ProjectChange,
    expected: Option<i64>,
) -> Result<Versioned<Project>, Error> {
    ctx.allow_hidden(&Scope::Project(id.clone()), named(id))?;
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &ProjectChange,
    expected: Option<i64>,
) -> Result<Versioned<Project>, Lost> {
    let mut project = read(app, id).await?;
    expect(&project, expected)?;
    let before = project.value.clone();
    if let Some(name) = &change.name {
        project.value.name = name.as_str().to_owned();
    }
    if let Some(disabled) = change.disabled
        && disabled != before.disabled
    {
        project.value.disabled = disabled;
        if disabled {
            project.value.epoch = principal::next_epoch(before.epoch);
        }
    }
    if project.value == before {
        return Ok(project.into());
    }
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &project)?;
    let act = act(id).changed(&before, &project.value);
    match app.publish(ctx, transaction, act).await {
        Ok(revision) => Ok(Versioned::new(project.value, revision)),
        Err(photon_store::Error::AlreadyExists { key }) => Err(taken(&project.value, &key)),
        Err(error) => Err(error.into()),
    }
}

/// Ends every token issued for a project so far. Decide before.
///
/// # Errors
/// 404 if there is no such project.
pub(crate) async fn revoke_tokens(app: &App, ctx: &Context, id: &Name) -> Result<i64, Error> {
    contended(ctx, || try_revoke_tokens(app, ctx, id)).await
}

async fn try_revoke_tokens(app: &App, ctx: &Context, id: &Name) -> Result<i64, Lost> {
    let mut project = read(app, id).await?;
    project.value.epoch = principal::next_epoch(project.value.epoch);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &project)?;
    Ok(app.publish(ctx, transaction, act(id)).await?)
}

/// Deletes a project with what hangs on it; see the picture above.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let here = Scope::Project(id.clone());
    ctx.allow_hidden(&here, named(id))?;
    let epoch = contended(ctx, || try_close(app, ctx, id, expected)).await?;
    service_account::service::remove_all(app, ctx, id).await?;
    let because = act(id);
    removal::bindings(app, ctx, &because, |binding| binding.scope == here).await?;
    removal::deny_rules(app, ctx, &because, |rule| rule.scope == here).await?;
    // A project of the same id that is made next begins with the second it is made in. It must not be one in which
    // tokens for this one were issued.
    clock::reach(epoch).await;
    contended(ctx, || try_delete(app, ctx, id)).await
}

/// Disables a project that is being deleted, and ends its tokens: those from before the epoch that is returned.
async fn try_close(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let mut project = read(app, id).await?;
    expect(&project, expected)?;
    let before = project.value.clone();
    project.value.disabled = true;
    project.value.epoch = principal::next_epoch(project.value.epoch);
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &project)?;
    let act = act(id).changed(&before, &project.value);
    app.publish(ctx, transaction, act).await?;
    Ok(project.value.epoch)
}

async fn try_delete(app: &App, ctx: &Context, id: &Name) -> Result<i64, Lost> {
    let project = read(app, id).await?;
    if !project.value.disabled {
        return Err(
            Error::conflict("somebody enabled the project while it was being deleted").into(),
        );
    }
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &project)?;
    retired::note(app, &mut transaction, &project.value).await?;
    let revision = app.publish(ctx, transaction, act(id)).await;
    revision.map_err(Lost::to_create)
}
