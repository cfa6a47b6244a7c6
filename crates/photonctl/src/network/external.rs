//! `photonctl externalnetwork`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    cli::{ExternalNetwork, Range, Uplink},
    kind::EXTERNAL_NETWORK,
};
use crate::{
    failure::Failure,
    rest::{Body, cli::Whose, things::Things},
};

pub(crate) async fn run(network: &Things<'_>, command: ExternalNetwork) -> Result<(), Failure> {
    // They are the operator's, and belong to no project.
    let nobody = Whose::default();
    match command {
        ExternalNetwork::Create {
            name,
            cidr,
            gateway,
            pool,
            uplinks,
            description,
            once,
        } => {
            let body = Body::default()
                .set("name", name)
                .set("cidr_block", cidr)
                .maybe("pool", ranges(&pool))
                .maybe("gateway_ip", gateway.map(|ip| ip.to_string()))
                .maybe("description", description);
            let body = with_uplinks(body, uplinks, false);
            network.create(&EXTERNAL_NETWORK, body, once).await
        }
        ExternalNetwork::Get { network: named } => {
            network.get(&EXTERNAL_NETWORK, nobody.named(&named)).await
        }
        ExternalNetwork::List { page } => network.list(&EXTERNAL_NETWORK, &[], page).await,
        ExternalNetwork::Update {
            network: named,
            name,
            gateway,
            no_gateway,
            pool,
            uplinks,
            no_uplinks,
            description,
            only,
        } => {
            let gateway = gateway.map(|ip| Value::from(ip.to_string()));
            let gateway = gateway.or(no_gateway.then_some(Value::Null));
            let body = Body::default()
                .maybe("name", name)
                .maybe("pool", ranges(&pool))
                .maybe("gateway_ip", gateway)
                .maybe("description", description);
            let body = with_uplinks(body, uplinks, no_uplinks);
            let named = nobody.named(&named);
            network.update(&EXTERNAL_NETWORK, named, body, &only).await
        }
        ExternalNetwork::Delete {
            network: named,
            only,
        } => {
            let named = nobody.named(&named);
            network.delete(&EXTERNAL_NETWORK, named, &only).await
        }
    }
}

/// Without any, nothing is said of them.
fn ranges(pool: &[Range]) -> Option<Value> {
    let range = |range: &Range| json!({"first": range.first, "last": range.last});
    let all: Vec<Value> = pool.iter().map(range).collect();
    (!all.is_empty()).then(|| all.into())
}

/// All of them, or nothing is said of them.
fn with_uplinks(body: Body, uplinks: Vec<Uplink>, none: bool) -> Body {
    if uplinks.is_empty() && !none {
        return body;
    }
    let by_host: BTreeMap<String, String> = uplinks
        .into_iter()
        .map(|uplink| (uplink.host, uplink.interface))
        .collect();
    let by_host: Map<String, Value> = by_host
        .into_iter()
        .map(|(host, interface)| (host, interface.into()))
        .collect();
    body.set("uplinks", by_host)
}
