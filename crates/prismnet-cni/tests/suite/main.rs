//! The program itself: what it refuses, and containers that it connects.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod connect;
#[allow(dead_code, reason = "the agent's own tests use all of it")]
#[path = "../../../prismnet-agent/tests/suite/lab.rs"]
mod lab;
mod plugin;
mod refuse;
#[allow(dead_code, reason = "the agent's own tests use all of it")]
#[path = "../../../prismnet-agent/tests/suite/samples.rs"]
mod samples;
#[allow(dead_code, reason = "the agent's own tests use all of it")]
#[path = "../../../prismnet-agent/tests/suite/tenant.rs"]
mod tenant;
