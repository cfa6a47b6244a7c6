//! CreditService over gRPC, under this service's own certificate.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use parking_lot::Mutex;
use photon_core::{Code, Error};
use photon_proto::photon::credit::v1::{
    CommitReservationRequest, CreateReservationRequest, FreeUnitsRequest, RecountUnitsRequest,
    ReleaseReservationRequest, quotas_client::QuotasClient,
    reservations_client::ReservationsClient,
};
use photon_server::grpc::{ERROR_CODE, ERROR_DETAILS};
use photon_store::TlsFiles;
use serde_json::Value;
use tokio::time::Instant;
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{claim::Claim, one};

const CONNECT: Duration = Duration::from_secs(1);
/// A CreditService that hangs is noticed by it, not by each request's deadline.
const PING: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(5);
/// For a call, if the request has more time left.
const CALL: Duration = Duration::from_secs(5);
/// How long a unit is held for a thing that is being made: longer than any request takes.
const HOLD_SECONDS: i64 = 120;

/// The connection, made when it is needed.
pub(super) struct Client {
    url: String,
    tls: Option<TlsFiles>,
    channel: Mutex<Option<Channel>>,
}

impl Client {
    /// To a URL, with certificates if it is `https`.
    ///
    /// # Errors
    /// What cannot be used.
    pub(super) fn new(url: &str, tls: Option<TlsFiles>) -> anyhow::Result<Self> {
        let client = Self {
            url: url.to_owned(),
            tls,
            channel: Mutex::default(),
        };
        client
            .connect()
            .with_context(|| format!("quota.endpoint {url}"))?;
        Ok(client)
    }

    fn connect(&self) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .keep_alive_while_idle(true);
        if self.url.starts_with("https:") {
            let files = self.tls.as_ref().context("https needs store.tls")?;
            let tls = files.read()?;
            let mut config =
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                config = config.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(config)?;
        }
        Ok(endpoint.connect_lazy())
    }

    fn channel(&self) -> Result<Channel, Error> {
        let mut current = self.channel.lock();
        if let Some(channel) = &*current {
            return Ok(channel.clone());
        }
        let made = self.connect();
        let channel = made.map_err(|error| away(format!("{error:#}")))?;
        *current = Some(channel.clone());
        Ok(channel)
    }

    /// Holds a unit for a thing; `None` if nobody has limited its kind.
    pub(super) async fn reserve(
        &self,
        claim: &Claim,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        let channel = self.channel()?;
        let request = CreateReservationRequest {
            project_id: claim.project.to_string(),
            resource_type: claim.unit.clone(),
            resource_id: claim.id.clone(),
            ttl_seconds: HOLD_SECONDS,
            units: one(&claim.unit),
            by_service: true,
            ..CreateReservationRequest::default()
        };
        let call = async move { ReservationsClient::new(channel).create(request).await };
        match self.answer(deadline, call).await {
            Ok(reservation) => Ok(Some(reservation.id)),
            Err(refused) if refused.is_unlimited() => Ok(None),
            Err(refused) => Err(refused.to_caller()),
        }
    }

    /// The thing is there: its unit is used.
    pub(super) async fn commit(&self, claim: &Claim, reservation: &str) -> Result<(), Error> {
        let channel = self.channel()?;
        let request = CommitReservationRequest {
            id: reservation.to_owned(),
            resource_id: claim.id.clone(),
            ..CommitReservationRequest::default()
        };
        let call = async move { ReservationsClient::new(channel).commit(request).await };
        match self.answer(soon(), call).await {
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
            Err(refused) => Err(refused.to_caller()),
        }
    }

    /// The thing was not made. If this does not arrive, the hold ends by itself.
    pub(super) async fn release(&self, claim: &Claim) {
        let (Ok(channel), Some(id)) = (self.channel(), claim.reservation.clone()) else {
            return;
        };
        let request = ReleaseReservationRequest {
            id,
            reason: "it was not made".to_owned(),
        };
        let call = async move { ReservationsClient::new(channel).release(request).await };
        if let Err(refused) = self.answer(soon(), call).await {
            tracing::debug!(id = claim.id, error = %refused.status, "a hold ends by itself");
        }
    }

    /// The thing is there, whatever was told before.
    pub(super) async fn recount(&self, claim: &Claim) -> Result<(), Error> {
        let channel = self.channel()?;
        let request = RecountUnitsRequest {
            project_id: claim.project.to_string(),
            resource_id: claim.id.clone(),
            units: one(&claim.unit),
        };
        let call = async move { QuotasClient::new(channel).recount(request).await };
        match self.answer(soon(), call).await {
            Ok(_) => Ok(()),
            Err(refused) if refused.is_unlimited() => Ok(()),
            Err(refused) => Err(refused.to_caller()),
        }
    }

    /// The thing is gone.
    pub(super) async fn free(&self, claim: &Claim) -> Result<(), Error> {
        let channel = self.channel()?;
        let request = FreeUnitsRequest {
            project_id: claim.project.to_string(),
            resource_id: claim.id.clone(),
            units: HashMap::new(),
        };
        let call = async move { QuotasClient::new(channel).free(request).await };
        match self.answer(soon(), call).await {
            Ok(_) => Ok(()),
            // Nothing was used: it was freed before, or never counted.
            Err(refused) if refused.is(&[Code::CLAIM_NOT_FOUND]) || refused.is_unlimited() => {
                Ok(())
            }
            Err(refused) => Err(refused.to_caller()),
        }
    }

    async fn answer<T>(
        &self,
        deadline: Instant,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Refused> {
        let deadline = deadline.min(Instant::now() + CALL);
        let status = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => Status::unavailable("no answer in time"),
        };
        let refused = Refused { status };
        if refused.code().is_none() {
            // Nothing of CreditService's own: the next call reads the certificates again and connects anew.
            *self.channel.lock() = None;
        }
        Err(refused)
    }
}

fn soon() -> Instant {
    Instant::now() + CALL
}

/// An answer that is none of success.
struct Refused {
    status: Status,
}

impl Refused {
    /// The suite's code, if CreditService gave one.
    fn code(&self) -> Option<Code> {
        let name = self.status.metadata().get(ERROR_CODE)?;
        Code::by_name(name.to_str().ok()?)
    }

    fn is(&self, codes: &[Code]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }

    fn details(&self) -> Option<Value> {
        let details = self.status.metadata().get(ERROR_DETAILS)?;
        serde_json::from_str(details.to_str().ok()?).ok()
    }

    /// That the kind has no limit registered.
    fn is_unlimited(&self) -> bool {
        let details = self.details().unwrap_or_default();
        self.is(&[Code::VALIDATION_ERROR]) && details["constraint"] == "registered"
    }

    /// What the caller of our request is told: that there is not enough for it; everything else is not its fault.
    fn to_caller(&self) -> Error {
        let code = self.code().filter(|code| {
            [
                Code::QUOTA_EXCEEDED,
                Code::INSUFFICIENT_CREDIT,
                Code::WALLET_NOT_FOUND,
                Code::WALLET_SUSPENDED,
                Code::WALLET_CLOSED,
                Code::TOO_MANY_RESERVATIONS,
            ]
            .contains(code)
        });
        let Some(code) = code else {
            return away(self.status.to_string());
        };
        let error = Error::new(code, self.status.message());
        match self.details() {
            Some(details) => error.with_details(details),
            None => error,
        }
    }
}

fn away(why: String) -> Error {
    Error::unavailable("quotas cannot be asked for at present").with_source(why)
}
