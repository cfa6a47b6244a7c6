//! The Raft log and the vote on disk.
//!
//! ```text
//!  append(entries) -> into the open file's buffer, readable at once
//!        |               group in flight?  no: write + fdatasync now, one group of one
//!        v                                 yes: wait with the others
//!  flush worker: one write, one fdatasync for the whole group -> callbacks -> next group
//! ```
//!
//! A lone append pays one fsync and no timer; appends that arrive during an fsync share the next
//! one. An error of write or fsync ends the process: what the kernel dropped cannot be known.

mod examine;
mod record;
mod store;
#[cfg(test)]
mod suite;

pub(crate) use examine::examine;
pub(crate) use store::{LogStore, Outline, command_bytes, create_dir};
