//! The kinds of things in PrismNET: where they are, how they are listed, and by what people know them.

use uuid::Uuid;

/// One kind.
#[derive(Debug)]
pub(crate) struct Kind {
    /// What people call one.
    pub(crate) what: &'static str,
    /// What its ids begin with.
    prefix: &'static str,
    /// Its word in paths: `/api/v1/<path>`.
    pub(crate) path: &'static str,
    /// The field of a list's answer that holds the rows.
    pub(crate) plural: &'static str,
    /// The field by which one is known, beside its id.
    pub(crate) known_by: &'static str,
    /// Whether lists can be asked for those that are known by a text; if not, all are looked at.
    pub(crate) is_asked_for: bool,
    /// Whether they belong to projects.
    pub(crate) is_owned: bool,
    /// The columns of its table.
    pub(crate) columns: &'static [&'static str],
}

impl Kind {
    /// Whether the text is an id of this kind. PrismNET says whether there is one.
    pub(crate) fn is_id(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.prefix);
        let uuid = rest.and_then(|rest| rest.strip_prefix('-'));
        uuid.is_some_and(|uuid| {
            Uuid::try_parse(uuid).is_ok_and(|parsed| parsed.to_string() == uuid)
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_its_kind() {
        let uuid = "0192f0c1-2345-7abc-8def-0123456789ab";
        assert!(VPC.is_id(&format!("vpc-{uuid}")));
        for other in [
            format!("port-{uuid}"),
            format!("vpc{uuid}"),
            format!("vpc-{}", uuid.to_uppercase()),
            format!("vpc-{}", uuid.replace('-', "")),
            "vpc-app".to_owned(),
            String::new(),
        ] {
            assert!(!VPC.is_id(&other), "{other}");
        }
    }
}
