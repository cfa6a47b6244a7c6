//! CreditService: what projects pay from.
//!
//! Wallets, reservations and their history, kept in a double-entry ledger (`creditservice-ledger`, which decides everything
//! about money) that is spread over shards. This crate is what stands around it: who may ask, who owns which shard, how
//! entries get into the store, and the doors.
//!
//! ```text
//!   REST  ── rest.rs of each resource ──┐
//!                                       ├──> service.rs: the use cases ──> App ──> Shards ──> the owner's ledger
//!   gRPC  ── grpc.rs ───────────────────┘         │                                              │
//!                                                 └──> photon-auth: who asks, whether it may     └──> the store
//! ```
//!
//! | module | what |
//! |---|---|
//! | `wallet` `transaction` `reservation` `quota` `price` `usage` `statement` | the resources |
//! | `shard` | owners, journal, takeover, forwarding |
//! | `history` | entries by project |
//! | `export` | old blocks of the journal to files; whether the journal is what was written |
//! | `billing` | whether projects must have a wallet, by org |
//! | `catalog` | what is the same in every shard: limits and prices |
//! | `idempotency` `listing` `scope` `refusal` | what use cases share |
//! | `rest` `grpc` | the doors |
//! | `config` `run` `app` `clock` | the process |

mod app;
mod billing;
mod catalog;
mod clock;
pub mod config;
pub mod export;
mod grpc;
mod history;
mod idempotency;
mod listing;
mod price;
mod quota;
mod refusal;
mod reservation;
pub mod rest;
pub mod run;
mod scope;
mod shard;
mod statement;
mod transaction;
mod usage;
mod wallet;

pub use app::App;
pub use config::Config;
pub use grpc::declared as methods;
pub use run::{Running, Sockets, accept_store, start};
