//! Networks, which are PrismNET's: VMs' interfaces are its ports.
//!
//! ```text
//!   create ──door──> are subnets, ports and groups there, and the project's?
//!      └─ step `ports`: made by idempotency key, or bound by `device_id` ── `bind`: given the host ──> plugged by the host's agents
//!   delete, undo ── `release`: those that were made are deleted, those that were named are let go
//! ```
//!
//! What is made for a VM bears its id in `device_id`, and in its name: so it is found even if nobody could write down that it was made.

mod client;
pub(crate) mod door;
mod ports;

pub(crate) use client::Prismnet;
pub(crate) use ports::Stuck;
