//! IAM's integration tests: one binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod audit;
mod credentials;
mod emails;
mod grpc;
mod guide;
mod hostile;
mod house;
mod idempotency;
mod init;
mod instances;
mod keys;
mod local;
mod login;
mod nesting;
mod oauth;
mod openapi;
mod pki;
mod process;
mod proof;
mod resources;
mod restored;
mod schemathesis;
mod sweep;
mod tenancy;
mod tokens;
