//! The engine from outside: one binary, because each links RocksDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests"
)]

mod access;
mod durability;
mod history;
mod kit;
mod leases;
mod model;
mod random;
mod rules;
mod watches;
