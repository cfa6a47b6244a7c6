//! ChainFire's state machine: etcd 3.6's multi-version key-value semantics over RocksDB.
//!
//! Commands that consensus has ordered go in through [`Engine::apply`]; reads and watches come out at one
//! consistent revision. There is no Raft and no network here, and time is given in where it matters.
//!
//! ```text
//!  apply(range, mark)                        range / read_txn / hash_kv            watch streams
//!        |                                            |                                  |
//!     pending: evaluates each command           view: RocksDB snapshot + revision     watch hub
//!     over what is uncommitted  -- one batch -->  + live-key index  --- events ------>   |
//!        |                                            |                                  |
//!     RocksDB: cur, rev, ver, lease, auth, meta  <--- physical compaction        catch-up from rev
//! ```
//!
//! | module | what |
//! |---|---|
//! | `engine` | the handle: open, apply, read, checkpoint, install |
//! | `pending`, `apply`, `txn` | evaluating commands over an uncommitted batch |
//! | `view`, `range`, `span`, `budget` | reads at a revision, and how much one may hold |
//! | `loaded`, `events`, `lease` | the state: published, in RAM; history for watches |
//! | `compact`, `hash` | physical compaction in steps; a hash independent of it |
//! | `live` | order statistics over the live keys in RAM |
//! | `disk`, `codec`, `place` | RocksDB, the bytes in it, the directory swap |
//! | `examine` | reading all of a state that nobody uses, for damage |
//! | `checks`, `access` | etcd's static request checks; who may do what |
//! | `auth`, `watch`, `lessor` | users and roles; the watch hub; the leader's lease clock |

mod access;
mod apply;
pub mod auth;
mod budget;
mod checks;
mod codec;
mod compact;
mod disk;
mod engine;
mod error;
mod events;
mod examine;
mod hash;
mod lease;
pub mod lessor;
mod live;
mod loaded;
mod options;
mod pending;
mod place;
mod range;
mod span;
mod txn;
mod view;
pub mod watch;

pub use access::Request;
pub use budget::{Budget, Cost};
pub use engine::{Engine, Identity, OpenError, Size};
pub use error::EtcdError;
pub use events::{History, RevisionEvents};
pub use examine::{Examined, examine, examine_database};
pub use hash::HashKv;
pub use lease::{LeaseInfo, MAX_LEASE_TTL};
pub use options::Options;
