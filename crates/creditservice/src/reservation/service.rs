//! The use cases of reservations.

use creditservice_ledger::{
    Answer, Command, Commit, Description, Extend, Payer, Release, ReservationId, ReservationView,
    Reserve, Shard, Ttl,
};
use photon_auth::Context;
use photon_authz::Scope;
use photon_core::{Code, Error, Name};
use photon_server::Mode;

use super::{Charged, NewReservation};
use crate::{
    app::{App, Done, odd},
    idempotency::Given,
    listing::{Ask as Rows, Page},
    scope,
    shard::ask::{Ask, Reply},
};

/// Holds credit, at once or not at all.
pub(crate) async fn create(
    app: &App,
    ctx: &Context,
    given: &Given,
    new: NewReservation,
) -> Result<Done<ReservationView>, Error> {
    let NewReservation {
        project,
        hold,
        units,
        ttl,
        payer,
        resource,
        description,
    } = new;
    scope::allow_in_project(ctx, &project)?;
    let by_service = matches!(payer, Payer::Service(_));
    if by_service {
        check_project(app, ctx, &project)?;
    }
    let command = Command::Reserve(Reserve {
        project: project.clone(),
        hold,
        units,
        ttl,
        payer,
        resource,
        description,
    });
    let done = app.change(ctx, given, &project, command).await;
    if by_service {
        return view(done?);
    }
    view(done.map_err(|error| in_body(error, &project))?)
}

/// In enforce mode services create things only for projects that there are.
fn check_project(app: &App, ctx: &Context, project: &Name) -> Result<(), Error> {
    let is_known = || ctx.auth().policies().project(project).is_some();
    if app.mode == Mode::Dev || is_known() {
        return Ok(());
    }
    let message = format!("project_id {project} does not exist");
    Err(Error::validation("project_id", "exists", message))
}

/// A reservation of another shard is no one of this project's.
///
/// # Errors
/// 404.
pub(crate) fn check_shard(app: &App, id: ReservationId, project: &Name) -> Result<(), Error> {
    if shard_of(app, id)? == app.shards.of_project(project) {
        Ok(())
    } else {
        Err(not_found())
    }
}

/// Where the project is named by a field, it is the field that is wrong.
fn in_body(error: Error, project: &Name) -> Error {
    if error.code() == Code::WALLET_NOT_FOUND {
        let message = format!("project_id {project} has no wallet");
        return Error::validation("project_id", "exists", message);
    }
    error
}

fn view(done: Done<Answer>) -> Result<Done<ReservationView>, Error> {
    match done.value {
        Answer::Reservation(view) => Ok(Done {
            value: *view,
            replayed: done.replayed,
        }),
        other => Err(odd(&other)),
    }
}

/// Reads a reservation: while it is open, and for a day after it was resolved.
pub(crate) async fn get(
    app: &App,
    ctx: &Context,
    id: ReservationId,
) -> Result<ReservationView, Error> {
    let visible = ctx.visible()?;
    let found = read(app, ctx, shard_of(app, id)?, id).await?;
    let policies = ctx.auth().policies();
    if visible.project(&found.project, policies.org_of(&found.project)) {
        Ok(found)
    } else {
        Err(not_found())
    }
}

async fn read(
    app: &App,
    ctx: &Context,
    shard: Shard,
    id: ReservationId,
) -> Result<ReservationView, Error> {
    let ask = Ask::Reservation { id };
    match app.shards.ask(shard, ask, ctx.deadline).await? {
        Reply::Reservation(found) => found.ok_or_else(not_found),
        other => Err(odd(&other)),
    }
}

/// Lists a project's open reservations, by id.
pub(crate) async fn list(
    app: &App,
    ctx: &Context,
    project: &Name,
    rows: &Rows<ReservationId>,
) -> Result<Page<ReservationView>, Error> {
    scope::allow_in_project(ctx, project)?;
    let ask = Ask::Reservations {
        project: project.clone(),
        after: rows.after,
        limit: rows.rows(),
    };
    let shard = app.shards.of_project(project);
    match app.shards.ask(shard, ask, ctx.deadline).await? {
        Reply::Reservations(found) => rows.page(found, |one| one.id),
        other => Err(odd(&other)),
    }
}

/// Charges what is held, or less, and gives the rest back.
pub(crate) async fn commit(
    app: &App,
    ctx: &Context,
    given: &Given,
    id: ReservationId,
    charged: Charged,
) -> Result<Done<ReservationView>, Error> {
    let Charged {
        actual,
        resource_id,
        description,
    } = charged;
    let command = Commit {
        reservation: id,
        caller: None,
        actual,
        units: None,
        resource_id,
        description,
    };
    resolve(app, ctx, given, id, |caller| {
        Command::Commit(Commit {
            caller,
            ..command.clone()
        })
    })
    .await
}

/// Gives back what is held.
pub(crate) async fn release(
    app: &App,
    ctx: &Context,
    given: &Given,
    id: ReservationId,
    reason: Option<Description>,
) -> Result<Done<ReservationView>, Error> {
    resolve(app, ctx, given, id, |caller| {
        Command::Release(Release {
            reservation: id,
            caller,
            reason: reason.clone(),
        })
    })
    .await
}

/// Holds longer: from now on for so long.
pub(crate) async fn extend(
    app: &App,
    ctx: &Context,
    given: &Given,
    id: ReservationId,
    ttl: Ttl,
) -> Result<Done<ReservationView>, Error> {
    resolve(app, ctx, given, id, |caller| {
        Command::Extend(Extend {
            reservation: id,
            caller,
            ttl,
        })
    })
    .await
}

/// Does something to a reservation, for a caller who may do so in its project.
async fn resolve(
    app: &App,
    ctx: &Context,
    given: &Given,
    id: ReservationId,
    command: impl Fn(Option<Name>) -> Command,
) -> Result<Done<ReservationView>, Error> {
    let visible = ctx.visible()?;
    let shard = shard_of(app, id)?;
    let caller = if visible.all {
        None
    } else {
        // Its project never changes: what is read here holds when the ledger decides.
        let project = read(app, ctx, shard, id).await?.project;
        // Who may see it is told that he may not do this.
        let scope = Scope::Project(project.clone());
        ctx.allow_hidden(&scope, "reservation").map_err(hidden)?;
        Some(project)
    };
    let key = given.key(ctx, None, &command(None))?;
    view(app.apply(ctx, shard, key, command(caller)).await?)
}

/// What no ledger here gave is no reservation.
fn shard_of(app: &App, id: ReservationId) -> Result<Shard, Error> {
    app.shards.of_id(id).ok_or_else(not_found)
}

fn hidden(error: Error) -> Error {
    if error.code() == Code::NOT_FOUND {
        not_found()
    } else {
        error
    }
}

fn not_found() -> Error {
    Error::new(Code::RESERVATION_NOT_FOUND, "reservation not found")
}
