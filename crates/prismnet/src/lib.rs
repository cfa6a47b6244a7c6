//! PrismNET's control plane: tenants' networks, as records.
//!
//! VPCs, subnets, ports with addresses, security groups, routes; external networks and floating IPs. What hosts make of them is the agent's; here it is decided
//! who may have what, and that no two have the same.
//!
//! ```text
//!   REST  ── rest.rs of each resource ──┐
//!                                       ├──> service.rs: the use cases ──> one transaction ──> the store
//!   gRPC  ── grpc.rs ───────────────────┘       │        │                    (with its audit record)
//!                                               │        └──> quota: CreditService, before and after
//!                                               └──> photon-auth: who asks, whether it may
//! ```
//!
//! | module | what |
//! |---|---|
//! | `vpc` `subnet` `port` `group` `rule` `route` `external` `floating` | the resources |
//! | `pool` `known` | what a process believes of addresses, subnets and groups until the store says otherwise |
//! | `quota` | units of CreditService, and what it is still to be told |
//! | `host` | what agents report: how ports are, where hosts reach each other |
//! | `gone` | orders to take down what was deleted, until they are done |
//! | `audit` `refusal` `scope` `turns` `users` `wanted` | what use cases share |
//! | `rest` `grpc` | the doors |
//! | `config` `run` `app` `clock` | the process |

mod app;
mod clock;
pub mod config;
mod external;
mod floating;
mod gone;
mod group;
mod grpc;
mod host;
mod known;
mod pool;
mod port;
mod quota;
mod refusal;
pub mod rest;
mod route;
mod rule;
pub mod run;
mod subnet;
mod turns;
mod users;
mod vpc;
mod wanted;

use photon_service::{audit, contention, listing, scope, versioned};

pub use app::App;
pub use config::Config;
pub use grpc::declared as methods;
pub use run::{Running, Sockets, accept_store, start};
