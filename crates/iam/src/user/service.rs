//! The use cases of users.

use photon_auth::Context;
use photon_authz::{Policies, PrincipalRef, Scope};
use photon_core::{Error, Name};
use photon_store::Stored;

use super::{NewUser, User, UserChange, UserFilter, email};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    escalation,
    ids::made_up,
    listing::{self, Ask, Listing},
    principal, removal, scope,
    versioned::{Versioned, expect},
};

fn named(id: &Name) -> String {
    format!("user {id}")
}

fn home(user: &User) -> Scope {
    scope::home(user.org.as_ref())
}

fn act(user: &User) -> Act {
    Act::new("user", user.id.as_str(), home(user))
}

/// Makes a user. It may do nothing yet and has no credential.
pub async fn create(app: &App, ctx: &Context, new: NewUser) -> Result<Versioned<User>, Error> {
    let home = scope::home(new.org.as_ref());
    ctx.allow_hidden(&home, scope::named(&home))?;
    let now = clock::now();
    let user = User {
        id: new.id.map_or_else(|| made_up("usr"), Ok)?,
        name: new.name.into(),
        email: new.email.into(),
        org: new.org,
        disabled: false,
        created_at: now,
        updated_at: now,
    };
    scope::ensure(app, ctx, &home).await?;
    contended(ctx, || try_create(app, ctx, &user, &home)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    user: &User,
    home: &Scope,
) -> Result<Versioned<User>, Lost> {
    let users = app.records::<User>();
    if users.get(user.id.as_str()).await?.is_some() {
        return Err(Error::already_exists(named(&user.id)).into());
    }
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, home).await?;
    transaction.create(&users, user.id.as_str(), user)?;
    email::claim(app, &mut transaction, user).await?;
    let at_home = user.org.as_ref().map(|_| home.clone());
    principal::begin(app, &mut transaction, &principal::user(&user.id), at_home).await?;
    let revision = app.publish_new(ctx, transaction, act(user)).await;
    Ok(Versioned::new(
        user.clone(),
        revision.map_err(Lost::to_create)?,
    ))
}

/// Reads a user. Whoever asks about itself needs no permission.
pub async fn get(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<User>, Error> {
    let me = principal::user(id);
    if ctx.caller.is(&me) {
        ctx.allow_self();
        let user = app.records::<User>().get(id.as_str()).await?;
        let user = user.ok_or_else(|| Error::not_found(named(id)))?;
        return Ok(user.into());
    }
    Ok(find(app, ctx, id).await?.into())
}

/// A user, if the caller may do what it asks for where the user is at home.
pub(crate) async fn find(app: &App, ctx: &Context, id: &Name) -> Result<Stored<User>, Error> {
    let user = app.records::<User>().get(id.as_str()).await?;
    // One that is not there is looked for at the system, so that nobody learns who there is.
    let home = user
        .as_ref()
        .map_or(Scope::System, |user| home(&user.value));
    ctx.allow_hidden(&home, named(id))?;
    user.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the users the caller may see: those of its orgs, and those with a binding where it may look.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &UserFilter,
    ask: &Ask,
) -> Result<Listing<User>, Error> {
    let visible = ctx.visible()?;
    let at = match &filter.scope {
        Some(id) => Some(asked_scope(app, ctx, id).await?),
        None => None,
    };
    let policies = app.auth.policies();
    let keep = |user: &User| {
        let who = principal::user(&user.id);
        let seen = scope::is_visible(&policies, &visible, &home(user))
            || holds_somewhere(&policies, &who, |held| {
                scope::is_visible(&policies, &visible, held)
            });
        seen && at
            .as_ref()
            .is_none_or(|at| belongs(app, &policies, &who, at))
    };
    listing::list(&app.records(), "", ask, keep).await
}

/// What the filter's bare id means. In dev mode, where nothing need exist, an unknown one is a project.
async fn asked_scope(app: &App, ctx: &Context, id: &Name) -> Result<Scope, Error> {
    match scope::resolve(app, id).await? {
        Some(scope) => {
            ctx.allow_hidden(&scope, format!("scope {id}"))?;
            Ok(scope)
        }
        None if app.is_dev() => Ok(Scope::Project(id.clone())),
        None => Err(Error::not_found(format!("scope {id}"))),
    }
}

/// Whether a user has to do with a scope: by a binding at it, above it or in it. In dev mode, where everybody gets a token
/// for every scope, also by having no binding at all.
fn belongs(app: &App, policies: &Policies, who: &PrincipalRef, at: &Scope) -> bool {
    let near = |held: &Scope| policies.contains(held, at) || policies.contains(at, held);
    holds_somewhere(policies, who, near)
        || (app.is_dev() && !holds_somewhere(policies, who, |_| true))
}

fn holds_somewhere(
    policies: &Policies,
    who: &PrincipalRef,
    wanted: impl Fn(&Scope) -> bool,
) -> bool {
    let now = jiff::Timestamp::now();
    escalation::everything_of(policies, who)
        .iter()
        .filter(|binding| binding.expires_at.is_none_or(|end| end > now))
        .any(|binding| wanted(&binding.scope))
}

/// Changes a user.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &UserChange,
    expected: Option<i64>,
) -> Result<Versioned<User>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &UserChange,
    expected: Option<i64>,
) -> Result<Versioned<User>, Lost> {
    let mut user = find(app, ctx, id).await?;
    expect(&user, expected)?;
    let before = user.value.clone();
    if let Some(name) = &change.name {
        user.value.name = name.as_str().to_owned();
    }
    if let Some(email) = &change.email {
        user.value.email = email.as_str().to_owned();
    }
    if let Some(disabled) = change.disabled {
        user.value.disabled = disabled;
    }
    if user.value == before {
        return Ok(user.into());
    }
    user.value.updated_at = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &user)?;
    email::exchange(app, &mut transaction, &before, &user.value).await?;
    if user.value.disabled && !before.disabled {
        refuse_itself(ctx, id)?;
    }
    let act = act(&user.value).changed(&before, &user.value);
    let done = if user.value.disabled == before.disabled {
        app.commit(ctx, transaction, act).await
    } else {
        let who = principal::user(id);
        if !user.value.disabled {
            // As good as a new credential: those it has work again.
            escalation::must_hold_all_of(app, ctx, &who, None)?;
        }
        principal::set_disabled(app, &mut transaction, &who, user.value.disabled).await?;
        app.publish(ctx, transaction, act).await
    };
    // Somebody else may have taken the address just now.
    let revision = done.map_err(Lost::to_create)?;
    Ok(Versioned::new(user.value, revision))
}

/// Deletes a user with its credentials, bindings and memberships; its tokens end at once.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let who = principal::user(id);
    let closed = contended(ctx, || try_close(app, ctx, id, &who, expected)).await?;
    let because = act(&closed.value);
    removal::all_of_principal(app, ctx, &who, closed.revision, &because).await?;
    contended(ctx, || try_delete(app, ctx, id)).await
}

/// Nobody disables or deletes itself: what is to be done after that it could not do any more, and the last admin would lock
/// everybody out.
fn refuse_itself(ctx: &Context, id: &Name) -> Result<(), Error> {
    if ctx.caller.is(&principal::user(id)) {
        let message = format!("{} cannot disable or delete itself", named(id));
        return Err(Error::failed_precondition(message));
    }
    Ok(())
}

/// Disables a user that is being deleted: from here on it can be given nothing.
async fn try_close(
    app: &App,
    ctx: &Context,
    id: &Name,
    who: &PrincipalRef,
    expected: Option<i64>,
) -> Result<Versioned<User>, Lost> {
    let mut user = find(app, ctx, id).await?;
    expect(&user, expected)?;
    refuse_itself(ctx, id)?;
    let before = user.value.clone();
    user.value.disabled = true;
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &user)?;
    principal::set_disabled(app, &mut transaction, who, true).await?;
    let act = act(&user.value).changed(&before, &user.value);
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(user.value, revision))
}

async fn try_delete(app: &App, ctx: &Context, id: &Name) -> Result<i64, Lost> {
    let user = find(app, ctx, id).await?;
    if !user.value.disabled {
        return Err(Error::conflict("somebody enabled the user while it was being deleted").into());
    }
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &user)?;
    email::release(app, &mut transaction, &user.value).await?;
    Ok(app.commit(ctx, transaction, act(&user.value)).await?)
}
