//! CreditService over gRPC, under this service's own certificate.

use std::collections::HashMap;

use photon_core::{Code, Error};
use photon_proto::photon::credit::v1::{
    CommitReservationRequest, CreateReservationRequest, FreeUnitsRequest, RecountUnitsRequest,
    ReleaseReservationRequest, quotas_client::QuotasClient,
    reservations_client::ReservationsClient,
};
use photon_service::{
    credit::{ENDPOINT, soon, to_caller, unlimited},
    peer::Peer,
};
use photon_store::TlsFiles;
use tokio::time::Instant;

use super::{claim::Claim, one};

/// How long a unit is held for a thing that is being made: longer than any request takes.
const HOLD_SECONDS: i64 = 120;

/// What is asked of it.
pub(super) struct Client(Peer);

impl Client {
    /// At a URL, with certificates if it is `https`.
    ///
    /// # Errors
    /// What cannot be used.
    pub(super) fn new(url: &str, tls: Option<TlsFiles>) -> anyhow::Result<Self> {
        Ok(Self(Peer::new(ENDPOINT, url, tls)?))
    }

    /// Holds a unit for a thing; `None` if nobody has limited its kind.
    pub(super) async fn reserve(
        &self,
        claim: &Claim,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        let request = CreateReservationRequest {
            project_id: claim.project.to_string(),
            resource_type: claim.unit.clone(),
            resource_id: claim.id.clone(),
            ttl_seconds: HOLD_SECONDS,
            units: one(&claim.unit),
            by_service: true,
            ..CreateReservationRequest::default()
        };
        let call = async move |channel| ReservationsClient::new(channel).create(request).await;
        match self.0.call(deadline.min(soon()), call).await {
            Ok(reservation) => Ok(Some(reservation.id)),
            Err(refused) if unlimited(&refused).is_some() => Ok(None),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// The thing is there: its unit is used.
    pub(super) async fn commit(&self, claim: &Claim, reservation: &str) -> Result<(), Error> {
        let request = CommitReservationRequest {
            id: reservation.to_owned(),
            resource_id: claim.id.clone(),
            ..CommitReservationRequest::default()
        };
        let call = async move |channel| ReservationsClient::new(channel).commit(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.is(&[Code::RESERVATION_COMMITTED]) => Ok(()),
            // It was not told in time. That the thing is there counts all the same.
            Err(refused)
                if refused.is(&[
                    Code::RESERVATION_EXPIRED,
                    Code::RESERVATION_NOT_FOUND,
                    Code::RESERVATION_RELEASED,
                ]) =>
            {
                self.recount(claim).await
            }
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// The thing was not made. If this does not arrive, the hold ends by itself.
    pub(super) async fn release(&self, claim: &Claim) {
        let Some(id) = claim.reservation.clone() else {
            return;
        };
        let request = ReleaseReservationRequest {
            id,
            reason: "it was not made".to_owned(),
        };
        let call = async move |channel| ReservationsClient::new(channel).release(request).await;
        if let Err(refused) = self.0.call(soon(), call).await {
            tracing::debug!(id = claim.id, error = %refused, "a hold ends by itself");
        }
    }

    /// The thing is there, whatever was told before.
    pub(super) async fn recount(&self, claim: &Claim) -> Result<(), Error> {
        let request = RecountUnitsRequest {
            project_id: claim.project.to_string(),
            resource_id: claim.id.clone(),
            units: one(&claim.unit),
        };
        let call = async move |channel| QuotasClient::new(channel).recount(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(()),
            Err(refused) if unlimited(&refused).is_some() => Ok(()),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    /// The thing is gone.
    pub(super) async fn free(&self, claim: &Claim) -> Result<(), Error> {
        let request = FreeUnitsRequest {
            project_id: claim.project.to_string(),
            resource_id: claim.id.clone(),
            units: HashMap::new(),
        };
        let call = async move |channel| QuotasClient::new(channel).free(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(()),
            // Nothing was used: it was freed before, or never counted.
            Err(refused)
                if refused.is(&[Code::CLAIM_NOT_FOUND]) || unlimited(&refused).is_some() =>
            {
                Ok(())
            }
            Err(refused) => Err(to_caller(&refused)),
        }
    }
}
