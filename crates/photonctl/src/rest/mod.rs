//! What commands share that speak REST to a service: where it is, as whom, and the guide's envelope.
//!
//! ```text
//!   flags ──┐
//!   context ┴─> Session (addresses, certificates, token) ─> Service ─> IAM, CreditService, PrismNET, PlasmaVMC
//! ```
//! Flags hold over the context, `PHOTONCTL_TOKEN` over the context's token. A token goes to the IAM that made it, and to the
//! services of that IAM's suite that the same person names: by a flag, in the context, or as those beside that IAM.

pub(crate) mod cli;
pub(crate) mod client;
pub(crate) mod context;
pub(crate) mod kind;
pub(crate) mod list;
pub(crate) mod project;
pub(crate) mod session;
pub(crate) mod things;

mod body;

pub(crate) use self::{body::Body, session::Session};
