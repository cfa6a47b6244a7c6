//! Everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod lab;
mod plans;
mod processes;
