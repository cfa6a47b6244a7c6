//! The use cases of service accounts.

use photon_auth::Context;
use photon_authz::Scope;
use photon_core::{Error, Name};
use photon_store::{PageRequest, Stored};

use super::{
    NewServiceAccount, ServiceAccount, ServiceAccountChange, ServiceAccountFilter, index, key,
};
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

/// Service accounts looked at together when a project goes.
const CHUNK: usize = 100;

fn named(id: &Name) -> String {
    format!("service account {id}")
}

fn home(account: &ServiceAccount) -> Scope {
    Scope::Project(account.project.clone())
}

fn act(account: &ServiceAccount) -> Act {
    Act::new("service_account", account.id.as_str(), home(account))
}

/// Makes a service account. It may do nothing yet and has no credential. In dev mode its project is made too, if it is
/// not there.
pub async fn create(
    app: &App,
    ctx: &Context,
    new: NewServiceAccount,
) -> Result<Versioned<ServiceAccount>, Error> {
    let home = Scope::Project(new.project.clone());
    ctx.allow_hidden(&home, scope::named(&home))?;
    let now = clock::now();
    let account = ServiceAccount {
        id: new.id.map_or_else(|| made_up("sa"), Ok)?,
        project: new.project,
        name: new.name.into(),
        disabled: false,
        created_at: now,
        updated_at: now,
    };
    scope::ensure(app, ctx, &home).await?;
    contended(ctx, || try_create(app, ctx, &account)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    account: &ServiceAccount,
) -> Result<Versioned<ServiceAccount>, Lost> {
    if app.store.get_raw(&index(&account.id)).await?.is_some() {
        return Err(Error::already_exists(named(&account.id)).into());
    }
    let home = home(account);
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, &home).await?;
    transaction.create(&app.records(), &key(account), account)?;
    let who = principal::service_account(&account.id);
    principal::begin(app, &mut transaction, &who, Some(home)).await?;
    let revision = app.publish_new(ctx, transaction, act(account)).await;
    Ok(Versioned::new(
        account.clone(),
        revision.map_err(Lost::to_create)?,
    ))
}

/// Reads a service account. One that asks about itself needs no permission.
pub async fn get(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<ServiceAccount>, Error> {
    let me = principal::service_account(id);
    if ctx.caller.is(&me) {
        ctx.allow_self();
        return Ok(read(app, id).await?.into());
    }
    Ok(find(app, ctx, id).await?.into())
}

async fn read(app: &App, id: &Name) -> Result<Stored<ServiceAccount>, Error> {
    let found = app
        .records::<ServiceAccount>()
        .get_by_index(&index(id))
        .await?;
    found.ok_or_else(|| Error::not_found(named(id)))
}

/// A service account, if the caller may do what it asks for in its project.
pub(crate) async fn find(
    app: &App,
    ctx: &Context,
    id: &Name,
) -> Result<Stored<ServiceAccount>, Error> {
    let found = app
        .records::<ServiceAccount>()
        .get_by_index(&index(id))
        .await?;
    // One that is not there is looked for at the system, so that nobody learns which there are.
    let home = found
        .as_ref()
        .map_or(Scope::System, |found| home(&found.value));
    ctx.allow_hidden(&home, named(id))?;
    found.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the service accounts the caller may see.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &ServiceAccountFilter,
    ask: &Ask,
) -> Result<Listing<ServiceAccount>, Error> {
    let (visible, policies) = (ctx.visible()?, app.policies());
    let keep = |account: &ServiceAccount| scope::is_visible(&policies, &visible, &home(account));
    let below = filter
        .project
        .as_ref()
        .map_or_else(String::new, |project| format!("{project}/"));
    listing::list(&app.records(), &below, ask, keep).await
}

/// Changes a service account.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &ServiceAccountChange,
    expected: Option<i64>,
) -> Result<Versioned<ServiceAccount>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &Name,
    change: &ServiceAccountChange,
    expected: Option<i64>,
) -> Result<Versioned<ServiceAccount>, Lost> {
    let mut account = find(app, ctx, id).await?;
    expect(&account, expected)?;
    let before = account.value.clone();
    if let Some(name) = &change.name {
        account.value.name = name.as_str().to_owned();
    }
    if let Some(disabled) = change.disabled {
        account.value.disabled = disabled;
    }
    if account.value == before {
        return Ok(account.into());
    }
    account.value.updated_at = clock::now();
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &account)?;
    let act = act(&account.value).changed(&before, &account.value);
    let revision = if account.value.disabled == before.disabled {
        app.commit(ctx, transaction, act).await?
    } else {
        let (who, disabled) = (principal::service_account(id), account.value.disabled);
        if !disabled {
            // As good as a new credential: those it has work again.
            escalation::must_hold_all_of(app, ctx, &who, None)?;
        }
        principal::set_disabled(app, &mut transaction, &who, disabled).await?;
        app.publish(ctx, transaction, act).await?
    };
    Ok(Versioned::new(account.value, revision))
}

/// Deletes a service account with its credentials, bindings and memberships; its tokens end at once.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &Name,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let account = find(app, ctx, id).await?;
    expect(&account, expected)?;
    remove(app, ctx, id).await
}

/// Deletes those of a project that is going away. Decide before.
pub(crate) async fn remove_all(app: &App, ctx: &Context, project: &Name) -> Result<(), Error> {
    let records = app.records::<ServiceAccount>();
    loop {
        // From the beginning each time: the page before is gone.
        let page = records
            .list(&PageRequest {
                prefix: format!("{project}/"),
                limit: CHUNK,
                ..PageRequest::default()
            })
            .await?;
        if let Some(bad) = page.unreadable.first() {
            let what = format!("{} cannot be read: {}", bad.key, bad.reason);
            return Err(Error::internal(what));
        }
        if page.items.is_empty() {
            return Ok(());
        }
        for account in page.items {
            match remove(app, ctx, &account.value.id).await {
                Err(error) if error.code() == photon_core::Code::NOT_FOUND => {}
                done => {
                    done?;
                }
            }
        }
    }
}

async fn remove(app: &App, ctx: &Context, id: &Name) -> Result<i64, Error> {
    let closed = contended(ctx, || try_close(app, ctx, id)).await?;
    let (who, because) = (principal::service_account(id), act(&closed.value));
    removal::all_of_principal(app, ctx, &who, closed.revision, &because).await?;
    contended(ctx, || try_delete(app, ctx, id)).await
}

/// Disables one that is being deleted: from here on it can be given nothing.
async fn try_close(app: &App, ctx: &Context, id: &Name) -> Result<Versioned<ServiceAccount>, Lost> {
    let mut account = read(app, id).await?;
    let before = account.value.clone();
    account.value.disabled = true;
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &account)?;
    let who = principal::service_account(id);
    principal::set_disabled(app, &mut transaction, &who, true).await?;
    let act = act(&account.value).changed(&before, &account.value);
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(account.value, revision))
}

async fn try_delete(app: &App, ctx: &Context, id: &Name) -> Result<i64, Lost> {
    let account = read(app, id).await?;
    if !account.value.disabled {
        let race = "somebody enabled the service account while it was being deleted";
        return Err(Error::conflict(race).into());
    }
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &account)?;
    Ok(app.commit(ctx, transaction, act(&account.value)).await?)
}
