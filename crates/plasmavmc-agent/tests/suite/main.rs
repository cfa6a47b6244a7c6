//! Everything that needs more than one module.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod consoles;
mod door;
mod guests;
mod images;
mod lab;
mod networks;
mod plans;
mod processes;
