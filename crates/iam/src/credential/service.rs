//! The use cases of credentials.
//!
//! One's own need no binding. To make one for somebody else takes the permission where that principal is at home, and
//! holding everything it does. To make one for oneself takes a token that is not for less than one holds, or the password:
//! a token for one project must not become a key to all of them.

use jiff::Timestamp;
use photon_auth::{Context, Tell, Who};
use photon_authz::{Permission, PrincipalKind, PrincipalRef, PrincipalState, Scope};
use photon_core::{Code, Error, Name};
use photon_store::{PageRequest, Stored};

use super::{
    Credential, CredentialChange, CredentialId, MOST_OF_ONE, Made, Material, NewCredential,
    NewMaterial, Secret, Shown, api_key, certificate, id_index, password, prefix_of, ssh,
    used::{self, LastUsed},
    verify,
};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    escalation,
    listing::{self, Ask, Listing},
    login, principal, scope,
    user::User,
    versioned::{Versioned, expect},
};

fn named(id: CredentialId) -> String {
    format!("credential {id}")
}

/// Where a principal is at home: there it is decided who may touch its credentials.
pub(crate) async fn home_of(app: &App, principal: &PrincipalRef) -> Result<Scope, Error> {
    let state = principal::read(app, principal).await?;
    Ok(state
        .and_then(|state| state.value.home)
        .unwrap_or(Scope::System))
}

/// Decides, where a principal is at home, whether the caller may do something about it. A refusal does not say where that
/// is: one about a principal there is not reads the same.
pub(crate) fn allow_about(
    ctx: &Context,
    permission: &Permission,
    principal: &PrincipalRef,
    home: &Scope,
) -> Result<(), Error> {
    ctx.allow_permission(permission, home).map_err(|error| {
        if error.code() == Code::FORBIDDEN {
            Error::forbidden(format!(
                "{} may not do {permission} for {principal}",
                ctx.caller.who
            ))
        } else {
            error
        }
    })
}

/// Decides whether the caller may touch a principal's credentials, as if there were none if not.
async fn admit(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    what: String,
) -> Result<Scope, Error> {
    let home = home_of(app, principal).await?;
    if ctx.caller.is(principal) {
        ctx.allow_self();
    } else {
        ctx.allow_hidden(&home, what)?;
    }
    Ok(home)
}

/// Makes a credential.
pub async fn create(app: &App, ctx: &Context, new: NewCredential) -> Result<Made, Error> {
    let principal = match (&new.principal, ctx.caller.principal()) {
        (Some(named), _) => named.clone(),
        (None, Some(own)) => own.clone(),
        (None, None) => return Err(Error::required("principal")),
    };
    refuse_kind(&principal, &new.material)?;
    let now = clock::now();
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(over());
    }
    let home = home_of(app, &principal).await?;
    if ctx.caller.is(&principal) {
        ctx.allow_self();
    } else {
        let permission = ctx.permission().clone();
        allow_about(ctx, &permission, &principal, &home)?;
    }
    may_mint(app, ctx, &principal, new.current_password).await?;
    refuse_too_many(app, &principal).await?;

    let id = CredentialId::generate();
    let mut secret = None;
    let material = match new.material {
        NewMaterial::Password(text) => {
            password::check_form("password", &text, principal.id.as_str())?;
            Material::Password {
                hash: app.hasher.hash(text).await?,
            }
        }
        NewMaterial::ApiKey => {
            let (key, sha256) = api_key::generate(id)?;
            secret = Some(key);
            Material::ApiKey { sha256 }
        }
        NewMaterial::Certificate(pem) => {
            let read = certificate::read("certificate", &pem)?;
            Material::Certificate {
                fingerprint: read.fingerprint,
                common_name: read.common_name,
            }
        }
        NewMaterial::SshPublicKey(line) => {
            let read = ssh::read("public_key", &line)?;
            Material::SshPublicKey {
                fingerprint: read.fingerprint,
                public_key: read.text,
            }
        }
    };
    let credential = Credential {
        id,
        principal,
        label: new.label.map(String::from).unwrap_or_default(),
        disabled: false,
        created_at: now,
        created_by: ctx.caller.who.to_string(),
        expires_at: new.expires_at,
        material,
    };
    let revision = contended(ctx, || try_create(app, ctx, &credential, &home)).await?;
    let shown = Shown {
        credential,
        last_used_at: None,
    };
    Ok(Made {
        shown: Versioned::new(shown, revision),
        secret,
    })
}

fn over() -> Error {
    Error::validation("expires_at", "future", "expires_at must be in the future")
}

fn refuse_kind(principal: &PrincipalRef, material: &NewMaterial) -> Result<(), Error> {
    let refuse = |why: &str| {
        Err(Error::validation(
            "principal",
            "kind",
            format!("principal {why}"),
        ))
    };
    match (principal.kind, material) {
        (PrincipalKind::Group, _) => refuse("must not be a group: groups prove nothing"),
        (PrincipalKind::Service, _) => {
            refuse("must not be a service: services have certificates of the suite")
        }
        (PrincipalKind::ServiceAccount, NewMaterial::Password(_)) => {
            refuse("must be a user for a password; service accounts have API keys")
        }
        _ => Ok(()),
    }
}

/// Nobody mints more than they hold.
async fn may_mint(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    current_password: Option<Secret>,
) -> Result<(), Error> {
    if !ctx.caller.is(principal) {
        return escalation::must_hold_all_of(app, ctx, principal, None);
    }
    if let Some(password) = current_password {
        return login::own_password(app, ctx, principal, "current_password", password).await;
    }
    let Some(limit) = &ctx.caller.limit else {
        return Ok(());
    };
    let outside = {
        let policies = app.auth.policies();
        escalation::everything_of(&policies, principal)
            .into_iter()
            .find(|binding| !scope::contains(&policies, limit, &binding.scope))
            .map(|binding| binding.scope.clone())
    };
    match outside {
        None => Ok(()),
        Some(outside) if app.is_dev() => {
            tracing::warn!(
                request_id = %ctx.request_id, %principal, %limit, %outside,
                "enforce would refuse: the token is for less than the credential would be"
            );
            Ok(())
        }
        Some(_) => Err(Error::forbidden(format!(
            "your token is for {limit}, the credential would be for everything you may do: give current_password, or \
             use a token for all of it"
        ))),
    }
}

async fn refuse_too_many(app: &App, principal: &PrincipalRef) -> Result<(), Error> {
    let request = PageRequest {
        prefix: prefix_of(principal),
        limit: MOST_OF_ONE,
        ..PageRequest::default()
    };
    let page = app.records::<Credential>().list(&request).await?;
    if page.items.len() + page.unreadable.len() < MOST_OF_ONE {
        return Ok(());
    }
    Err(Error::failed_precondition(format!(
        "{principal} has {MOST_OF_ONE} credentials already: delete some"
    )))
}

async fn try_create(
    app: &App,
    ctx: &Context,
    credential: &Credential,
    home: &Scope,
) -> Result<i64, Lost> {
    let mut transaction = app.store.transaction();
    transaction.create(&app.records(), &credential.key(), credential)?;
    principal::require_live(app, &mut transaction, &credential.principal, "principal").await?;
    let act = act(credential, home);
    // An API key is in the answer, and nowhere else.
    let tell = match &credential.material {
        Material::ApiKey { .. } => Tell::Once,
        Material::Password { .. }
        | Material::Certificate { .. }
        | Material::SshPublicKey { .. } => Tell::Again,
    };
    match app.commit_new(ctx, transaction, act, tell).await {
        Ok(revision) => Ok(revision),
        Err(photon_store::Error::AlreadyExists { key }) => Err(taken(credential, &key)),
        Err(error) => Err(error.into()),
    }
}

fn act(credential: &Credential, home: &Scope) -> Act {
    Act::new("credential", credential.id, home.clone())
        .detail("principal", credential.principal.to_string())
        .detail("kind", credential.material.kind())
}

fn taken(credential: &Credential, key: &str) -> Lost {
    let what = match &credential.material {
        Material::Password { .. } => format!("a password of {}", credential.principal),
        Material::Certificate { .. } => "a credential with this certificate".to_owned(),
        Material::SshPublicKey { .. } => {
            format!("this SSH public key of {}", credential.principal)
        }
        Material::ApiKey { .. } => return Error::internal(format!("{key} is taken")).into(),
    };
    Error::already_exists(what).into()
}

async fn read(app: &App, id: CredentialId) -> Result<Stored<Credential>, Error> {
    let found = app.records().get_by_index(&id_index(id)).await?;
    found.ok_or_else(|| Error::not_found(named(id)))
}

async fn show(app: &App, stored: Stored<Credential>) -> Result<Versioned<Shown>, Error> {
    let last = used::of(&app.store, &stored.key).await?;
    let shown = Shown {
        credential: stored.value,
        last_used_at: last.map(|last| last.value.at),
    };
    Ok(Versioned::new(shown, stored.revision))
}

/// Reads a credential.
pub async fn get(app: &App, ctx: &Context, id: CredentialId) -> Result<Versioned<Shown>, Error> {
    let stored = find(app, ctx, id).await?.0;
    show(app, stored).await
}

/// A credential the caller may touch, and where that was decided.
async fn find(
    app: &App,
    ctx: &Context,
    id: CredentialId,
) -> Result<(Stored<Credential>, Scope), Error> {
    let found = app
        .records::<Credential>()
        .get_by_index(&id_index(id))
        .await?;
    let Some(stored) = found else {
        // Somebody who may see none must not learn which there are; who may see all is told the truth.
        ctx.allow_hidden(&Scope::System, named(id))?;
        return Err(Error::not_found(named(id)));
    };
    let home = admit(app, ctx, &stored.value.principal, named(id)).await?;
    Ok((stored, home))
}

/// Lists a principal's credentials; without one the caller's own, or in dev mode for the operator everybody's.
pub async fn list(
    app: &App,
    ctx: &Context,
    principal: Option<&PrincipalRef>,
    ask: &Ask,
) -> Result<Listing<Shown>, Error> {
    let principal = principal.or(ctx.caller.principal());
    let prefix = match principal {
        Some(principal) => {
            let home = home_of(app, principal).await?;
            if ctx.caller.is(principal) {
                ctx.allow_self();
            } else {
                let permission = ctx.permission().clone();
                allow_about(ctx, &permission, principal, &home)?;
            }
            prefix_of(principal)
        }
        None => {
            ctx.allow(&Scope::System)?;
            String::new()
        }
    };
    let found = listing::list(&app.records::<Credential>(), &prefix, ask, |_| true).await?;
    let mut items = Vec::with_capacity(found.items.len());
    let times = last_uses(app, &prefix).await?;
    for item in found.items {
        let last_used_at = times.get(&item.value.key()).copied();
        let shown = Shown {
            credential: item.value,
            last_used_at,
        };
        items.push(Versioned::new(shown, item.revision));
    }
    Ok(Listing {
        items,
        next_page_token: found.next_page_token,
    })
}

async fn last_uses(
    app: &App,
    prefix: &str,
) -> Result<std::collections::HashMap<String, Timestamp>, Error> {
    let request = PageRequest {
        prefix: prefix.to_owned(),
        ..PageRequest::default()
    };
    let page = app.records::<LastUsed>().list(&request).await?;
    let times = page.items.into_iter().map(|item| (item.key, item.value.at));
    Ok(times.collect())
}

/// Changes a credential.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: CredentialId,
    change: &CredentialChange,
    expected: Option<i64>,
) -> Result<Versioned<Shown>, Error> {
    let (stored, home) = find(app, ctx, id).await?;
    if let Some(Some(end)) = change.expires_at
        && end <= Timestamp::now()
    {
        return Err(over());
    }
    // To let it prove more is as much as to make one.
    if change.disabled == Some(false) || change.expires_at.is_some() {
        may_mint(app, ctx, &stored.value.principal, None).await?;
    }
    let stored = contended(ctx, || try_update(app, ctx, id, &home, change, expected)).await?;
    let last_used_at = used::of(&app.store, &stored.value.key())
        .await?
        .map(|last| last.value.at);
    let shown = Shown {
        credential: stored.value,
        last_used_at,
    };
    Ok(Versioned::new(shown, stored.revision))
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: CredentialId,
    home: &Scope,
    change: &CredentialChange,
    expected: Option<i64>,
) -> Result<Versioned<Credential>, Lost> {
    let mut stored = read(app, id).await?;
    expect(&stored, expected)?;
    let before = stored.value.clone();
    if let Some(label) = &change.label {
        stored.value.label = label.as_str().to_owned();
    }
    if let Some(disabled) = change.disabled {
        stored.value.disabled = disabled;
    }
    if let Some(expires_at) = change.expires_at {
        stored.value.expires_at = expires_at;
    }
    let mut transaction = app.store.transaction();
    transaction.replace(&app.records(), &stored)?;
    let act = act(&stored.value, home).changed(&before, &stored.value);
    let revision = app.commit(ctx, transaction, act).await?;
    Ok(Versioned::new(stored.value, revision))
}

/// Deletes a credential.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: CredentialId,
    expected: Option<i64>,
) -> Result<i64, Error> {
    let (_, home) = find(app, ctx, id).await?;
    contended(ctx, || try_delete(app, ctx, id, &home, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: CredentialId,
    home: &Scope,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let stored = read(app, id).await?;
    expect(&stored, expected)?;
    remove(app, ctx, &stored, home).await
}

/// Removes a credential and what is known of its use.
async fn remove(
    app: &App,
    ctx: &Context,
    stored: &Stored<Credential>,
    home: &Scope,
) -> Result<i64, Lost> {
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), stored)?;
    if let Some(last) = used::of(&app.store, &stored.key).await? {
        transaction.delete(&app.records::<LastUsed>(), &last)?;
    }
    let act = act(&stored.value, home).detail("deleted", true);
    Ok(app.commit(ctx, transaction, act).await?)
}

/// Removes every credential of a principal that is going away. Safe to run again.
///
/// # Errors
/// Those of the store, and the credentials that were already removed stay so.
pub(crate) async fn remove_all(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
) -> Result<(), Error> {
    let home = home_of(app, principal).await?;
    let mut request = PageRequest {
        prefix: prefix_of(principal),
        limit: MOST_OF_ONE,
        ..PageRequest::default()
    };
    loop {
        let page = app.records::<Credential>().list(&request).await?;
        for stored in page.items {
            let id = stored.value.id;
            contended(ctx, || try_remove(app, ctx, id, &home)).await?;
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn try_remove(app: &App, ctx: &Context, id: CredentialId, home: &Scope) -> Result<(), Lost> {
    let found = app.records().get_by_index(&id_index(id)).await?;
    match found {
        Some(stored) => remove(app, ctx, &stored, home).await.map(drop),
        None => Ok(()),
    }
}

/// Sets a user's password, and ends every token issued to the user so far.
///
/// # Errors
/// One's own needs the current one, if there is one.
pub async fn set_password(
    app: &App,
    ctx: &Context,
    user: &Name,
    current: Option<Secret>,
    new: Secret,
) -> Result<i64, Error> {
    let principal = PrincipalRef::user(user.clone());
    let missing = || format!("user {user}");
    let home = admit(app, ctx, &principal, missing()).await?;
    if app.records::<User>().get(user.as_str()).await?.is_none() {
        return Err(Error::not_found(missing()));
    }
    password::check_form("password", &new, user.as_str())?;
    match &ctx.caller.who {
        Who::Principal(own) if *own == principal => {
            if verify::password_of(app, &principal).await?.is_some() {
                let current = current.ok_or_else(|| Error::required("current"))?;
                login::own_password(app, ctx, &principal, "current", current).await?;
            } else {
                may_mint(app, ctx, &principal, None).await?;
            }
        }
        _ => may_mint(app, ctx, &principal, None).await?,
    }
    let hash = app.hasher.hash(new).await?;
    contended(ctx, || try_set_password(app, ctx, &principal, &home, &hash)).await
}

async fn try_set_password(
    app: &App,
    ctx: &Context,
    principal: &PrincipalRef,
    home: &Scope,
    hash: &str,
) -> Result<i64, Lost> {
    let records = app.records::<Credential>();
    let mut transaction = app.store.transaction();
    let material = Material::Password {
        hash: hash.to_owned(),
    };
    let id = match verify::password_of(app, principal).await? {
        Some(mut stored) => {
            stored.value.material = material;
            stored.value.disabled = false;
            stored.value.expires_at = None;
            transaction.replace(&records, &stored)?;
            stored.value.id
        }
        None => {
            let credential = Credential {
                id: CredentialId::generate(),
                principal: principal.clone(),
                label: String::new(),
                disabled: false,
                created_at: clock::now(),
                created_by: ctx.caller.who.to_string(),
                expires_at: None,
                material,
            };
            transaction.create(&records, &credential.key(), &credential)?;
            credential.id
        }
    };
    // The same transaction, so that no token outlives the password it was had for.
    let Some(mut state) = principal::read(app, principal).await? else {
        return Err(Error::not_found(format!("user {}", principal.id)).into());
    };
    state.value.epoch = principal::next_epoch(state.value.epoch);
    transaction.replace(&app.records::<PrincipalState>(), &state)?;
    let act = Act::new("credential", id, home.clone())
        .detail("principal", principal.to_string())
        .detail("kind", "password");
    match app.publish(ctx, transaction, act).await {
        // Somebody set one at the same time.
        Err(photon_store::Error::AlreadyExists { .. }) => Err(Lost::Race),
        done => Ok(done?),
    }
}
