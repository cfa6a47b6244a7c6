//! Quotas: how much of each kind a project may have, and has.
//!
//! A kind is registered with a default limit; a project may have a limit of its own. Reservations hold units, commits move
//! them to the resource that uses them, which gives them back at its end.

pub(crate) mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use creditservice_ledger::{Limit, ResourceKind};
use serde::{Deserialize, Serialize};

/// What a project may have of a kind, and has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    pub(crate) kind: ResourceKind,
    /// Its own limit, or the default.
    pub(crate) limit: Limit,
    /// Whether the limit is its own.
    pub(crate) own: bool,
    /// Units in use.
    pub(crate) used: i64,
    /// Units reserved.
    pub(crate) reserved: i64,
}

impl From<creditservice_ledger::QuotaView> for Quota {
    fn from(view: creditservice_ledger::QuotaView) -> Self {
        Self {
            kind: view.kind,
            limit: view.limit,
            own: view.own,
            used: view.used,
            reserved: view.reserved,
        }
    }
}
