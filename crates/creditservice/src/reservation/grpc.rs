//! `photon.credit.v1.Reservations`.

use creditservice_ledger::{Hold, Payer, ReservationId, ReservationView, Resource};
use photon_core::{Code, Error, id::IdError};
use photon_proto::photon::credit::v1::{self as pb, reservations_server::Reservations};
use tonic::{Request, Response, Status};

use super::{Charged, NewReservation, said, service, usual_ttl};
use crate::{
    grpc::{
        Doors,
        fields::{amount, ask, charge, given, maybe_text, name, shown_time, ttl, units},
    },
    refusal::shown,
    usage,
    wallet::service::currency,
};

/// A reservation as a message.
pub(crate) fn message(view: ReservationView) -> pb::Reservation {
    let (status, resolved_at, actual_amount) = said(view.status);
    pb::Reservation {
        id: view.id.to_string(),
        project_id: view.project.into(),
        amount: view.amount,
        units: view
            .units
            .iter()
            .map(|(kind, count)| (kind.to_string(), count))
            .collect(),
        status: status.to_owned(),
        expires_at: Some(shown_time(shown(view.expires_at))),
        resource_type: view.resource.kind.map(String::from).unwrap_or_default(),
        resource_id: view.resource.id.map(String::from).unwrap_or_default(),
        actual_amount,
        resolved_at: resolved_at.map(|at| shown_time(shown(at))),
    }
}

/// What cannot be an id names nothing, as in a path of REST.
pub(crate) fn id(text: &str) -> Result<ReservationId, Error> {
    if text.is_empty() {
        return Err(Error::required("id"));
    }
    text.parse().map_err(|error: IdError| {
        Error::new(Code::RESERVATION_NOT_FOUND, "reservation not found").with_source(error)
    })
}

#[tonic::async_trait]
impl Reservations for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateReservationRequest>,
    ) -> Result<Response<pb::Reservation>, Status> {
        self.change(
            "Reservations/Create",
            request,
            |app, ctx, key, asked| async move {
                let project = name("project_id", &asked.project_id)?;
                let new = NewReservation {
                    hold: match asked.forecast {
                        Some(forecast) => {
                            Some(Hold::Priced(usage::grpc::forecast("forecast", forecast)?))
                        }
                        None if asked.amount == 0 && !asked.units.is_empty() => None,
                        None => Some(Hold::Amount(amount("amount", asked.amount)?)),
                    },
                    payer: if asked.by_service {
                        usage::service::payer(&app, &ctx, &project).await?
                    } else {
                        Payer::Caller
                    },
                    units: units(asked.units)?,
                    ttl: match asked.ttl_seconds {
                        0 => usual_ttl()?,
                        seconds => ttl("ttl_seconds", seconds)?,
                    },
                    resource: Resource {
                        kind: maybe_text("resource_type", asked.resource_type)?,
                        id: maybe_text("resource_id", asked.resource_id)?,
                    },
                    description: maybe_text("description", asked.description)?,
                    project: project.clone(),
                };
                currency(given(&asked.currency))?;
                let done = service::create(&app, &ctx, &key, new).await?;
                Ok(done.map(message))
            },
        )
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetReservationRequest>,
    ) -> Result<Response<pb::Reservation>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let id = id(&asked.id)?;
            Ok(message(service::get(&app, &ctx, id).await?))
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListReservationsRequest>,
    ) -> Result<Response<pb::ListReservationsResponse>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let rows = ask(asked.limit, &asked.page_token)?;
            let project = name("project_id", &asked.project_id)?;
            let page = service::list(&app, &ctx, &project, &rows).await?;
            Ok(pb::ListReservationsResponse {
                reservations: page.rows.into_iter().map(message).collect(),
                next_page_token: page.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn commit(
        &self,
        request: Request<pb::CommitReservationRequest>,
    ) -> Result<Response<pb::Reservation>, Status> {
        self.change(
            "Reservations/Commit",
            request,
            |app, ctx, key, asked| async move {
                let id = id(&asked.id)?;
                let charged = Charged {
                    actual: asked
                        .actual_amount
                        .map(|number| charge("actual_amount", number))
                        .transpose()?,
                    resource_id: maybe_text("resource_id", asked.resource_id)?,
                    description: maybe_text("description", asked.description)?,
                };
                let done = service::commit(&app, &ctx, &key, id, charged).await?;
                Ok(done.map(message))
            },
        )
        .await
    }

    async fn release(
        &self,
        request: Request<pb::ReleaseReservationRequest>,
    ) -> Result<Response<pb::Reservation>, Status> {
        self.change(
            "Reservations/Release",
            request,
            |app, ctx, key, asked| async move {
                let id = id(&asked.id)?;
                let reason = maybe_text("reason", asked.reason)?;
                let done = service::release(&app, &ctx, &key, id, reason).await?;
                Ok(done.map(message))
            },
        )
        .await
    }

    async fn extend(
        &self,
        request: Request<pb::ExtendReservationRequest>,
    ) -> Result<Response<pb::Reservation>, Status> {
        self.change(
            "Reservations/Extend",
            request,
            |app, ctx, key, asked| async move {
                let id = id(&asked.id)?;
                let ttl = ttl("ttl_seconds", asked.ttl_seconds)?;
                let done = service::extend(&app, &ctx, &key, id, ttl).await?;
                Ok(done.map(message))
            },
        )
        .await
    }
}
