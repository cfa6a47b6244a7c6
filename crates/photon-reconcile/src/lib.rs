//! What a controller is made of: who leads, what is to be looked at next, and work that outlives a process.
//!
//! ```text
//!   lead      one process of all: work(fence) while its lease holds
//!     └─ Queue   keys to look at: each once, by one worker, again after a pause where something failed
//!          └─ work   worker(s): take a key, look, do, say when to look again
//!               └─ operation::drive   a record with steps, each safe to run twice and with an undo
//! ```
//!
//! Everything here is level-triggered: a key says only *that* something is to be looked at. Watches put keys in early, a resync
//! puts all of them in now and then; what is lost with the process is found again by looking.

#![warn(missing_docs)]

pub mod leader;
pub mod operation;
pub mod queue;
pub mod work;

pub use leader::lead;
pub use operation::{Acted, Operation, OperationState, Operations, Steps, drive};
pub use queue::{Queue, Turn};
pub use work::{Again, work};
