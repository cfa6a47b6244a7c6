//! Groups of several nodes in one process, over real sockets and real files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

mod cluster;
mod disk;
mod election;
mod members;
mod peers;
mod reads;
mod records;
mod snapshots;
mod tls;
