//! PrismNET's integration tests: one binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod allocation;
mod external;
mod floating;
mod groups;
mod grpc;
mod guide;
mod hosts;
mod house;
mod idempotency;
mod input;
mod networks;
mod openapi;
mod ports;
mod process;
mod quotas;
mod restored;
mod routes;
mod schemathesis;
mod sweep;
mod tenancy;
