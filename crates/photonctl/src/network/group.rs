//! `photonctl securitygroup`.

use reqwest::Method;
use serde_json::Value;

use super::{
    cli::{GroupRule, SecurityGroup, Services},
    kind::GROUP,
};
use crate::{
    failure::Failure,
    rest::{Body, cli::Whose, client::Call, things::Things},
};

const RULE_COLUMNS: &[&str] = &[
    "id",
    "direction",
    "protocol",
    "port_min",
    "port_max",
    "remote_cidr",
    "remote_group_id",
    "description",
];

pub(crate) async fn run(network: &Things<'_>, command: SecurityGroup) -> Result<(), Failure> {
    match command {
        SecurityGroup::Create {
            name,
            description,
            whose,
            once,
        } => {
            let body = Body::default()
                .set("name", name)
                .maybe("description", description);
            let body = network.at_home(body, whose).await?;
            network.create(&GROUP, body, once).await
        }
        SecurityGroup::Get { group, whose } => network.get(&GROUP, whose.named(&group)).await,
        SecurityGroup::List { name, whose, page } => {
            let filters = [&whose.filters()[..], &[("name", name)]].concat();
            network.list(&GROUP, &filters, page).await
        }
        SecurityGroup::Update {
            group,
            name,
            description,
            whose,
            only,
        } => {
            let body = Body::default()
                .maybe("name", name)
                .maybe("description", description);
            let named = whose.named(&group);
            network.update(&GROUP, named, body, &only).await
        }
        SecurityGroup::Delete { group, whose, only } => {
            network.delete(&GROUP, whose.named(&group), &only).await
        }
        SecurityGroup::Rule(command) => rule(network, command).await,
    }
}

async fn rule(network: &Things<'_>, command: GroupRule) -> Result<(), Failure> {
    let id_of = async |group: &str, whose: &Whose| network.id_of(&GROUP, &whose.named(group)).await;
    match command {
        GroupRule::Add {
            group,
            direction,
            services,
            cidr,
            remote_group,
            description,
            whose,
            once,
        } => {
            let group = id_of(&group, &whose).await?;
            let remote = remote_group.as_deref();
            let remote = network.maybe_id(&GROUP, remote, &whose).await?;
            let body = with_services(Body::default(), services)
                .set("direction", direction.word())
                .maybe("remote_cidr", cidr)
                .maybe("remote_group_id", remote)
                .maybe("description", description);
            let path = ["api", "v1", GROUP.path, &group, "rules"];
            let call = Call::post(&path, Value::from(body)).once(once.key());
            network.show(call).await
        }
        GroupRule::List { group, whose, page } => {
            let group = id_of(&group, &whose).await?;
            let path = ["api", "v1", GROUP.path, &group, "rules"];
            network.rows(&path, "rules", RULE_COLUMNS, &[], page).await
        }
        GroupRule::Delete { group, rule, whose } => {
            let group = id_of(&group, &whose).await?;
            let path = ["api", "v1", GROUP.path, &group, "rules", &rule];
            network
                .deleted(&rule, Call::new(Method::DELETE, &path))
                .await
        }
    }
}

/// Ports of tcp and udp and types of icmp are the same fields.
fn with_services(body: Body, services: Services) -> Body {
    let (min, max) = match (services.ports, services.icmp) {
        (Some(ports), _) => (Some(ports.first), Some(ports.last)),
        (None, Some(icmp)) => (Some(icmp.kind.into()), icmp.code.map(u16::from)),
        (None, None) => (None, None),
    };
    let protocol = services.icmp.map(|_| "icmp".to_owned());
    body.maybe("protocol", services.protocol.or(protocol))
        .maybe("port_min", min)
        .maybe("port_max", max)
}
