//! A daemon on real sockets, asked over real connections.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod drain;
mod gate;
mod grpc;
mod harness;
mod left;
mod limits;
mod rest;
mod start;
mod tls;
