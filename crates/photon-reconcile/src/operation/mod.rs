//! Work that outlives a process: a record that says what was done and what comes next.
//!
//! ```text
//!   Running ──all steps done──────────────────────────────> Done
//!      └──a step failed, took too long, or it was cancelled──> Undoing ──all undone──> Failed, Cancelled
//! ```
//!
//! - A step may begin any number of times: its process may die at every line. What it writes into the store is in the
//!   transaction that says that it is done, with the leader's fence and the record as it was read: that part happens once.
//!   What it does elsewhere must bear to be done again.
//! - The step that failed is undone, too: nobody knows how far it came. An undo must bear that there is nothing to undo.
//! - An undo that fails is tried again until it succeeds. Nothing is left because nobody came back to it.

mod record;
mod run;
mod sweep;

pub use record::{
    LogLine, MOST_LOG_LINES, Operation, OperationState, Operations, StepState, StepStatus,
};
pub use run::{Acted, Driven, Driver, Steps, drive};
pub use sweep::{KEPT_FOR, sweep};
