//! PlasmaVMC's control plane: virtual machines, as records, and what makes them so.
//!
//! What runs on a host is the agent's; here it is decided what is wanted, where it is put, and what is shown of it.
//!
//! ```text
//!   REST  ── rest.rs of each resource ──┐
//!                                       ├──> service.rs: the use cases ──> one transaction ──> the store
//!   gRPC  ── grpc.rs ───────────────────┘                                                       │ watch
//!                                                                                               v
//!   host/<host>/observed/… ──> host: what agents tell ──> controller: one leads, one worker a VM ──> host/<host>/desired/…
//! ```
//!
//! | module | what |
//! |---|---|
//! | `vm` | virtual machines: requests, states, use cases, doors |
//! | `console` | what guests write to their serial consoles, and typing to them |
//! | `snapshot` | how disks were, and what VMs were doing then |
//! | `image` `host` `operation` | what VMs begin with, what hosts tell, long work |
//! | `network` | its interfaces: ports of PrismNET |
//! | `door` | asking hosts' agents |
//! | `volume` `pool` | disks that VMs come and go by, and where disks lie |
//! | `placement` | which host a VM is put on |
//! | `money` | quota, and what running costs: what CreditService is told |
//! | `controller` | makes hosts do what is wanted, and VMs show what hosts tell |
//! | `refusal` | what is refused |
//! | `rest` `grpc` | the doors |
//! | `config` `run` `app` | the process |
//!
//! The design is in `docs/vm.md`.

mod app;
pub mod config;
mod console;
mod controller;
mod door;
mod grpc;
mod host;
mod image;
mod money;
mod network;
mod operation;
mod placement;
mod pool;
mod refusal;
pub mod rest;
pub mod run;
mod snapshot;
mod vm;
mod volume;

pub use app::App;
pub use config::Config;
pub use grpc::declared as methods;
pub use run::{Running, Sockets, accept_store, start};
