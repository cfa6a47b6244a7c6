//! What each method needs. Start fails when one of the proto's is missing here.

use photon_auth::grpc::Guard;

/// Methods that make something, and the permission each is decided by: those of the REST routes to the same use cases.
const CREATES: &[(&str, &str)] = &[
    ("Vpcs/Create", "prismnet.vpcs.create"),
    ("Subnets/Create", "prismnet.subnets.create"),
    ("Ports/Create", "prismnet.ports.create"),
    ("SecurityGroups/Create", "prismnet.security_groups.create"),
    (
        "SecurityGroups/CreateRule",
        "prismnet.security_groups.update",
    ),
    ("Routes/Create", "prismnet.routes.create"),
    (
        "ExternalNetworks/Create",
        "prismnet.external_networks.create",
    ),
    ("FloatingIps/Create", "prismnet.floating_ips.create"),
];

/// The other methods.
const NEEDS: &[(&str, &str)] = &[
    ("Vpcs/Get", "prismnet.vpcs.get"),
    ("Vpcs/List", "prismnet.vpcs.list"),
    ("Vpcs/Update", "prismnet.vpcs.update"),
    ("Vpcs/Delete", "prismnet.vpcs.delete"),
    ("Subnets/Get", "prismnet.subnets.get"),
    ("Subnets/List", "prismnet.subnets.list"),
    ("Subnets/Update", "prismnet.subnets.update"),
    ("Subnets/Delete", "prismnet.subnets.delete"),
    ("Ports/Get", "prismnet.ports.get"),
    ("Ports/List", "prismnet.ports.list"),
    ("Ports/Update", "prismnet.ports.update"),
    ("Ports/Delete", "prismnet.ports.delete"),
    ("SecurityGroups/Get", "prismnet.security_groups.get"),
    ("SecurityGroups/List", "prismnet.security_groups.list"),
    ("SecurityGroups/Update", "prismnet.security_groups.update"),
    ("SecurityGroups/Delete", "prismnet.security_groups.delete"),
    ("SecurityGroups/ListRules", "prismnet.security_groups.get"),
    (
        "SecurityGroups/DeleteRule",
        "prismnet.security_groups.update",
    ),
    ("Routes/Get", "prismnet.routes.get"),
    ("Routes/List", "prismnet.routes.list"),
    ("Routes/Delete", "prismnet.routes.delete"),
    ("ExternalNetworks/Get", "prismnet.external_networks.get"),
    ("ExternalNetworks/List", "prismnet.external_networks.list"),
    (
        "ExternalNetworks/Update",
        "prismnet.external_networks.update",
    ),
    (
        "ExternalNetworks/Delete",
        "prismnet.external_networks.delete",
    ),
    ("FloatingIps/Get", "prismnet.floating_ips.get"),
    ("FloatingIps/List", "prismnet.floating_ips.list"),
    ("FloatingIps/Update", "prismnet.floating_ips.update"),
    ("FloatingIps/Delete", "prismnet.floating_ips.delete"),
];

fn full(method: &str) -> String {
    format!("photon.prismnet.v1.{method}")
}

/// The table, to be put around the services that `descriptors` describe.
pub(super) fn guard(descriptors: &[u8]) -> Guard {
    let guard = Guard::of(descriptors);
    let guard = CREATES.iter().fold(guard, |guard, (method, permission)| {
        guard.create(&full(method), permission)
    });
    NEEDS.iter().fold(guard, |guard, (method, permission)| {
        guard.rpc(&full(method), permission)
    })
}
