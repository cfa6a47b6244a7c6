//! What programs of this host ask of the agent, over a socket that only they can open: `photon.host.v1`.
//!
//! ```text
//!  PlasmaVMC, CNI plugin ──socket──> door ──> ports ──> kernel (taps, far ends)
//!                                              ├─> plugged: which namespace a pod's veth leads to, in a file each
//!  prismnet-agent adopt|purge ─────> door ──> orphans ──> verdicts, a file ──> desired
//! ```
//!
//! It makes what nobody else can know of: where the far end is. Bridges, rules and entries are the workers'.

pub mod arrivals;
pub mod ask;
pub mod deadline;
pub mod door;
pub mod keep;
pub mod kept;
pub mod known;
pub mod orphans;
pub mod peer;
pub mod plugged;
pub mod ports;
pub mod refusal;
pub mod serve;
pub mod socket;
pub mod verdicts;

pub use known::Local;
