//! `/api/v1/reservations`.

use std::sync::Arc;

use axum::extract::State;
use creditservice_ledger::{
    Amount, Charge, Description, Hold, Payer, ReservationId, ReservationView, Resource, ResourceId,
    Text, Ttl, Units,
};
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Charged, NewReservation, said, service, usual_ttl};
use crate::{
    app::App,
    idempotency::Given,
    listing::Ask,
    refusal::shown,
    rest::{
        Envelope, Failure, Outcome,
        schema::{
            CurrencyText, DescriptionText, IdText, KeyHeader, ReservationText, ResourceText,
            TtlNumber,
        },
    },
    wallet::{
        service::currency,
        shape::{AmountNumber, ChargeNumber},
    },
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .post(
            "/api/v1/reservations",
            "creditservice.reservations.create",
            create,
        )
        .get(
            "/api/v1/reservations",
            "creditservice.reservations.list",
            list,
        )
        .get(
            "/api/v1/reservations/{id}",
            "creditservice.reservations.get",
            get,
        )
        .post(
            "/api/v1/reservations/{id}/commit",
            "creditservice.reservations.commit",
            commit,
        )
        .post(
            "/api/v1/reservations/{id}/release",
            "creditservice.reservations.release",
            release,
        )
        .post(
            "/api/v1/reservations/{id}/extend",
            "creditservice.reservations.extend",
            extend,
        )
}

/// Credit to be held.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewReservation)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Credit to be held, in minor units. Required unless units are held.
    #[schema(value_type = Option<AmountNumber>)]
    amount: Option<Amount>,
    /// Units to be held beside it, by kind: all of it or nothing.
    #[schema(value_type = Option<std::collections::BTreeMap<String, i64>>, example = json!({"vcpu": 2}))]
    units: Option<Units>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
    /// What kind of resource it is for.
    #[schema(value_type = Option<ResourceText>, example = "vm")]
    resource_type: Option<Text<256>>,
    /// Which resource it is for.
    #[schema(value_type = Option<ResourceText>)]
    resource_id: Option<ResourceId>,
    /// For how long. Default: an hour.
    #[schema(value_type = Option<TtlNumber>)]
    ttl_seconds: Option<Ttl>,
    /// Must be the wallet's.
    #[schema(value_type = Option<CurrencyText>)]
    currency: Option<String>,
    /// Whose.
    #[schema(value_type = IdText)]
    project_id: Option<Name>,
}

/// What is charged.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CommitReservation)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommitBody {
    /// In minor units; at most what is held. Absent: all of it.
    #[schema(value_type = Option<ChargeNumber>)]
    actual_amount: Option<Charge>,
    /// For which resource. Absent: the one that the reservation names.
    #[schema(value_type = Option<ResourceText>)]
    resource_id: Option<ResourceId>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
}

/// Why it is given back.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReleaseReservation)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseBody {
    /// In the caller's words.
    #[schema(value_type = Option<DescriptionText>)]
    reason: Option<Description>,
}

/// For how long.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ExtendReservation)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendBody {
    /// From now on. It never becomes shorter than it was.
    #[schema(value_type = TtlNumber)]
    ttl_seconds: Ttl,
}

/// Which reservations.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Whose.
    #[param(value_type = IdText)]
    project_id: Name,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A reservation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reservation)]
pub(crate) struct Answer {
    #[schema(value_type = ReservationText)]
    id: String,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// What it holds, or held, in minor units.
    #[schema(example = 2000)]
    amount: i64,
    /// Units it holds, by kind.
    #[serde(skip_serializing_if = "Units::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, i64>, required = false)]
    units: Units,
    /// `active`, `committed`, `released`, `expired`.
    #[schema(example = "active")]
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResourceText>, nullable = false)]
    resource_type: Option<Text<256>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ResourceText>, nullable = false)]
    resource_id: Option<ResourceId>,
    /// Of a committed one: what was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 1800)]
    actual_amount: Option<i64>,
    /// When it was committed, released, or expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    resolved_at: Option<Timestamp>,
}

/// Open reservations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reservations)]
pub(crate) struct ListAnswer {
    reservations: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<ReservationView> for Answer {
    fn from(view: ReservationView) -> Self {
        let (status, at, actual_amount) = said(view.status);
        Self {
            id: view.id.to_string(),
            project_id: view.project,
            amount: view.amount,
            units: view.units,
            status,
            expires_at: shown(view.expires_at),
            resource_type: view.resource.kind,
            resource_id: view.resource.id,
            actual_amount,
            resolved_at: at.map(shown),
        }
    }
}

/// Holds credit, at once or not at all.
#[utoipa::path(
    post, path = "/api/v1/reservations", tag = "reservations", operation_id = "create_reservation",
    params(KeyHeader),
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Json(body): Json<CreateBody>,
) -> Result<Outcome<Answer>, RestError> {
    currency(body.currency.as_deref())?;
    if body.amount.is_none() && body.units.as_ref().is_none_or(Units::is_empty) {
        return Err(Error::required("amount").into());
    }
    let new = NewReservation {
        project: body
            .project_id
            .ok_or_else(|| Error::required("project_id"))?,
        hold: body.amount.map(Hold::Amount),
        units: body.units.unwrap_or_default(),
        ttl: body.ttl_seconds.map_or_else(usual_ttl, Ok)?,
        payer: Payer::Caller,
        resource: Resource {
            kind: body.resource_type,
            id: body.resource_id,
        },
        description: body.description,
    };
    let done = service::create(&app, &ctx, &given, new).await?;
    Ok(Outcome::created(done.map(Answer::from)))
}

/// Lists a project's open reservations, by id.
#[utoipa::path(
    get, path = "/api/v1/reservations", tag = "reservations", operation_id = "list_reservations",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let rows = Ask::new(query.limit, query.page_token.as_deref())?;
    let page = service::list(&app, &ctx, &query.project_id, &rows).await?;
    Ok(Data(ListAnswer {
        reservations: page.rows.into_iter().map(Into::into).collect(),
        next_page_token: page.next_page_token,
    }))
}

/// A reservation: while it is open, and for a day after it was resolved.
#[utoipa::path(
    get, path = "/api/v1/reservations/{id}", tag = "reservations", operation_id = "get_reservation",
    params(("id" = ReservationText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ReservationId>,
) -> RestResult<Answer> {
    Ok(Data(service::get(&app, &ctx, id).await?.into()))
}

/// Charges what is held, or less, and gives the rest back.
#[utoipa::path(
    post, path = "/api/v1/reservations/{id}/commit", tag = "reservations", operation_id = "commit_reservation",
    params(("id" = ReservationText, Path), KeyHeader),
    request_body = CommitBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn commit(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(id): Path<ReservationId>,
    Json(body): Json<CommitBody>,
) -> Result<Outcome<Answer>, RestError> {
    let charged = Charged {
        actual: body.actual_amount,
        resource_id: body.resource_id,
        description: body.description,
    };
    let done = service::commit(&app, &ctx, &given, id, charged).await?;
    Ok(Outcome::ok(done.map(Answer::from)))
}

/// Gives back what is held.
#[utoipa::path(
    post, path = "/api/v1/reservations/{id}/release", tag = "reservations", operation_id = "release_reservation",
    params(("id" = ReservationText, Path), KeyHeader),
    request_body = ReleaseBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn release(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(id): Path<ReservationId>,
    Json(body): Json<ReleaseBody>,
) -> Result<Outcome<Answer>, RestError> {
    let done = service::release(&app, &ctx, &given, id, body.reason).await?;
    Ok(Outcome::ok(done.map(Answer::from)))
}

/// Holds longer.
#[utoipa::path(
    post, path = "/api/v1/reservations/{id}/extend", tag = "reservations", operation_id = "extend_reservation",
    params(("id" = ReservationText, Path), KeyHeader),
    request_body = ExtendBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn extend(
    State(app): State<Arc<App>>,
    ctx: Context,
    given: Given,
    Path(id): Path<ReservationId>,
    Json(body): Json<ExtendBody>,
) -> Result<Outcome<Answer>, RestError> {
    let done = service::extend(&app, &ctx, &given, id, body.ttl_seconds).await?;
    Ok(Outcome::ok(done.map(Answer::from)))
}
