//! What the tests of the suite share: real servers as child processes, network namespaces with faults,
//! certificates, a history recorder and a linearizability checker.
//!
//! Nothing here is used by shipped code. Map of the crate:
//!
//! | module | purpose |
//! |---|---|
//! | [`process`] | a child process that cannot outlive the test, with signals and a kept log |
//! | [`etcd`] | Debian's etcd, one node or a cluster |
//! | [`chainfire_process`] | the real `chainfire` binary |
//! | `in_process` | ChainFire inside the test (feature `in-process`) |
//! | `in_process_iam` | IAM inside the test, over such a ChainFire (feature `in-process-iam`) |
//! | `config` | configurations: examples, defaults, what cannot be (feature `config`) |
//! | `openapi` | OpenAPI documents against what is kept and declared (feature `openapi`) |
//! | [`proof`] | other people's software in Python against a service |
//! | `fake_host` | a host of PlasmaVMC without a hypervisor (feature `fake-host`) |
//! | `rest` | a client of services in the guide's style (feature `rest`) |
//! | `tenants` | an IAM that enforces, with two tenants (feature `tenants`) |
//! | [`netlab`] | network namespaces on a bridge, with partitions and packet loss |
//! | `network` | hosts of PrismNET with agents in them, and what they are told (feature `network`) |
//! | [`pki`] | a throw-away certificate authority |
//! | [`history`], [`linearizability`], [`register`] | recording operations and judging them |
//! | [`ports`], [`poll`], [`seed`], [`skip`] | small things every test needs |

pub mod chainfire_process;
#[cfg(feature = "config")]
pub mod config;
pub mod etcd;
#[cfg(feature = "fake-host")]
pub mod fake_host;
#[cfg(feature = "fake-host")]
mod fake_volumes;
pub mod history;
#[cfg(feature = "in-process")]
pub mod in_process;
#[cfg(feature = "in-process-iam")]
pub mod in_process_iam;
pub mod linearizability;
pub mod netlab;
#[cfg(feature = "network")]
pub mod network;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod pki;
pub mod poll;
pub mod ports;
pub mod process;
pub mod proof;
pub mod register;
#[cfg(feature = "rest")]
pub mod rest;
pub mod scratch;
pub mod seed;
pub mod skip;
#[cfg(feature = "tenants")]
pub mod tenants;

pub use chainfire_process::{ChainfireProcess, ChainfireSpec};
pub use etcd::{EtcdCluster, EtcdProcess};
#[cfg(feature = "in-process")]
pub use in_process::{InProcessChainfire, in_process_chainfire};
#[cfg(feature = "in-process-iam")]
pub use in_process_iam::{InProcessIam, enforcing_iam, in_process_iam};
pub use netlab::NetLab;
pub use pki::TestPki;
pub use poll::eventually;
pub use seed::Seed;
