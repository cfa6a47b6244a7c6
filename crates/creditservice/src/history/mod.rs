//! What happened to each project: its entries, by project.
//!
//! The journal has entries by shard, in the order they were made; whoever asks for a project's transactions would have to
//! read those of all others. So a pager copies them into pages of one project each:
//!
//! ```text
//!   owner ── written entries ──> Unpaged (in memory, by project) ── pager ──> history/<project>/<first seq>: up to 256
//!                                    │                                              │
//!   reader ──────── newest ──────────┘ ──────────────── older ─────────────────────┘
//! ```
//! An entry is in the owner's memory, in a page, or in both: readers go by `seq`. What is not in pages comes again from the
//! journal: `paged` says up to which entry everything is in pages.

pub(crate) mod page;
pub(crate) mod pager;
mod unpaged;

pub(crate) use unpaged::Unpaged;
