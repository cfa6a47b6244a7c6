//! PrismNET's records: what is stored of networks, under which keys, and what it is called on a host.
//!
//! The control plane writes them, the agents follow them. Pure. The map is in the crate's README, the design in
//! `docs/network.md`.

#![warn(missing_docs)]

pub mod block;
pub mod device;
pub mod external;
pub mod floating;
pub mod gone;
pub mod group;
pub mod host;
pub mod id;
pub mod key;
pub mod layout;
pub mod mac;
pub mod observed;
pub mod port;
pub mod route;
pub mod rule;
pub mod subnet;
pub mod tally;
pub mod text;
pub mod vpc;

pub use block::{Block, BlockError, TenantBlock};
pub use external::{AddressRange, ExternalNetwork, Interface};
pub use floating::FloatingIp;
pub use gone::{Gone, GoneFloatingIp};
pub use group::SecurityGroup;
pub use host::Host;
pub use id::{ExternalNetworkId, FloatingIpId, GroupId, PortId, RouteId, RuleId, SubnetId, VpcId};
pub use layout::Layout;
pub use mac::Mac;
pub use observed::{Alive, FloatingOrphan, ObservedAgent, ObservedPort, Orphan, PortState};
pub use port::{Port, PortKind};
pub use route::Route;
pub use rule::{Direction, Protocol, Remote, Rule, Services};
pub use subnet::{Subnet, Vni};
pub use tally::Tally;
pub use text::{Description, Label};
pub use vpc::Vpc;
