//! The program itself: what it refuses, and containers that it connects.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use photon_testkit::network::{lab, samples, tenant};

mod connect;
mod plugin;
mod refuse;
