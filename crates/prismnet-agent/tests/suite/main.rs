//! Everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use photon_testkit::network::{lab, samples, tenant};

mod hops;
mod host;
mod hostile;
mod local;
mod model;
mod plans;
mod seen;
mod ways;
mod ways_plans;

/// The program.
const AGENT: &str = env!("CARGO_BIN_EXE_prismnet-agent");
