//! Bad input and bad manners: precise errors, bounded memory, no stall for others, nothing acknowledged lost.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod crowd;
mod garbage;
mod killed;
mod malformed;
mod oversized;
mod process;
mod revisions;
mod wire;
