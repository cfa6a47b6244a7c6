//! Reservations: credit that is held until it is charged or given back.
//!
//! ```text
//!   create ──> active ── commit: at most what is held ──> committed
//!                 ├── release ──> released
//!                 ├── extend: a new deadline
//!                 └── its time is over ──> expired
//! ```

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use creditservice_ledger::{
    Charge, Description, Hold, Payer, ReservationStatus, Resource, ResourceId, Time, Ttl, Units,
};
use photon_core::{Error, Name};

/// Credit to be held.
#[derive(Clone, Debug)]
pub(crate) struct NewReservation {
    pub(crate) project: Name,
    /// None: units only.
    pub(crate) hold: Option<Hold>,
    pub(crate) units: Units,
    pub(crate) ttl: Ttl,
    pub(crate) payer: Payer,
    pub(crate) resource: Resource,
    pub(crate) description: Option<Description>,
}

/// What is charged of a reservation.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    /// All that is held if nothing is said.
    pub(crate) actual: Option<Charge>,
    pub(crate) resource_id: Option<ResourceId>,
    pub(crate) description: Option<Description>,
}

/// How long a reservation holds if nobody says: an hour.
pub(crate) fn usual_ttl() -> Result<Ttl, Error> {
    Ttl::new(3600).map_err(Error::internal)
}

/// What a status says: its word; when it was resolved; what was charged.
pub(crate) fn said(status: ReservationStatus) -> (&'static str, Option<Time>, Option<i64>) {
    match status {
        ReservationStatus::Active => ("active", None, None),
        ReservationStatus::Committed { at, charged } => ("committed", Some(at), Some(charged)),
        ReservationStatus::Released { at } => ("released", Some(at), None),
        ReservationStatus::Expired { at } => ("expired", Some(at), None),
    }
}
