//! Usage: what resources used, as the services of the suite report it; rated by the price book and charged by the ledger.

pub(crate) mod grpc;
pub(crate) mod service;

use creditservice_ledger::{Figures, ReservationView};

/// What a report came to.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    /// Minor units taken now.
    pub(crate) charged: i64,
    /// Whether the wallet pays for usage at all.
    pub(crate) billed: bool,
    /// What is in the wallet; none if there is none.
    pub(crate) figures: Option<Figures>,
    /// The next hold.
    pub(crate) next: Option<ReservationView>,
}
