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

pub use config::Config;
pub use error::Error;
pub use group::{Applied, Group};
pub use member::{Identity, Member, NodeId, Role, Status};
pub use state_machine::{LeaderService, NoService, StateMachine};
pub use transport::{PeerTls, Transport, identify};
