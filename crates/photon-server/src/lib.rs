//! The one way to be a daemon.
//!
//! A service hands over routers and reads typed requests; everything around them happens here once:
//!
//! ```text
//!  config ──> Daemon ──> listener ──> connection ──┬─> gRPC routes            (nothing in between)
//!  (TOML +               (TCP, TLS,   (h1/h2,      │
//!   environment)          caps)        peer, idle) └─> Door ──> handler ──> Face
//!                                                       limits, request id,   envelope
//!                                                       dev gate, identity
//! ```
//!
//! Invariants: every REST answer, panics included, leaves through a [`face::Face`]; a gRPC request passes
//! no REST layer; every connection, body and wait has a limit; a drain tells streams first and ends in time.

#![warn(missing_docs)]

pub mod auth;
pub mod config;
pub mod daemon;
pub mod door;
pub mod face;
mod fields;
pub mod grpc;
pub mod health;
pub mod listen;
pub mod log;
pub mod main_with;
pub mod metrics;
mod notify;
pub mod peer;
mod process;
pub mod rest;

pub use auth::{Admission, Authenticator, CertificateAuthenticator, Identity};
pub use config::{
    AuthConfig, ConfigError, LimitsConfig, ListenConfig, LogConfig, Mode, TlsConfig, load,
};
pub use daemon::{Daemon, Running};
pub use door::{Bodies, Door};
pub use face::{Face, GuideFace};
pub use health::Readiness;
pub use listen::Listen;
pub use main_with::{CommonArgs, ServiceConfig, main_with};
pub use metrics::Metrics;
pub use peer::{CertificateIdentity, Peer};
pub use rest::{Created, Data, Deadline, Json, Path, Query, RequestId, RestError, RestResult};
