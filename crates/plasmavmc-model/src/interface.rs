//! A VM's interfaces: what was asked for, and the port that connects it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{DesiredPort, GroupId, PortId, SubnetId, VpcId};

/// The most interfaces of a VM.
pub const MOST_INTERFACES: usize = 8;

/// An interface, in its place among the VM's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// What was asked for.
    pub asked: AskedPort,
    /// Its port, once it is the VM's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<BoundPort>,
}

/// Where an interface's port comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AskedPort {
    /// It is made for the VM, and goes with it.
    InSubnet {
        /// There.
        subnet: SubnetId,
        /// With these groups; without them the project's default group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        security_groups: Option<Vec<GroupId>>,
    },
    /// It is somebody's, is bound to the VM, and outlives it.
    Named {
        /// That one.
        port: PortId,
    },
}

/// A port that is a VM's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundPort {
    /// The port.
    pub port: PortId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// The address that the guest is given.
    pub ip_address: Ipv4Addr,
    /// The MAC that the guest has.
    pub mac_address: String,
}

impl Interface {
    /// As it is asked for, without a port yet.
    #[must_use]
    pub fn new(asked: AskedPort) -> Self {
        Self { asked, port: None }
    }

    /// What the VM's host is to plug; nothing before there is a port.
    #[must_use]
    pub fn desired(&self) -> Option<DesiredPort> {
        self.port.as_ref().map(|bound| DesiredPort {
            port: bound.port,
            mac_address: bound.mac_address.clone(),
        })
    }
}
