//! The use cases of deny rules.

use photon_auth::Context;
use photon_authz::{DenyId, DenyRule, Project, Scope, role::MAX_PATTERNS};
use photon_core::{Code, Error};
use photon_store::Stored;

use super::{DenyRuleFilter, NewDenyRule};
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

/// Decides, above a rule's scope, whether the caller may make or lift it there. Whoever may see the rules there is told
/// that it may not, others that there is no such thing.
async fn admit_change(app: &App, ctx: &Context, scope: &Scope, what: String) -> Result<(), Error> {
    let decided = ctx.allow(&above(app, scope).await?);
    if let Err(refused) = decided {
        if refused.code() == Code::FORBIDDEN {
            ctx.allow_hidden(scope, what)?;
        }
        return Err(refused);
    }
    match scope {
        Scope::System => escalation::must_be_admin(app, ctx),
        _ => Ok(()),
    }
}

/// The scope above; the system is above itself. A project that is not there is looked for at the system, or, where dev
/// mode would make it, in the org that it would be made in.
async fn above(app: &App, scope: &Scope) -> Result<Scope, Error> {
    let Scope::Project(id) = scope else {
        return Ok(Scope::System);
    };
    match app.records::<Project>().get(id.as_str()).await? {
        Some(project) => Ok(Scope::Org(project.value.org)),
        None if app.is_dev() => scope::default_org().map(Scope::Org),
        None => Ok(Scope::System),
    }
}

/// Takes permissions away. In dev mode the scope is made, if it is not there.
pub async fn create(
    app: &App,
    ctx: &Context,
    new: NewDenyRule,
) -> Result<Versioned<DenyRule>, Error> {
    admit_change(app, ctx, &new.scope, scope::named(&new.scope)).await?;
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
    let revision = app.publish_new(ctx, transaction, act(rule)).await?;
    Ok(Versioned::new(rule.clone(), revision))
}

/// Reads a deny rule.
pub async fn get(app: &App, ctx: &Context, id: &DenyId) -> Result<Versioned<DenyRule>, Error> {
    Ok(find(app, ctx, id).await?.into())
}

async fn read(app: &App, id: &DenyId) -> Result<Option<Stored<DenyRule>>, Error> {
    Ok(app.records().get(&id.to_string()).await?)
}

async fn find(app: &App, ctx: &Context, id: &DenyId) -> Result<Stored<DenyRule>, Error> {
    let found = read(app, id).await?;
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
    let (visible, policies) = (ctx.visible()?, app.policies());
    let keep = |rule: &DenyRule| {
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
    let rule = read(app, id).await?;
    match &rule {
        Some(rule) => admit_change(app, ctx, &rule.value.scope, named(id)).await?,
        None => ctx.allow_hidden(&Scope::System, named(id))?,
    }
    let rule = rule.ok_or_else(|| Error::not_found(named(id)))?;
    expect(&rule, expected)?;
    let mut transaction = app.store.transaction();
    transaction.delete(&app.records(), &rule)?;
    Ok(app.publish(ctx, transaction, act(&rule.value)).await?)
}
