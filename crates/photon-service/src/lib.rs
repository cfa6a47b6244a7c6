//! What every service that keeps its state in the store is made of, beside what it does.
//!
//! ```text
//!   config    [store], [auth], and what is asked of listeners
//!   running   sockets -> Running -> stopped in order
//!   openapi   failures, credentials, which routes are open
//!   rest      the routes behind what refuses surplus, answers with a revision, If-Match
//!   grpc      the methods behind their guard, reflection for whoever proves to be somebody
//!   versioned, contention, listing   what use cases share: values at a revision, races, pages
//! ```
//! ChainFire is no such service: it is the store.

#![warn(missing_docs)]

pub mod config;
pub mod contention;
pub mod grpc;
mod idempotency;
pub mod listing;
pub mod openapi;
pub mod rest;
mod running;
pub mod versioned;

pub use running::{Parts, Running, Sockets, bound, process, readiness};
