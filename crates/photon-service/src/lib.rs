//! What every service that keeps its state in the store is made of, beside what it does.
//!
//! ```text
//!   config    [store], [auth], and what is asked of listeners
//!   starting, running   sockets -> Starting -> Running -> stopped in order
//!   openapi   failures, credentials, which routes are open
//!   rest      the routes behind what refuses surplus, answers with a revision, If-Match
//!   grpc      the methods behind their guard, reflection for whoever proves to be somebody
//!   store_change   going on after the store was restored or replaced
//!   versioned, contention, listing   what use cases share: values at a revision, races, pages
//!   scope, audit   where things are and who may see them, what was changed by whom
//!   peer      another service, asked under this one's certificate
//!   credit    what services have in common that ask CreditService
//! ```
//! ChainFire is no such service: it is the store.

#![warn(missing_docs)]

pub mod audit;
pub mod config;
pub mod contention;
pub mod credit;
pub mod grpc;
mod idempotency;
pub mod listing;
pub mod openapi;
pub mod peer;
pub mod rest;
mod running;
pub mod scope;
mod starting;
pub mod store_change;
pub mod versioned;

pub use running::{Parts, Running, Sockets, bound, process, readiness};
pub use starting::{Beside, Doors, Ready, Starting};
