//! Typed records on any etcd v3 server: ChainFire or etcd itself.
//!
//! ```text
//!   Collection<T>  get create update replace delete list watch      Leadership  Lease
//!        |  codec: versions, unknown fields                             |         |
//!   Transaction  compares + writes, one outcome                         |         |
//!        |  audit: its record, chained, in the same transaction           |         |
//!        |  idempotency: under which key it was done, in the same one     |      registry
//!        +--------------------- Store ----------------------------------+---------+
//!                 deadlines, safe retries, witness (is this still the store we knew?)
//!                               etcd-client
//! ```
//!
//! Invariants are numbered in the crate's README. What it is not: a cache, an object mapper, or a way around
//! revisions; every write is a compare-and-swap.

mod acceptance;
pub mod audit;
mod backoff;
mod codec;
mod collection;
#[cfg(feature = "conformance")]
pub mod conformance;
mod election;
mod error;
mod feed;
pub mod idempotency;
mod key;
mod lease;
mod record;
pub mod registry;
mod scan;
mod store;
mod tls;
mod transaction;
mod watch;
mod witness;

pub use acceptance::Changed;
pub use collection::{Collection, Expected, Page, PageRequest, Unreadable};
pub use election::{Fence, Leader, Leadership};
pub use error::Error;
pub use feed::{Entry, Feed, FeedEvent};
pub use lease::Lease;
pub use record::{Fields, Record, Step, Stored, WriteGate};
pub use scan::{Scan, Scanned};
pub use store::{IDENTITY_KEY, Options, Store, Tls};
pub use tls::TlsFiles;
pub use transaction::{Committed, Transaction};
pub use watch::{Watch, WatchEvent};
pub use witness::{Change, Seen};

/// What every call of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;
