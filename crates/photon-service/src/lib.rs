//! What every service that keeps its state in the store is made of, beside what it does.
//!
//! ```text
//!   config    [store], [auth], and what is asked of listeners
//!   running   sockets -> Running -> stopped in order
//!   openapi   failures, credentials, which routes are open
//!   rest      the routes behind what refuses surplus
//!   grpc      the methods behind their guard, reflection for whoever proves to be somebody
//! ```
//! ChainFire is no such service: it is the store.

#![warn(missing_docs)]

pub mod config;
pub mod grpc;
mod idempotency;
pub mod openapi;
pub mod rest;
mod running;

pub use running::{Parts, Running, Sockets, bound, process, readiness};
