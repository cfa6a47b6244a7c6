//! What photon-authz promises, tried from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod build;
mod conditions;
mod decisions;
mod differential;
mod groups;
mod holds;
mod lists;
mod records;
mod reference;
mod roles;
mod snapshots;
