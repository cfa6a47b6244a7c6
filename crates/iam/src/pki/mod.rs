//! Certificates: renewed while they are valid, and given to hosts that join.
//!
//! ```text
//!   POST /api/v1/pki/renew          over TLS with the certificate itself: the same names, a new key
//!   POST /api/v1/host-tokens        an administrator: a token bound to a host's name, shown once
//!   POST /api/v1/host-tokens/redeem the new host: the token once, and keys to be certified for its agents
//!
//!   host token:  made ──redeemed──> used      made ──its time is over──> expired      deleted: gone
//! ```
//! All of it needs the authority's key on this machine (`[pki] ca_dir`); without it the answer is 501, and
//! `photonctl pki` does the same on the machine that has it.
//!
//! A key never comes here: callers send signing requests, of which only the public key is looked at. Names are those of the
//! certificate that is renewed, or of the host the token is bound to.

mod authority;
mod config;
mod host_token;
mod join;
mod renewal;
mod rest;

pub use config::PkiConfig;
pub(crate) use rest::{RestDoc, routes};
