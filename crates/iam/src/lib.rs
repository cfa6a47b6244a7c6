//! IAM: who someone is, and what they may do, for every service.
//!
//! It issues tokens and keeps orgs, projects, users, groups, service accounts, credentials, roles, bindings and deny rules.
//! It is not asked at run time: what others need to verify tokens and to decide it publishes under `/photon/iam/public/`,
//! and they follow that (`photon-auth`). It decides about itself in the same way.
//!
//! ```text
//!   REST  ── rest.rs of each resource ──┐
//!                                       ├──> service.rs: the use cases ──> App ──> the store, with an audit record
//!   gRPC  ── grpc ──────────────────────┘         │
//!                                                 └──> photon-auth: who asks, whether it may
//! ```
//!
//! | module | what |
//! |---|---|
//! | `org` `project` `user` `group` `service_account` `role` `binding` `deny_rule` | the resources |
//! | `credential` `login` `guess` | what proves who somebody is, and that guessing is slow |
//! | `signing` `token` `oauth` `wellknown` | keys and tokens |
//! | `access` | decisions for others |
//! | `audit` | what was changed, by whom |
//! | `pki` | certificates renewed, and hosts that join |
//! | `init` | the first start, and the way back in |
//! | `escalation` | nobody gives what they do not have |
//! | `removal` `scope` `principal` | what use cases share |
//! | `rest` `grpc` | the doors |
//! | `config` `run` `app` | the process |

pub mod access;
mod app;
pub mod audit;
pub mod binding;
mod clock;
pub mod config;
pub mod credential;
pub mod deny_rule;
mod escalation;
pub mod group;
mod grpc;
pub mod guess;
pub mod hex;
mod ids;
pub mod init;
pub mod login;
pub mod oauth;
pub mod org;
pub mod pki;
pub mod principal;
pub mod project;
mod removal;
pub mod rest;
pub mod role;
pub mod run;
mod scope;
pub mod service_account;
pub mod signing;
pub mod text;
pub mod token;
pub mod user;
pub mod wellknown;

pub use photon_service::{
    listing::{Ask, Listing},
    versioned::Versioned,
};

use photon_service::{contention, listing, versioned};

pub use app::App;
pub use config::Config;
pub use grpc::declared as methods;
pub use run::{Running, Sockets, accept_store, start};
