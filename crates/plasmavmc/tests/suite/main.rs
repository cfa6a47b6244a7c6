//! PlasmaVMC's integration tests: one binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod cut_off;
mod door;
mod failures;
mod grpc;
mod guests;
mod guide;
mod house;
mod idempotency;
mod images;
mod input;
mod lifecycle;
mod money;
mod networks;
mod openapi;
mod paid;
mod pools;
mod power;
mod resize;
mod schemathesis;
mod snapshots;
mod tenancy;
mod volume_quota;
mod volumes;
