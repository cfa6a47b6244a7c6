//! The differential suite: random sequences of operations against ChainFire and Debian's etcd, answers equal.
//!
//! ```text
//!  seed -> generate -> [Op] -> session on ChainFire -> [Outcome] --.
//!                        '---> session on etcd      -> [Outcome] ---+-> compare, less what allowed.rs excuses
//!                                                                   '-> on a difference: shrink, print
//! ```
//!
//! Both servers are wiped and compacted before each sequence, and everything that must differ (revisions, terms,
//! ids, times) is taken relative to that point or left out; see `normal`.
//!
//! `PHOTON_SEED` repeats a run, `PHOTON_SEQUENCE` picks one sequence of it, `PHOTON_SEQUENCES` sets how many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod against_etcd;
mod allowed;
mod compare;
mod generate;
mod normal;
mod op;
mod self_check;
mod server;
mod session;
mod shrink;
mod watching;
