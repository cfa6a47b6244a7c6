//! The host's own side of the ways out: what lies in its namespace, once for all VPCs.
//!
//! ```text
//!  records ──desired──> HostWanted ─┐            (which uplinks there are, which devices lead out: found)
//!                                   ├─target─> HostNetwork ──plan──> steps ──> kernel::host
//!  kernel ──kernel::host──> HostActual ─┘
//! ```
//!
//! All of it is told from what is the host's own: devices by name and alias (`pnu…`), the table `ip photon`, routes, rules and
//! neighbour proxies by their protocol number ([`PROTOCOL`]). The host's addresses, its main routing table and what its
//! interfaces are attached to are never touched.

pub mod desired;
pub mod network;
pub mod plan;
pub mod rules;
pub mod target;
pub mod worker;

/// Whose a route, a rule or a proxy is, in the number that the kernel keeps for that (`rtm_protocol`). Nobody else is known to
/// have it (`/etc/iproute2/rt_protos`).
pub const PROTOCOL: u8 = 80;

/// The table of floating IPs here: each leads to its VPC; and of transfer addresses.
pub const FLOATING_TABLE: u32 = 0x504e;
/// Where every packet looks first.
pub const FLOATING_PRIORITY: u32 = 20_000;
/// Where packets of floating IPs look next; before the host's main table at 32766.
pub const EXTERNAL_PRIORITY: u32 = 20_001;
/// The metric of the last route of an external network: nothing of it leaves by the host's own routes.
pub const LAST: u32 = u32::MAX - 1;
