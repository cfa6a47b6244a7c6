//! Everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod consoles;
mod debian;
mod door;
mod guests;
mod images;
mod lab;
mod networks;
mod plans;
mod plans_of_memory;
mod processes;
mod snapshots;
mod standstill;
mod volumes;
