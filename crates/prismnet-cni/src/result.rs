//! What a runtime is told of a container that is connected.

use photon_proto::photon::host::v1::PlugResponse;
use serde_json::{Map, Value, json};

use crate::{
    LATEST,
    call::{Container, Network},
};

/// The result of ADD: that of the plugin before, and what this one adds.
#[must_use]
pub fn of(network: &Network, container: &Container, plugged: &PlugResponse) -> Value {
    let mut result = network.previous.clone().unwrap_or_default();
    result.insert("cniVersion".to_owned(), json!(network.version));
    let inside = length(&result, "interfaces") + 1;
    append(
        &mut result,
        "interfaces",
        interfaces(network, container, plugged),
    );
    let mut address = json!({
        "address": format!("{}/{}", plugged.ip_address, plugged.prefix_length),
        "gateway": plugged.gateway,
        "interface": inside,
    });
    if network.version == "0.4.0" {
        address["version"] = json!("4");
    }
    append(&mut result, "ips", [address]);
    let routes = plugged.routes.iter();
    let routes = routes.map(|route| json!({"dst": route.destination, "gw": route.next_hop}));
    append(&mut result, "routes", routes);
    if !plugged.dns.is_empty() {
        let dns = result.entry("dns").or_insert_with(|| json!({}));
        if let Some(dns) = dns.as_object_mut() {
            append(
                dns,
                "nameservers",
                plugged.dns.iter().map(|server| json!(server)),
            );
        }
    }
    Value::Object(result)
}

/// The host's end, then the container's.
fn interfaces(network: &Network, container: &Container, plugged: &PlugResponse) -> [Value; 2] {
    let mut inside = json!({
        "name": container.interface, "mac": plugged.mac_address, "sandbox": container.namespace,
    });
    if network.version == LATEST {
        inside["mtu"] = json!(plugged.mtu);
    }
    [json!({"name": plugged.device}), inside]
}

/// Whether a result has the address.
#[must_use]
pub fn has_address(result: &Map<String, Value>, address: &str) -> bool {
    let ips = result.get("ips").and_then(Value::as_array);
    ips.is_some_and(|ips| ips.iter().any(|ip| ip["address"] == address))
}

fn length(result: &Map<String, Value>, name: &str) -> usize {
    let list = result.get(name).and_then(Value::as_array);
    list.map_or(0, Vec::len)
}

/// What is there and is no list is none that the specification knows, and is left out.
fn append(result: &mut Map<String, Value>, name: &str, more: impl IntoIterator<Item = Value>) {
    let mut list = match result.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    list.extend(more);
    result.insert(name.to_owned(), Value::Array(list));
}
