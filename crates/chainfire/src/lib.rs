//! ChainFire, the shared state store: a Raft key-value store that speaks etcd v3.
//!
//! ```text
//!  REST :8081            etcd v3 gRPC + photon.chainfire.v1 :50051          peers :2380
//!      \                              |                                          |
//!       rest/                 etcd/  native/        doors: parse, call, render   |
//!          \                    |                                                |
//!           +------------- app/ one file per resource: the use cases             |
//!                               | propose / read_index / call_leader   \ reads   |
//!                          photon-raft <-----------------------------------------+
//!                               | apply, mark, flush, checkpoint, install  (app/machine.rs)
//!                          chainfire-engine
//! ```
//!
//! What it is not: it knows nothing of IAM, of organizations or of any other service; its users are etcd's.
//!
//! * [`config`]: every setting, its unit and default.
//! * [`run`]: `start(config) -> Running`, used by `main` and by tests.
//! * [`app`]: what can be asked of the store, whoever asks.
//! * [`offline`]: backups, and what is done to a node that does not run.
//! * [`etcd`]: etcd's gRPC services and HTTP paths; `gateway`: the same services for JSON.

pub mod app;
pub mod config;
pub mod data_dir;
pub mod etcd;
mod gateway;
pub mod native;
pub mod offline;
pub mod rest;
pub mod run;
