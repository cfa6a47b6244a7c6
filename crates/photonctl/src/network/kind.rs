//! The kinds of things in PrismNET.

use crate::rest::kind::Kind;

pub(crate) const VPC: Kind = Kind {
    what: "VPC",
    prefix: "vpc",
    path: "vpcs",
    plural: "vpcs",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &["id", "name", "cidr_block", "internet_access", "project_id"],
};

pub(crate) const SUBNET: Kind = Kind {
    what: "subnet",
    prefix: "subnet",
    path: "subnets",
    plural: "subnets",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &[
        "id",
        "name",
        "cidr_block",
        "gateway_ip",
        "vpc_id",
        "project_id",
    ],
};

pub(crate) const PORT: Kind = Kind {
    what: "port",
    prefix: "port",
    path: "ports",
    plural: "ports",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &[
        "id",
        "name",
        "ip_address",
        "mac_address",
        "kind",
        "host_id",
        "status",
        "subnet_id",
    ],
};

pub(crate) const GROUP: Kind = Kind {
    what: "security group",
    prefix: "sg",
    path: "security-groups",
    plural: "security_groups",
    known_by: "name",
    is_asked_for: true,
    is_owned: true,
    columns: &["id", "name", "project_id", "status", "description"],
};

pub(crate) const ROUTE: Kind = Kind {
    what: "route",
    prefix: "route",
    path: "routes",
    plural: "routes",
    known_by: "destination",
    is_asked_for: false,
    is_owned: true,
    columns: &["id", "destination", "next_hop", "vpc_id", "project_id"],
};

pub(crate) const EXTERNAL_NETWORK: Kind = Kind {
    what: "external network",
    prefix: "extnet",
    path: "external-networks",
    plural: "external_networks",
    known_by: "name",
    is_asked_for: true,
    is_owned: false,
    columns: &["id", "name", "cidr_block", "gateway_ip", "pool", "uplinks"],
};

pub(crate) const FLOATING_IP: Kind = Kind {
    what: "floating IP",
    prefix: "fip",
    path: "floating-ips",
    plural: "floating_ips",
    known_by: "address",
    is_asked_for: true,
    is_owned: true,
    columns: &[
        "id",
        "address",
        "port_id",
        "fixed_ip",
        "host_id",
        "external_network_id",
        "project_id",
    ],
};
