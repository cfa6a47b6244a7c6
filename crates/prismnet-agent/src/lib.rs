//! PrismNET on one host: makes of it what the store's records say.
//!
//! ```text
//!  store ──feed──> records ──desired──> Wanted, one a VPC ─┐
//!                                                          ├──plan──> steps ──act──> kernel
//!  kernel ──netlink, nft──> actual ────────────────────────┘   (a thread in each VPC's namespace)
//! ```
//!
//! Programs of the host ask for their ports by a socket, [`local`].
//!
//! [`desired`](desired::desired) and [`plan`](plan::plan) are pure; [`kernel`] reads and acts and decides nothing. What a step
//! did is not remembered: the next pass looks again. The design is `docs/network.md`, "The agent".
//!
//! What it is not: it serves no tenant, decides nothing that is not in the store, and takes nothing down because a record is
//! absent.

#![warn(missing_docs)]

pub mod allowed;
pub mod clash;
pub mod config;
pub mod desired;
pub mod dhcp;
pub mod feed;
mod hops;
pub mod host;
pub mod kernel;
pub mod local;
pub mod metadata;
pub mod mode;
pub mod network;
pub mod plan;
pub mod records;
pub mod report;
pub mod rules;
pub mod ruleset;
pub mod run;
pub mod served;
pub mod survey;
pub mod transfer;
pub mod way_out;
pub mod worker;

pub use config::Config;
