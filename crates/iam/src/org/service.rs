//! The use cases of orgs.

use photon_auth::Context;
use photon_authz::{Group, Org, Project, Role, Scope};
use photon_core::{Error, Name};
use photon_store::Stored;
use tokio::time::Instant;

use super::{NewOrg, OrgChange};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, PATIENCE, contended, contended_until},
    ids::made_up,
    init::ROOT_ORG,
    listing::{self, Ask, Listing},
    removal, scope,
    user::User,
    versioned::{Versioned, expect},
};

fn named(id: &Name) -> String {
    format!("org {id}")
}

fn act(id: &Name) -> Act {
    Act::new("org", id.as_str(), Scope::Org(id.clone()))
}

/// Makes an org, or makes an implicit one its own.
pub async fn create(app: &App, ctx: &Context, new: NewOrg) -> Result<Versioned<Org>, Error> {
    ctx.allow(&Scope::System)?;
    let org = Org {
        id: new.id.map_or_else(|| made_up("org"), Ok)?,
        name: new.name.into(),
        implicit: false,
        disabled: false,
        created_at: clock::now(),
    };
    scope::refuse_reserved(&org.id)?;
    contended(ctx, || try_create(app, ctx, &org)).await
}

async fn try_create(app: &App, ctx: &Context, org: &Org) -> Result<Versioned<Org>, Lost> {
    let orgs = app.records::<Org>();
    let mut transaction = app.store.transaction();
    match orgs.get(org.id.as_str()).await? {
        Some(mut implicit) if implicit.value.implicit => {
            implicit.value = org.clone();
            transaction.replace(&orgs, &implicit)?;
        }
        Some(_) => return Err(Error::already_exists(named(&org.id)).into()),
        None => {
            transaction.create(&orgs, org.id.as_str(), org)?;
        }
    }
    match app.publish_new(ctx, transaction, act(&org.id)).await {
        Ok(revision) => Ok(Versioned::new(org.clone(), revision)),
        Err(photon_store::Error::AlreadyExists { .. }) => Err(taken(app, &org.id).await?),
        Err(error) => Err(error.into()),
    }
}

/// Why an id for an org is taken: by a project, or by an org that somebody else made just now.
async fn taken(app: &App, id: &Name) -> Result<Lost, Lost> {
    Ok(match scope::resolve(app, id).await? {
        Some(Scope::Project(_)) => {
            Error::already_exists(format!("a project with the id {id}")).into()
        }
        _ => Lost::Race,
    })
}

/// Sees to it that an org is there; dev mode makes it. A request may have asked for it.
pub(crate) async fn ensure(app: &App, ctx: Option<&Context>, id: &Name) -> Result<(), Error> {
    if app.records::<Org>().get(id.as_str()).await?.is_some() {
        return Ok(());
    }
    if !app.is_dev() {
        return Err(Error::not_found(named(id)));
    }
    scope::refuse_reserved(id)?;
    let deadline = ctx.map_or_else(|| Instant::now() + PATIENCE, |ctx| ctx.deadline);
    contended_until(deadline, || try_make_implicit(app, ctx, id)).await
}

async fn try_make_implicit(app: &App, ctx: Option<&Context>, id: &Name) -> Result<(), Lost> {
    match scope::resolve(app, id).await? {
        Some(Scope::Org(_)) => return Ok(()), // somebody else was first
        Some(_) => {
            return Err(Error::already_exists(format!("a project with the id {id}")).into());
        }
        None => {}
    }
    let org = Org {
        id: id.clone(),
        name: id.to_string(),
        implicit: true,
        disabled: false,
        created_at: clock::now(),
    };
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), id.as_str(), &org)?;
    app.publish_implicit(ctx, transaction, act(id), "iam.orgs.create")
        .await?;
    tracing::info!(org = %id, "made an org on first use");
    Ok(())
}

/// Reads an org.
pub async fn get(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<Org>, Error> {
    ctx.allow_hidden(&Scope::Org(id.clone()), named(id))?;
    Ok(read(app, id).await?.into())
}

async fn read(app: &App, id: &Name) -> Result<Stored<Org>, Error> {
    let org = app.records().get(id.as_str()).await?;
    org.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the orgs the caller may see.
pub async fn list(app: &App, ctx: &Context, ask: &Ask) -> Result<Listing<Org>, Error> {
    let visible = ctx.visible()?;
    let keep = |org: &Org| visible.org(&org.id);
    listing::list(&app.records(), "", ask, keep).await
}

/// Changes an org.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &OrgChange,
    expected: Option<i64>,
) -> Result<Versioned<Org>, Error> {
    ctx.allow_hidden(&Scope::Org(id.clone()), named(id))?;
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &OrgChange,
    expected: Option<i64>,
) -> Result<Versioned<Org>, Lost> {
    let mut org = read(app, id).await?;
    expect(&org, expected)?;
    let before = org.value.clone();
    if let Some(name) = &change.name {
        org.value.name = name.as_str().to_owned();
    }
    if let Some(disabled) = change.disabled {
        org.value.disabled = disabled;
    }
    if org.value == before {
        return Ok(org.into());
    }
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &org)?;
    let act = act(id).changed(&before, &org.value);
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(org.value, revision))
}

/// Deletes an org that nothing belongs to, and the bindings and deny rules at it.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Error> {
    ctx.allow_hidden(&Scope::Org(id.clone()), named(id))?;
    let org = read(app, id).await?;
    if id.as_str() == ROOT_ORG {
        let stays = format!("org {id} is that of whoever runs the suite: it cannot be deleted");
        return Err(Error::failed_precondition(stays));
    }
    expect(&org, expected)?;
    refuse_used(app, id).await?;
    // From here on nothing new can be hung on it: whatever belongs to an org is made in a transaction that requires it to
    // be live.
    let was_disabled = org.value.disabled;
    contended(ctx, || set_disabled(app, ctx, id, true)).await?;
    if let Err(used) = refuse_used(app, id).await {
        contended(ctx, || set_disabled(app, ctx, id, was_disabled)).await?;
        return Err(used);
    }
    let here = Scope::Org(id.clone());
    let because = act(id);
    removal::bindings(app, ctx, &because, |binding| binding.scope == here).await?;
    removal::deny_rules(app, ctx, &because, |rule| rule.scope == here).await?;
    contended(ctx, || try_delete(app, ctx, id)).await
}

async fn set_disabled(app: &App, ctx: &Context, id: &Name, disabled: bool) -> Result<(), Lost> {
    let mut org = read(app, id).await?;
    org.value.disabled = disabled;
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &org)?;
    app.publish(ctx, transaction, act(id)).await?;
    Ok(())
}

async fn try_delete(app: &App, ctx: &Context, id: &Name) -> Result<i64, Lost> {
    let org = read(app, id).await?;
    if !org.value.disabled {
        return Err(Error::conflict("somebody enabled the org while it was being deleted").into());
    }
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &org)?;
    Ok(app.publish(ctx, transaction, act(id)).await?)
}

/// Refuses to delete an org that something belongs to.
async fn refuse_used(app: &App, id: &Name) -> Result<(), Error> {
    let what = if listing::any(&app.records(), |project: &Project| project.org == *id).await? {
        "projects"
    } else if listing::any(&app.records(), |user: &User| user.org.as_ref() == Some(id)).await? {
        "users"
    } else if listing::any(&app.records(), |group: &Group| {
        group.org.as_ref() == Some(id)
    })
    .await?
    {
        "groups"
    } else if listing::any(&app.records(), |role: &Role| role.org.as_ref() == Some(id)).await? {
        "roles"
    } else {
        return Ok(());
    };
    Err(Error::failed_precondition(format!(
        "org {id} still has {what}: delete them first"
    )))
}
