//! A container runtime's plugin: connects a container with a port of PrismNET (the Container Network Interface, versions 0.4.0,
//! 1.0.0 and 1.1.0).
//!
//! ```text
//!  environment, stdin ──call──> Call ──verbs──> agent of the host, by its socket ──> result, on stdout
//! ```
//!
//! It makes nothing itself and keeps nothing: what there is, the agent knows. Which port it is about, whoever runs the container says
//! ([`port`]).

#![warn(missing_docs)]

pub mod agent;
pub mod call;
pub mod failure;
pub mod port;
pub mod result;
pub mod verbs;

/// Versions of the specification that are spoken, the oldest first.
pub const VERSIONS: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];

/// The version of an answer where nobody has said which is wanted.
pub const LATEST: &str = "1.1.0";
