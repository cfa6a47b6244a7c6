//! The use cases of deny rules.

use photon_auth::Context;
use photon_authz::{DenyId, DenyRule, Scope, role::MAX_PATTERNS};
use photon_core::Error;
use photon_store::Stored;

use super::{DenyRuleFilter, NewDenyRule};
use crate::{
    app::App,
    audit::Act,
    clock,
    contention::{Lost, contended},
    listing::{self, Ask, Listing},
    principal, scope,
    versioned::{Versioned, expect},
};

fn named(id: &DenyId) -> String {
    format!("deny rule {id}")
}

fn act(rule: &DenyRule) -> Act {
    let act = Act::new("deny_rule", rule.id, rule.scope.clone());
    match &rule.principal {
        Some(principal) => act.detail("principal", principal.to_string()),
        None => act,
    }
}

/// Takes permissions away. In dev mode the scope is made, if it is not there.
pub async fn create(
    app: &App,
    ctx: &Context,
    new: NewDenyRule,
) -> Result<Versioned<DenyRule>, Error> {
    ctx.allow_hidden(&new.scope, scope::named(&new.scope))?;
    let refuse = |constraint: &str, what: &str| {
        let message = format!("permissions {what}");
        Err(Error::validation("permissions", constraint, message))
    };
    match new.permissions.len() {
        0 => return refuse("required", "must not be empty"),
        n if n > MAX_PATTERNS => return refuse("length", "must have at most 1000 entries"),
        _ => {}
    }
    if let Some(condition) = &new.condition {
        condition.check("condition")?;
    }
    let rule = DenyRule {
        id: DenyId::generate(),
        principal: new.principal,
        permissions: new.permissions,
        scope: new.scope,
        condition: new.condition,
        created_at: clock::now(),
        created_by: ctx.caller.who.to_string(),
    };
    scope::ensure(app, ctx, &rule.scope).await?;
    contended(ctx, || try_create(app, ctx, &rule)).await
}

async fn try_create(
    app: &App,
    ctx: &Context,
    rule: &DenyRule,
) -> Result<Versioned<DenyRule>, Lost> {
    let mut transaction = app.store.transaction();
    scope::require_live(app, &mut transaction, &rule.scope).await?;
    if let Some(principal) = &rule.principal {
        principal::require_live(app, &mut transaction, principal, "principal").await?;
    }
    transaction.create(&app.records(), &rule.id.to_string(), rule)?;
    let revision = app.publish(ctx, transaction, act(rule)).await?;
    Ok(Versioned::new(rule.clone(), revision))
}

/// Reads a deny rule.
pub async fn get(app: &App, ctx: &Context, id: &DenyId) -> Result<Versioned<DenyRule>, Error> {
    Ok(find(app, ctx, id).await?.into())
}

async fn find(app: &App, ctx: &Context, id: &DenyId) -> Result<Stored<DenyRule>, Error> {
    let found = app.records::<DenyRule>().get(&id.to_string()).await?;
    let scope = found
        .as_ref()
        .map_or(&Scope::System, |found| &found.value.scope);
    ctx.allow_hidden(scope, named(id))?;
    found.ok_or_else(|| Error::not_found(named(id)))
}

/// Lists the deny rules the caller may see.
pub async fn list(
    app: &App,
    ctx: &Context,
    filter: &DenyRuleFilter,
    ask: &Ask,
) -> Result<Listing<DenyRule>, Error> {
    let (visible, policies) = (ctx.visible(), app.policies());
    let keep = |stored: &Stored<DenyRule>| {
        let rule = &stored.value;
        (filter.principal.is_none() || filter.principal == rule.principal)
            && filter.scope.as_ref().is_none_or(|at| *at == rule.scope)
            && scope::is_visible(&policies, &visible, &rule.scope)
    };
    listing::list(&app.records(), "", ask, keep).await
}

/// Removes a deny rule.
pub async fn delete(
    app: &App,
    ctx: &Context,
    id: &DenyId,
    expected: Option<i64>,
) -> Result<i64, Error> {
    contended(ctx, || try_delete(app, ctx, id, expected)).await
}

async fn try_delete(
    app: &App,
    ctx: &Context,
    id: &DenyId,
    expected: Option<i64>,
) -> Result<i64, Lost> {
    let rule = find(app, ctx, id).await?;
    expect(&rule, expected)?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &rule)?;
    Ok(app.publish(ctx, transaction, act(&rule.value)).await?)
}
