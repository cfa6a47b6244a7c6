//! The use cases of bindings.

use jiff::Timestamp;
use photon_auth::Context;
use photon_authz::{Binding, BindingId, Role, Scope, built_in};
use photon_core::{Error, Name};
use photon_store::{Stored, Transaction};

use super::{BindingChange, BindingFilter, NewBinding};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    escalation,
    listing::{self, Ask, Listing},
    principal, scope,
    versioned::{Versioned, expect},
};

fn named(id: &BindingId) -> String {
    format!("binding {id}")
}

fn act(binding: &Binding) -> Act {
    Act::new("binding", binding.id, binding.scope.clone())
        .detail("principal", binding.principal.to_string())
        .detail("role", binding.role.to_string())
}

/// Gives a principal a role at a scope. In dev mode the scope is made, if it is not there.
pub async fn create(
    app: &App,
    ctx: &Context,
    new: NewBinding,
) -> Result<Versioned<Binding>, Error> {
    ctx.allow_hidden(&new.scope, scope::named(&new.scope))?;
    refuse_past("expires_at", new.expires_at)?;
    if let Some(condition) = &new.condition {
        condition.check("condition")?;
    }
    let binding = Binding {
        id: BindingId::generate(),
        principal: new.principal,
        role: new.role,
        scope: new.scope,
        condition: new.condition,
        expires_at: new.expires_at,
        created_at: clock::now(),
        created_by: ctx.caller.who.to_string(),
    };
    scope::ensure(app, ctx, &binding.scope).await?;
    contended(ctx, || try_create(app, ctx, &binding)).await
}

/// What ends before it begins is a mistake.
fn refuse_past(field: &str, end: Option<Timestamp>) -> Result<(), Error> {
    match end {
        Some(end) if end <= Timestamp::now() => Err(Error::validation(
            field,
            "future",
            format!("{field} must be in the future"),
        )),
        _ => Ok(()),
    }
}

async fn try_create(
    app: &App,
    ctx: &Context,
    binding: &Binding,
) -> Result<Versioned<Binding>, Lost> {
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, &binding.scope).await?;
    principal::require_live(app, &mut transaction, &binding.principal, "principal").await?;
    let role = require_role(app, &mut transaction, &binding.role, &binding.scope).await?;
    escalation::must_hold_role(app, ctx, &binding.scope, &role, binding.expires_at)?;
    transaction.create(&app.records(), &binding.id.to_string(), binding)?;
    match app.publish_new(ctx, transaction, act(binding)).await {
        Ok(revision) => Ok(Versioned::new(binding.clone(), revision)),
        // Its own id is new: it is the index that is taken.
        Err(photon_store::Error::AlreadyExists { .. }) => {
            let what = format!(
                "a binding of {} to role {} at {} under the same condition",
                binding.principal, binding.role, binding.scope
            );
            Err(Error::already_exists(what).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The role a binding gives, which has to be there and stay as it is, and can be given at the scope.
async fn require_role(
    app: &App,
    transaction: &mut Transaction,
    id: &Name,
    at: &Scope,
) -> Result<Role, Lost> {
    if let Some(role) = built_in(id) {
        return Ok(role.clone());
    }
    let refused = |constraint: &str, message: String| -> Lost {
        Error::validation("role", constraint, message).into()
    };
    let roles = app.records::<Role>();
    let Some(role) = roles.get(id.as_str()).await? else {
        return Err(refused("exists", format!("role: there is no role {id}")));
    };
    transaction.unchanged(&roles, &role)?;
    if let Some(org) = &role.value.org
        && !is_in_org(app, at, org).await?
    {
        let message = format!("role: {id} belongs to org {org} and can be given only in it");
        return Err(refused("scope", message));
    }
    Ok(role.value)
}

async fn is_in_org(app: &App, scope: &Scope, org: &Name) -> Result<bool, Error> {
    Ok(match scope {
        Scope::System => false,
        Scope::Org(id) => id == org,
        Scope::Project(id) => {
            let project = app
                .records::<photon_authz::Project>()
                .get(id.as_str())
                .await?;
            project.is_some_and(|project| project.value.org == *org)
        }
    })
}

/// Reads a binding.
pub async fn get(app: &App, ctx: &Context, id: &BindingId) -> Result<Versioned<Binding>, Error> {
    Ok(find(app, ctx, id).await?.into())
}

async fn find(app: &App, ctx: &Context, id: &BindingId) -> Result<Stored<Binding>, Error> {
    let found = app.records::<Binding>().get(&id.to_string()).await?;
    let scope = found
        .as_ref()
        .map_or(&Scope::System, |found| &found.value.scope);
    ctx.allow_hidden(scope, named(id))?;
    found.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the bindings the caller may see.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &BindingFilter,
    ask: &Ask,
) -> Result<Listing<Binding>, Error> {
    let (visible, policies) = (ctx.visible()?, app.policies());
    let keep = |binding: &Binding| {
        filter
            .principal
            .as_ref()
            .is_none_or(|who| *who == binding.principal)
            && filter.scope.as_ref().is_none_or(|at| *at == binding.scope)
            && filter
                .role
                .as_ref()
                .is_none_or(|role| *role == binding.role)
            && scope::is_visible(&policies, &visible, &binding.scope)
    };
    listing::list(&app.records(), "", ask, keep).await
}

/// Moves the end of a binding.
pub async fn update(
    app: &App,
    ctx: &Context,
    id: &BindingId,
    change: &BindingChange,
    expected: Option<i64>,
) -> Result<Versioned<Binding>, Error> {
    contended(ctx, || try_update(app, ctx, id, change, expected)).await
}

async fn try_update(
    app: &App,
    ctx: &Context,
    id: &BindingId,
    change: &BindingChange,
    expected: Option<i64>,
) -> Result<Versioned<Binding>, Lost> {
    let mut binding = find(app, ctx, id).await?;
    expect(&binding, expected)?;
    let Some(end) = change
        .expires_at
        .filter(|end| *end != binding.value.expires_at)
    else {
        return Ok(binding.into());
    };
    refuse_past("expires_at", end)?;
    let mut transaction = app.store.transaction();
    let (role, scope) = (binding.value.role.clone(), binding.value.scope.clone());
    if is_later(end, binding.value.expires_at) {
        scope::require_live(app, &mut transaction, &scope).await?;
        let role = require_role(app, &mut transaction, &role, &scope).await?;
        escalation::must_hold_role(app, ctx, &scope, &role, end)?;
    }
    let before = binding.value.clone();
    binding.value.expires_at = end;
    transaction.replace(&app.records(), &binding)?;
    let act = act(&binding.value).changed(&before, &binding.value);
    let revision = app.publish(ctx, transaction, act).await?;
    Ok(Versioned::new(binding.value, revision))
}

/// Whether one end lies after another; no end lies after all.
fn is_later(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

/// Takes a binding away.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &BindingId,
    expected: Option<i64>,
) -> Result<i64, Error> {
    contended(ctx, || try_delete(app, ctx, id, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: &BindingId,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let binding = find(app, ctx, id).await?;
    expect(&binding, expected)?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &binding)?;
    Ok(app.publish(ctx, transaction, act(&binding.value)).await?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_end_is_moved_back_only_by_who_holds_it() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        assert!(is_later(at(2), at(1)));
        assert!(is_later(None, at(1)));
        assert!(!is_later(at(1), at(2)));
        assert!(!is_later(at(1), None));
        assert!(!is_later(None, None));
    }
}
