//! Replicates a [`StateMachine`] over several nodes: openraft with a log of its own, peers over
//! gRPC, snapshots streamed file by file, membership, and linearizable reads that share rounds.
//! Many groups can live in one process behind one peer listener.
//!
//! It knows nothing of what the commands mean, and nothing of clients.

mod codec;
mod config;
mod error;
mod failure;
mod group;
mod log;
mod machine;
mod member;
pub mod offline;
mod snapshot;
mod state_machine;
mod transport;
mod types;

pub use config::{ClusterId, Config};
pub use error::Error;
pub use group::{Applied, Group};
pub use member::{Identity, Member, NodeId, Role, Status};
pub use state_machine::{LeaderService, NoService, StateMachine};
pub use transport::{PeerTls, PeerTlsFiles, Transport, identify};

// The clusters of `tests/raft`, for tests that need to see inside.
#[cfg(test)]
extern crate self as photon_raft;
#[cfg(test)]
#[path = "../tests/raft/cluster.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests; some of it is for others"
)]
mod cluster;
#[cfg(test)]
#[path = "../tests/raft/records.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests; some of it is for others"
)]
mod records;
