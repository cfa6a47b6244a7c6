//! The Raft log and the vote on disk.
//!
//! ```text
//!  append(entries) -> encoded into the open buffer, readable at once
//!        |               writer asleep?  yes: wake it, a group of one
//!        v                               no: wait with the others
//!  writer: swap buffers -> one pwrite, one fdatasync for the whole frame -> callbacks -> next frame
//!
//!  log-…001.seg  |1: state, …|2|3|4 ...                    |000|     closed: the next frame did not fit
//!  log-…873.seg  |873: state, …|874|875|0000000000000000000000|     zeros up to its full length
//!                                      ^ frame 876 goes here
//! ```
//!
//! A lone append pays one fsync and no timer; appends that arrive during an fsync share the next
//! one. On a node that is its own quorum the append writes itself if nothing is being written. An error of write or fsync ends the process: what the kernel dropped cannot be known.
//!
//! - A *frame* is what one fsync makes durable; frames are numbered, and frame n + 1 is written only after frame n is on
//!   disk. That is what tells a torn tail from damage (`recover.rs`).
//! - Files have their full length from the start, because fsync of a file that grows costs more. A frame that does not
//!   fit begins the next file, which repeats the log's state, so that older files can be removed when their entries are
//!   purged, and not before the record that says so is durable.
//! - Entries that are cut off stay in the files, followed by a record that says so; nothing is overwritten but the torn
//!   tail, with zeros, when the log is opened.
//! - Reading never waits for an fsync.
//!
//! `frame.rs`, `record.rs`: bytes. `segment.rs`: files. `index.rs`: what is in the log. `pending.rs`: what is on its way.
//! `writer.rs`: the thread. `recover.rs`: reading files. `store.rs`: openraft's view. `examine.rs`: a stopped node.

mod examine;
mod frame;
mod index;
mod pending;
mod record;
mod recover;
mod segment;
mod store;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use examine::examine;
pub(crate) use index::Outline;
pub(crate) use segment::create_dir;
pub(crate) use store::{LogStore, command_bytes};
