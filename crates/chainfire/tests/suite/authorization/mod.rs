//! One authorization for all doors: REST, native gRPC, etcd gRPC and the JSON gateway find the same user and give
//! the same verdict, over TLS and in enforce mode.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod ask;
mod changes;
mod doors;
mod guarded;
mod matrix;
mod peers;
mod strangers;
