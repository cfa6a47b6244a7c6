//! PlasmaVMC's integration tests: one binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod failures;
mod grpc;
mod guide;
mod house;
mod idempotency;
mod input;
mod lifecycle;
mod openapi;
mod tenancy;
