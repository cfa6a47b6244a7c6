//! `photonctl port`.

use super::{
    cli::Port,
    kind::{GROUP, PORT, SUBNET, VPC},
};
use crate::{
    failure::Failure,
    rest::{Body, things::Things},
};

pub(crate) async fn run(network: &Things<'_>, command: Port) -> Result<(), Failure> {
    match command {
        Port::Create {
            subnet,
            name,
            kind,
            ip,
            mac,
            groups,
            no_groups,
            host,
            device,
            description,
            whose,
            once,
        } => {
            let subnet = network.id_of(&SUBNET, &whose.named(&subnet)).await?;
            let groups = network.ids(&GROUP, &groups, &whose).await?;
            let body = Body::default()
                .set("subnet_id", subnet)
                .maybe("name", name)
                .maybe("kind", kind.map(|kind| kind.word()))
                .maybe("ip_address", ip.map(|ip| ip.to_string()))
                .maybe("mac_address", mac)
                .maybe("host_id", host)
                .maybe("device_id", device)
                .maybe("description", description);
            // Both are the subnet's; what is said is held against it.
            let body = body
                .maybe("org_id", whose.org)
                .maybe("project_id", whose.project);
            network
                .create(&PORT, with_groups(body, groups, no_groups), once)
                .await
        }
        Port::Get { port, whose } => network.get(&PORT, whose.named(&port)).await,
        Port::List {
            vpc,
            subnet,
            group,
            host,
            device,
            ip,
            name,
            whose,
            page,
        } => {
            let vpc = network.maybe_id(&VPC, vpc.as_deref(), &whose).await?;
            let subnet = network.maybe_id(&SUBNET, subnet.as_deref(), &whose).await?;
            let group = network.maybe_id(&GROUP, group.as_deref(), &whose).await?;
            let own = [
                ("vpc_id", vpc),
                ("subnet_id", subnet),
                ("security_group_id", group),
                ("host_id", host),
                ("device_id", device),
                ("ip_address", ip.map(|ip| ip.to_string())),
                ("name", name),
            ];
            let filters = [&whose.filters()[..], &own].concat();
            network.list(&PORT, &filters, page).await
        }
        Port::Update {
            port,
            name,
            groups,
            no_groups,
            host,
            no_host,
            device,
            description,
            whose,
            only,
        } => {
            let groups = network.ids(&GROUP, &groups, &whose).await?;
            let host = if no_host { Some(String::new()) } else { host };
            let body = Body::default()
                .maybe("name", name)
                .maybe("host_id", host)
                .maybe("device_id", device)
                .maybe("description", description);
            let body = with_groups(body, groups, no_groups);
            network.update(&PORT, whose.named(&port), body, &only).await
        }
        Port::Delete { port, whose, only } => {
            network.delete(&PORT, whose.named(&port), &only).await
        }
    }
}

/// An empty list is another thing than none: it is no group at all.
fn with_groups(body: Body, groups: Vec<String>, none: bool) -> Body {
    if none {
        return body.set("security_group_ids", Vec::<String>::new());
    }
    body.list("security_group_ids", groups)
}
