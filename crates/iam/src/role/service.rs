//! The use cases of roles.

use photon_auth::Context;
use photon_authz::{Binding, Policies, Role, Scope, Visible, built_in, built_in_roles};
use photon_core::{Error, Name};
use photon_store::Stored;

use super::{NewRole, RoleChange, RoleFilter};
use crate::{
    app::App,
    audit::Act,
    contention::{Lost, contended},
    escalation,
    listing::{self, Ask, Listing},
    removal, scope,
    versioned::{Versioned, expect},
};

/// What the revision of a built-in role is: it never changes.
const BUILT_IN_REVISION: i64 = 0;

/// Before the rows that are not stored, in a page's position. No id has a colon.
const NOT_STORED: &str = "built-in:";

fn named(id: &Name) -> String {
    format!("role {id}")
}

fn home(role: &Role) -> Scope {
    scope::home(role.org.as_ref())
}

fn act(role: &Role) -> Act {
    Act::new("role", role.id.as_str(), home(role))
}

/// A role that is made, with what it allows.
fn of_new(role: &Role) -> Act {
    let nothing = Role {
        permissions: Vec::new(),
        ..role.clone()
    };
    act(role).changed(&nothing, role)
}

/// Makes a role.
pub async fn create(app: &App, ctx: &Context, new: NewRole) -> Result<Versioned<Role>, Error> {
    let home = scope::home(new.org.as_ref());
    ctx.allow_hidden(&home, scope::named(&home))?;
    let role = Role {
        id: new.id,
        org: new.org,
        title: new.title.map(Into::into).unwrap_or_default(),
        permissions: new.permissions,
        except: Vec::new(),
        includes: Vec::new(),
    };
    role.check()?;
    escalation::must_hold_role(app, ctx, &home, &role, None)?;
    scope::ensure(app, ctx, &home).await?;
    contended(ctx, || try_create(app, ctx, &role, &home)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    role: &Role,
    home: &Scope,
) -> Result<Versioned<Role>, Lost> {
    let roles = app.records::<Role>();
    if roles.get(role.id.as_str()).await?.is_some() {
        return Err(Error::already_exists(named(&role.id)).into());
    }
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, home).await?;
    transaction.create(&roles, role.id.as_str(), role)?;
    let revision = app.publish_new(ctx, transaction, of_new(role)).await;
    Ok(Versioned::new(
        role.clone(),
        revision.map_err(Lost::to_create)?,
    ))
}

/// Reads a role, built in or not.
pub async fn get(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<Role>, Error> {
    let (visible, policies) = (ctx.visible()?, app.policies());
    let found = match built_in(id) {
        Some(role) => Some(Versioned::new(role.clone(), BUILT_IN_REVISION)),
        None => app.records().get(id.as_str()).await?.map(Into::into),
    };
    found
        .filter(|role: &Versioned<Role>| is_seen(&policies, &visible, &role.value))
        .ok_or_else(|| Error::not_found(named(id)))
}

/// Roles of the system are for everybody who may see roles anywhere; those of an org for whoever may in it, or in one of
/// its projects, where they can be given.
fn is_seen(policies: &Policies, visible: &Visible, role: &Role) -> bool {
    match &role.org {
        None => !visible.is_empty(),
        Some(org) => {
            let mut projects = visible.projects.iter();
            visible.org(org) || projects.any(|project| policies.org_of(project) == Some(org))
        }
    }
}

/// Lists the roles the caller may see, those built in first.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &RoleFilter,
    ask: &Ask,
) -> Result<Listing<Role>, Error> {
    let (visible, policies) = (ctx.visible()?, app.policies());
    let keep = |role: &Role| {
        is_seen(&policies, &visible, role) && (filter.org.is_none() || filter.org == role.org)
    };
    let mut first: Vec<(&str, Versioned<Role>)> = built_in_roles()
        .iter()
        .filter(|role| keep(role))
        .map(|role| {
            (
                role.id.as_str(),
                Versioned::new(role.clone(), BUILT_IN_REVISION),
            )
        })
        .collect();
    first.sort_by_key(|(id, _)| *id);
    listing::list_after(&app.records(), NOT_STORED, first, ask, keep).await
}

/// Changes a role, and with it what all its bindings give.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &RoleChange,
    expected: Option<i64>,
) -> Result<Versioned<Role>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

/// A role that is stored, if the caller may do what it asks for where it is at home.
async fn find(app: &App, ctx: &Context, id: &Name) -> Result<Stored<Role>, Error> {
    let role = app.records::<Role>().get(id.as_str()).await?;
    let home = role
        .as_ref()
        .map_or(Scope::System, |role| home(&role.value));
    ctx.allow_hidden(&home, named(id))?;
    if built_in(id).is_some() {
        return Err(Error::failed_precondition(format!(
            "role {id} is built in and stays as it is"
        )));
    }
    role.ok_or_else(|| Error::not_found(named(id)))
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &RoleChange,
    expected: Option<i64>,
) -> Result<Versioned<Role>, Lost> {
    let mut role = find(app, ctx, id).await?;
    expect(&role, expected)?;
    let before = role.value.clone();
    if let Some(title) = &change.title {
        title.as_str().clone_into(&mut role.value.title);
    }
    if let Some(permissions) = &change.permissions {
        role.value.permissions.clone_from(permissions);
    }
    if role.value == before {
        return Ok(role.into());
    }
    role.value.check()?;
    if role.value.permissions != before.permissions {
        escalation::must_hold_role(app, ctx, &home(&role.value), &role.value, None)?;
    }
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &role)?;
    let act = act(&role.value).changed(&before, &role.value);
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(role.value, revision))
}

/// Deletes a role that no binding gives.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let role = find(app, ctx, id).await?;
    expect(&role, expected)?;
    let given = |binding: &Binding| binding.role == *id;
    if listing::any(&app.records(), given).await? {
        return Err(Error::failed_precondition(format!(
            "role {id} is still given by bindings: delete them first"
        )));
    }
    let revision = contended(ctx, || try_delete(app, ctx, id)).await?;
    // A binding that was made while nobody looked gives nothing now, and must not give what a later role of this id does.
    removal::bindings(app, ctx, &act(&role.value), given).await?;
    Ok(revision)
}

async fn try_delete(app: &App, ctx: &Context, id: &Name) -> Result<i64, Lost> {
    let role = find(app, ctx, id).await?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &role)?;
    Ok(app.publish(ctx, transaction, act(&role.value)).await?)
}
