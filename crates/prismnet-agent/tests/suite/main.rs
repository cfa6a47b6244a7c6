//! Everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod hops;
mod host;
mod hostile;
mod lab;
mod local;
mod model;
mod plans;
mod samples;
mod seen;
mod tenant;
mod ways;
mod ways_plans;
