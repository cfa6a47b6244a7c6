//! The use cases of usage.

use creditservice_ledger::{
    Answer, Command, NextHold, Payer, RecordUsage, ReservationId, Resource, Settle, Usage,
};
use photon_auth::{Context, Who};
use photon_authz::PrincipalKind;
use photon_core::{Error, Name};

use super::Reported;
use crate::{
    app::{App, Done, odd},
    billing::service as billing,
    idempotency::Given,
    reservation, scope,
};

/// A caller that reserves on a service's own account: it must be one. In dev mode the operator may stand in for it.
///
/// # Errors
/// 403, 503.
pub(crate) async fn payer(app: &App, ctx: &Context, project: &Name) -> Result<Payer, Error> {
    let is_service = match &ctx.caller.who {
        Who::DevOperator => true,
        Who::Principal(principal) => principal.kind == PrincipalKind::Service,
    };
    if is_service {
        Ok(Payer::Service(billing::of_project(app, project).await?))
    } else {
        Err(Error::forbidden(
            "only services of the suite reserve on their own account",
        ))
    }
}

/// Charges usage. What was counted before changes nothing.
pub(crate) async fn record(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    usage: Vec<Usage>,
) -> Result<Done<Reported>, Error> {
    scope::allow_to_meter(ctx)?;
    let command = Command::RecordUsage(RecordUsage {
        project: project.clone(),
        billing: billing::of_project(app, project).await?,
        usage,
    });
    reported(app.change(ctx, given, project, command).await?)
}

/// A period's step: the usage of the last one, and what is held for the next.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) reservation: Option<ReservationId>,
    pub(crate) usage: Vec<Usage>,
    pub(crate) next: Option<NextHold>,
    pub(crate) resource: Resource,
}

/// Does a period's step, all or nothing.
pub(crate) async fn settle(
    app: &App,
    ctx: &Context,
    given: &Given,
    project: &Name,
    step: Step,
) -> Result<Done<Reported>, Error> {
    scope::allow_to_meter(ctx)?;
    let Step {
        reservation,
        usage,
        next,
        resource,
    } = step;
    if let Some(id) = reservation {
        reservation::service::check_shard(app, id, project)?;
    }
    let command = Command::Settle(Settle {
        project: project.clone(),
        billing: billing::of_project(app, project).await?,
        reservation,
        usage,
        next,
        resource,
    });
    reported(app.change(ctx, given, project, command).await?)
}

fn reported(done: Done<Answer>) -> Result<Done<Reported>, Error> {
    match done.value {
        Answer::Usage {
            charged,
            billed,
            figures,
            next,
        } => Ok(Done {
            value: Reported {
                charged,
                billed,
                figures,
                next: next.map(|next| *next),
            },
            replayed: done.replayed,
        }),
        other => Err(odd(&other)),
    }
}
