//! Everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod host;
mod lab;
mod model;
mod plans;
mod samples;
