//! The quota of volumes: `volume` and `disk_gib`, counted as the volume's id. They cost nothing by time yet.
//!
//! ```text
//!   a request that makes or grows one ── holds what becomes more ──> Held, in its record ──> the controller: Used
//!   the reservation has ended by then ── what is there is counted, limits notwithstanding ──────────────┘
//!   deletion ── held, used: all of it is freed, before the record goes
//! ```

use std::collections::HashMap;

use photon_core::{Code, Error};
use photon_proto::photon::credit::v1::{
    self as pb, quotas_client::QuotasClient, reservations_client::ReservationsClient,
};
use photon_service::credit::{soon, to_caller, unlimited};
use plasmavmc_model::{UnitsOf, Volume};
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};

use super::{
    Money,
    client::{Client, ENDED, UNITS_SECONDS, keyed},
};

/// The resource type, and the unit, of volumes.
const VOLUME: &str = "volume";
/// The unit of their sizes.
const DISK: &str = "disk_gib";

/// What a volume becomes more by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct More {
    pub(crate) volumes: u32,
    pub(crate) gib: u32,
}

impl More {
    /// A volume that is there.
    fn all_of(volume: &Volume) -> Self {
        Self {
            volumes: 1,
            gib: volume.size_gib,
        }
    }

    fn units(self) -> HashMap<String, i64> {
        let all = [(VOLUME, self.volumes), (DISK, self.gib)];
        let there = all.into_iter().filter(|(_, count)| *count > 0);
        there
            .map(|(kind, count)| (kind.to_owned(), i64::from(count)))
            .collect()
    }
}

fn key(what: &str, volume: &Volume, attempt: &str) -> Result<MetadataValue<Ascii>, Error> {
    let key = format!("{what}/{}/{attempt}", volume.id);
    key.parse().map_err(Error::internal)
}

impl Client {
    async fn hold_volume(
        &self,
        volume: &Volume,
        more: More,
        attempt: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        let mut units = more.units();
        let key = key("units", volume, attempt)?;
        while !units.is_empty() {
            let request = pb::CreateReservationRequest {
                project_id: volume.project.to_string(),
                resource_type: VOLUME.to_owned(),
                resource_id: volume.id.to_string(),
                ttl_seconds: UNITS_SECONDS,
                units: units.clone(),
                by_service: true,
                ..pb::CreateReservationRequest::default()
            };
            let request = keyed(request, &key);
            let call = async move |channel| ReservationsClient::new(channel).create(request).await;
            match self.0.call(deadline.min(soon()), call).await {
                Ok(reservation) => return Ok(Some(reservation.id)),
                Err(refused) => match unlimited(&refused) {
                    Some(kind) if units.remove(&kind).is_some() => {}
                    _ => return Err(to_caller(&refused)),
                },
            }
        }
        Ok(None)
    }

    /// What a reservation holds is used from now on; false if it has ended.
    async fn use_volume(&self, volume: &Volume, reservation: &str) -> Result<bool, Error> {
        let request = pb::CommitReservationRequest {
            id: reservation.to_owned(),
            resource_id: volume.id.to_string(),
            ..pb::CommitReservationRequest::default()
        };
        let call = async move |channel| ReservationsClient::new(channel).commit(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(true),
            Err(refused) if refused.is(&[Code::RESERVATION_COMMITTED]) => Ok(true),
            Err(refused) if refused.is(ENDED) => Ok(false),
            Err(refused) => Err(to_caller(&refused)),
        }
    }

    async fn recount_volume(&self, volume: &Volume) -> Result<(), Error> {
        let mut units = More::all_of(volume).units();
        while !units.is_empty() {
            let request = pb::RecountUnitsRequest {
                project_id: volume.project.to_string(),
                resource_id: volume.id.to_string(),
                units: units.clone(),
            };
            let call = async move |channel| QuotasClient::new(channel).recount(request).await;
            let Err(refused) = self.0.call(soon(), call).await else {
                return Ok(());
            };
            match unlimited(&refused) {
                Some(kind) if units.remove(&kind).is_some() => {}
                _ => return Err(to_caller(&refused)),
            }
        }
        Ok(())
    }

    async fn free_volume(&self, volume: &Volume) -> Result<(), Error> {
        let request = pb::FreeUnitsRequest {
            project_id: volume.project.to_string(),
            resource_id: volume.id.to_string(),
            units: HashMap::new(),
        };
        // Ids never come back: this is the last that is said of it.
        let request = keyed(request, &key("free", volume, "all")?);
        let call = async move |channel| QuotasClient::new(channel).free(request).await;
        match self.0.call(soon(), call).await {
            Ok(_) => Ok(()),
            // It was freed before, or never counted.
            Err(refused) if refused.is(&[Code::CLAIM_NOT_FOUND]) => Ok(()),
            Err(refused) => Err(to_caller(&refused)),
        }
    }
}

impl Money {
    /// Whether it is not known yet that a volume is counted as it is.
    pub(crate) fn is_volume_uncounted(&self, volume: &Volume) -> bool {
        self.0.is_some() && volume.units != Some(UnitsOf::Used)
    }

    /// Takes what a volume becomes more by, and writes that into its record; what it was before is counted. Answers with the reservation
    /// that is to be given back if the record is not written. `attempt` is the request's own, one for each change that it may make.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED`, `WALLET_…`, `UNAVAILABLE`.
    pub(crate) async fn take_volume(
        &self,
        volume: &mut Volume,
        more: More,
        attempt: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Error> {
        let Some(inner) = &self.0 else {
            return Ok(None);
        };
        let client = &inner.client;
        let held = client.hold_volume(volume, more, attempt, deadline).await;
        let held = inner.heard(held)?;
        volume.units = Some(match held.clone() {
            Some(reservation) => UnitsOf::Held { reservation },
            // Nobody has limited any of it.
            None => UnitsOf::Used,
        });
        Ok(held)
    }

    /// Has a volume counted as it is: what is held for it, or if that has ended, or nothing was, all of it.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn count_volume(&self, volume: &Volume) -> Result<(), Error> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let client = &inner.client;
        let is_used = match &volume.units {
            Some(UnitsOf::Used) => true,
            Some(UnitsOf::Held { reservation }) => {
                inner.heard(client.use_volume(volume, reservation).await)?
            }
            None => false,
        };
        if is_used {
            return Ok(());
        }
        inner.heard(client.recount_volume(volume).await)
    }

    /// The volume is gone, and uses nothing any more.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn free_volume(&self, volume: &Volume) -> Result<(), Error> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let client = &inner.client;
        if let Some(UnitsOf::Held { reservation }) = &volume.units {
            // Then nobody can use them any more, who is late; if somebody has, they are freed.
            inner.heard(client.release(reservation).await)?;
        }
        inner.heard(client.free_volume(volume).await)
    }

    /// Gives back what a request has held for a volume and not written down. What cannot be given back ends by itself.
    pub(crate) async fn give_back_of_volume(&self, held: &[String], volume: Option<&Volume>) {
        let Some(inner) = &self.0 else {
            return;
        };
        let kept = volume.and_then(|volume| volume.units.as_ref());
        for reservation in held {
            let is_kept =
                matches!(kept, Some(UnitsOf::Held { reservation: kept }) if kept == reservation);
            if is_kept {
                continue;
            }
            if let Err(error) = inner.client.release(reservation).await {
                tracing::debug!(%error, reservation, "a hold ends by itself");
            }
        }
    }
}
