//! Statements: what a wallet had at the beginning of a period, what happened, and what it had at the end.

mod csv;
mod grpc;
pub(crate) mod rest;
pub(crate) mod service;

use creditservice_ledger::{Entry, Shard, Time};
use photon_core::Name;

use crate::wallet::Wallet;

/// A statement: `opening` and the sum of its entries' amounts are `closing`.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) wallet: Wallet,
    pub(crate) shard: Shard,
    pub(crate) period: Period,
    pub(crate) opening: i64,
    /// Those that move the balance, the oldest first.
    pub(crate) entries: Vec<Entry>,
    pub(crate) closing: i64,
}

/// From a moment on, before another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// The name of a statement's file.
pub(crate) fn file_name(project: &Name, period: Period) -> String {
    let day = |time: Time| crate::refusal::shown(time).strftime("%Y-%m-%d").to_string();
    format!("{project}_{}_{}.csv", day(period.from), day(period.to))
}
