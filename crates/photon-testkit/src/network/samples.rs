//! Records to try things with.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use photon_core::Name;
use prismnet_agent::{
    desired::Here,
    mode::Mode,
    records::{Known, Records},
};
use prismnet_model::{
    AddressRange, Direction, ExternalNetwork, ExternalNetworkId, FloatingIp, FloatingIpId, GroupId,
    Host, Mac, Port, PortId, PortKind, Protocol, Remote, Route, RouteId, Rule, RuleId,
    SecurityGroup, Services, Subnet, SubnetId, Vni, Vpc, VpcId,
};

/// What a kernel offers that keeps no state on bridges.
pub const MODE: Mode = Mode {
    bridge_ct: false,
    br_netfilter: true,
};

/// A name.
pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The host `here`.
pub fn here() -> Here {
    Here {
        host: name("here"),
        vtep: Some(Ipv4Addr::new(192, 0, 2, 1)),
        mtu: 1450,
        mode: MODE,
    }
}

/// A VPC with that block.
pub fn vpc(block: &str) -> Vpc {
    Vpc {
        id: VpcId::generate(),
        name: "net".to_owned(),
        org: name("acme"),
        project: name("shop"),
        cidr_block: block.parse().unwrap(),
        description: String::new(),
        internet_access: false,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A subnet of a VPC.
pub fn subnet(vpc: &Vpc, block: &str, vni: u32) -> Subnet {
    let cidr_block: prismnet_model::TenantBlock = block.parse().unwrap();
    Subnet {
        id: SubnetId::generate(),
        name: "segment".to_owned(),
        vpc: vpc.id,
        org: vpc.org.clone(),
        project: vpc.project.clone(),
        cidr_block,
        gateway_ip: cidr_block.first(),
        vni: Vni::try_from(vni).unwrap(),
        description: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A port on the host `here`.
pub fn port(subnet: &Subnet, address: &str, kind: PortKind, groups: &[GroupId]) -> Port {
    let ip_address: Ipv4Addr = address.parse().unwrap();
    Port {
        id: PortId::generate(),
        name: String::new(),
        vpc: subnet.vpc,
        subnet: subnet.id,
        org: subnet.org.clone(),
        project: subnet.project.clone(),
        kind,
        mac_address: Mac::ours(u64::from(ip_address.to_bits())),
        ip_address,
        security_groups: groups.to_vec(),
        host: Some(name("here")),
        device: None,
        description: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A group without rules.
pub fn group() -> SecurityGroup {
    SecurityGroup {
        id: GroupId::generate(),
        name: "web".to_owned(),
        org: name("acme"),
        project: name("shop"),
        description: String::new(),
        deleting: false,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A rule of a group.
pub fn rule(group: GroupId, direction: Direction, services: Services, remote: Remote) -> Rule {
    Rule {
        id: RuleId::generate(),
        group,
        direction,
        services,
        remote,
        description: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

/// The rules of a project's default group: out to everywhere, in from itself.
pub fn default_rules(group: GroupId) -> [Rule; 2] {
    let all = Services::All(Protocol::Any);
    [
        rule(
            group,
            Direction::Egress,
            all,
            Remote::Cidr(prismnet_model::Block::ANY),
        ),
        rule(group, Direction::Ingress, all, Remote::Group(group)),
    ]
}

/// A route through a subnet.
pub fn route(subnet: &Subnet, destination: &str, hop: &str) -> Route {
    Route {
        id: RouteId::generate(),
        vpc: subnet.vpc,
        org: subnet.org.clone(),
        project: subnet.project.clone(),
        destination: destination.parse().unwrap(),
        next_hop: hop.parse().unwrap(),
        subnet: subnet.id,
        description: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

/// A host at an address of the underlay.
pub fn host(host: &str, vtep: &str) -> Host {
    Host {
        host: name(host),
        vtep: vtep.parse().unwrap(),
        mtu: 1450,
    }
}

/// With addresses from `.2` of its block up, and the first one as its gateway.
pub fn external_network(block: &str, uplinks: &[(&str, &str)]) -> ExternalNetwork {
    let cidr_block: prismnet_model::Block = block.parse().unwrap();
    let at = |offset| Ipv4Addr::from_bits(cidr_block.network().to_bits() + offset);
    ExternalNetwork {
        id: ExternalNetworkId::generate(),
        name: "outside".to_owned(),
        cidr_block,
        gateway_ip: Some(at(1)),
        pool: vec![AddressRange {
            first: at(2),
            last: at(100),
        }],
        uplinks: uplinks
            .iter()
            .map(|(host, uplink)| (name(host), (*uplink).to_owned().try_into().unwrap()))
            .collect(),
        description: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A floating IP of a port.
pub fn floating_ip(network: &ExternalNetwork, address: &str, port: &Port) -> FloatingIp {
    FloatingIp {
        id: FloatingIpId::generate(),
        org: port.org.clone(),
        project: port.project.clone(),
        external_network: network.id,
        address: address.parse().unwrap(),
        port: Some(port.id),
        description: String::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// A port as its record at revision 1.
pub fn put_port(records: &mut Records, port: &Port) {
    records.put(Known::Port(Box::new(port.clone()), 1));
}
