//! PlasmaVMC on one host: makes of it what the store's records say of virtual machines, and reports what came of it.
//!
//! ```text
//!  store ──feed──> desired/vm, desired/gone ─┐
//!                                            ├──plan──> steps ──act──> libvirt, files      (a task for each VM)
//!  libvirt, files ──look──> found ───────────┘              └─────> outcomes ──report──> observed/…
//! ```
//!
//! [`plan`](plan::plan) is pure. [`driver::Driver`] is all that is known of a hypervisor; [`libvirt`] is its one implementation, and the only
//! code of PhotonCloud that touches libvirt. What a step did is not believed: it is looked again. The design is `docs/vm.md`, "Control plane
//! and agent".
//!
//! What it is not: it serves no tenant, decides nothing that is not in the store, and takes nothing down because a record is absent.

#![warn(missing_docs)]

pub mod attach;
pub mod blobs;
pub mod calls;
pub mod config;
pub mod console;
pub mod copies;
pub mod disk;
pub mod door;
pub mod driver;
pub mod feed;
pub mod files;
pub mod host;
pub mod images;
pub mod inspect;
pub mod libvirt;
pub mod machine;
pub mod metadata;
pub mod orphans;
pub mod outcome;
pub mod plan;
pub mod pools;
pub mod ports;
pub mod probe;
pub mod qcow2;
pub mod report;
pub mod run;
pub mod seed;
pub mod snapshots;
pub mod survey;
pub mod verdicts;
pub mod vm_disks;
pub mod volumes;
pub mod worker;
pub mod workers;

pub use config::Config;
