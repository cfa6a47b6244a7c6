//! Somebody with a network.

use prismnet_model::{Port, PortKind, SecurityGroup, Subnet, Vpc, device};

use super::{lab::Lab, samples};

/// A VPC with a subnet, and a group that lets its members reach each other.
#[derive(Debug)]
pub struct Tenant {
    /// `10.0.0.0/16`.
    pub vpc: Vpc,
    /// `10.0.1.0/24` of it.
    pub subnet: Subnet,
    /// What its ports are in.
    pub group: SecurityGroup,
}

impl Tenant {
    /// Of which the store knows nothing yet.
    #[must_use]
    pub fn new(vni: u32) -> Self {
        let vpc = samples::vpc("10.0.0.0/16");
        Self {
            subnet: samples::subnet(&vpc, "10.0.1.0/24", vni),
            vpc,
            group: samples::group(),
        }
    }

    /// Writes its records.
    pub async fn put(lab: &Lab, vni: u32) -> Self {
        let tenant = Self::new(vni);
        lab.put_vpc(&tenant.vpc, &[&tenant.subnet]).await;
        lab.put_group(&tenant.group, samples::default_rules(tenant.group.id))
            .await;
        tenant
    }

    /// A service's port in the group.
    pub async fn port(&self, lab: &Lab, address: &str) -> Port {
        self.port_of(lab, address, PortKind::Service).await
    }

    /// A port of a kind in the group.
    pub async fn port_of(&self, lab: &Lab, address: &str, kind: PortKind) -> Port {
        let port = samples::port(&self.subnet, address, kind, &[self.group.id]);
        lab.put_port(&port).await;
        port
    }

    /// The namespace of the VPC on a host.
    pub fn namespace(&self) -> String {
        device::namespace(self.vpc.id)
    }

    /// The bridge of the subnet on a host.
    #[must_use]
    pub fn bridge(&self) -> String {
        device::bridge(self.subnet.vni)
    }
}
