//! What every agent of a host has to do with the store.
//!
//! ```text
//!   [store] ──> Memory: is it the one we knew? ──> connection ──> follow, report
//!                 ^ accept-store: a person says so      alive: a key under our lease
//! ```
//!
//! What it is not: a runtime of agents. What is followed, done and told is each agent's own.

#![warn(missing_docs)]

pub mod alive;
pub mod config;
pub mod connection;
pub mod memory;
pub mod notify;
pub mod told;

pub use config::{StoreConfig, StoreTls};
pub use memory::Memory;
