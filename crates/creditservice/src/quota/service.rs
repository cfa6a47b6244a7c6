//! The use cases of quotas.

use creditservice_ledger::{
    Command, FreeUnits, Limit, Recount, ResourceId, ResourceKind, SetLimit, Units,
};
use photon_auth::{Context, Tell};
use photon_authz::Scope;
use photon_core::{Code, Error, Name};
use serde_json::json;

use super::Quota;
use crate::{
    app::{self, App, Done, odd},
    catalog::{self, Row},
    idempotency::Given,
    scope,
    shard::ask::{Ask, Reply},
};

/// Every registered kind, as it is for a project.
pub(crate) async fn list(app: &App, ctx: &Context, project: &Name) -> Result<Vec<Quota>, Error> {
    scope::allow_in_project(ctx, project)?;
    let ask = Ask::Quotas {
        project: project.clone(),
    };
    let shard = app.shards.of_project(project);
    match app.shards.ask(shard, ask, ctx.deadline).await? {
        Reply::Quotas(quotas) => Ok(quotas),
        other => Err(odd(&other)),
    }
}

/// Gives a project a limit of its own, or takes it away, and says how it is then.
pub(crate) async fn set(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    kind: &ResourceKind,
    limit: Option<Limit>,
) -> Result<Done<Quota>, Error> {
    scope::allow_over_project(ctx, project)?;
    let command = Command::SetLimit(SetLimit {
        project: project.clone(),
        kind: kind.clone(),
        limit,
    });
    let done = app.change(ctx, given, project, command).await;
    let done = done.map_err(|error| in_path(error, kind))?;
    let ask = Ask::Quotas {
        project: project.clone(),
    };
    let shard = app.shards.of_project(project);
    match app.shards.ask(shard, ask, ctx.deadline).await? {
        Reply::Quotas(quotas) => {
            let now = quotas.into_iter().find(|quota| quota.kind == *kind);
            let value = now.ok_or_else(|| unregistered(kind))?;
            Ok(Done {
                value,
                replayed: done.replayed,
            })
        }
        other => Err(odd(&other)),
    }
}

/// The kind is named by the path: that nobody knows it is 404.
fn in_path(error: Error, kind: &ResourceKind) -> Error {
    let constraint = error.details().map(|details| &details["constraint"]);
    if error.code() == Code::VALIDATION_ERROR && constraint == Some(&json!("registered")) {
        unregistered(kind)
    } else {
        error
    }
}

fn unregistered(kind: &ResourceKind) -> Error {
    Error::not_found(format!("limit of {kind}"))
}

/// Gives back units that a resource used.
pub(crate) async fn free(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    claimant: ResourceId,
    units: Option<Units>,
) -> Result<Done<()>, Error> {
    scope::allow_to_meter(ctx)?;
    let command = Command::FreeUnits(FreeUnits {
        project: project.clone(),
        claimant,
        units,
    });
    let done = app.change(ctx, given, project, command).await?;
    Ok(done.map(|_| ()))
}

/// Says what a resource really uses.
pub(crate) async fn recount(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    claimant: ResourceId,
    units: Units,
) -> Result<Done<()>, Error> {
    scope::allow_to_meter(ctx)?;
    let command = Command::Recount(Recount {
        project: project.clone(),
        claimant,
        units,
    });
    let done = app.change(ctx, given, project, command).await?;
    Ok(done.map(|_| ()))
}

/// The registered limits.
pub(crate) async fn registered(app: &App, ctx: &Context) -> Result<Vec<Row>, Error> {
    ctx.allow_somewhere()?;
    Ok(catalog::read(app.shards.store(), catalog::LIMITS).await?)
}

/// Makes a kind known, or changes its default, in every shard.
pub(crate) async fn register(
    app: &App,
    ctx: &Context,
    kind: ResourceKind,
    default: Limit,
) -> Result<(), Error> {
    ctx.allow(&Scope::System)?;
    let store = app.shards.store();
    let row = Row::Limit { kind, default };
    if catalog::read(store, catalog::LIMITS).await?.len() >= catalog::MOST_ROWS {
        return Err(Error::failed_precondition("there are too many kinds"));
    }
    let mut transaction = store.transaction();
    catalog::write(&mut transaction, &row)?;
    ctx.once(&mut transaction, "limit", row.kind_or_sku(), Tell::Again)?;
    transaction.commit().await?;
    let by = app::actor(ctx)?;
    catalog::tell(&app.shards, row, Some(&by), ctx.deadline).await?;
    Ok(())
}
