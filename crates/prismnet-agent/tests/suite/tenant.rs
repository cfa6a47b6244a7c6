//! Somebody with a network.

use prismnet_model::{Port, PortKind, SecurityGroup, Subnet, Vpc, device};

use crate::{lab::Lab, samples};

/// A VPC with a subnet, and a group that lets its members reach each other.
pub(crate) struct Tenant {
    pub(crate) vpc: Vpc,
    pub(crate) subnet: Subnet,
    pub(crate) group: SecurityGroup,
}

impl Tenant {
    pub(crate) async fn put(lab: &Lab, vni: u32) -> Self {
        let vpc = samples::vpc("10.0.0.0/16");
        let subnet = samples::subnet(&vpc, "10.0.1.0/24", vni);
        let group = samples::group();
        lab.put_vpc(&vpc, &[&subnet]).await;
        lab.put_group(&group, samples::default_rules(group.id))
            .await;
        Self { vpc, subnet, group }
    }

    /// A port in the group.
    pub(crate) async fn port(&self, lab: &Lab, address: &str, kind: PortKind) -> Port {
        let port = samples::port(&self.subnet, address, kind, &[self.group.id]);
        lab.put_port(&port).await;
        port
    }

    pub(crate) fn namespace(&self) -> String {
        device::namespace(self.vpc.id)
    }
}
