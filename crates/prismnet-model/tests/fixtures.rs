//! Records of the first version are read, and written the same: what is stored outlives the program that wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use photon_store::Record;
use prismnet_model::{
    ExternalNetwork, FloatingIp, Gone, GoneFloatingIp, Layout, Port, Route, Rule, SecurityGroup,
    Subnet, Tally, Vpc,
};
use serde_json::{Value, json};

/// What `text` reads as, which must write the same again; and its index keys.
#[track_caller]
fn keys<T: Record>(stored: &Value) -> Vec<String> {
    let record: T = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&record).unwrap(), stored);
    record.index_keys("")
}

const VPC: &str = "vpc-019ac8e5-3c00-7001-8c00-000000000001";
const SUBNET: &str = "subnet-019ac8e5-3c00-7001-8c00-000000000002";
const PORT: &str = "port-019ac8e5-3c00-7001-8c00-000000000003";
const GROUP: &str = "sg-019ac8e5-3c00-7001-8c00-000000000004";
const OTHER: &str = "sg-019ac8e5-3c00-7001-8c00-000000000005";
const RULE: &str = "rule-019ac8e5-3c00-7001-8c00-000000000006";
const ROUTE: &str = "route-019ac8e5-3c00-7001-8c00-000000000007";
const OUTSIDE: &str = "extnet-019ac8e5-3c00-7001-8c00-000000000008";
const FLOATING: &str = "fip-019ac8e5-3c00-7001-8c00-000000000009";
const AT: &str = "2026-11-23T02:00:00Z";

#[test]
fn records_of_the_first_version() {
    let id = |resource: &str, id: &str| format!("/photon/prismnet/id/{resource}/{id}");
    let vpc = json!({
        "id": VPC, "name": "app", "org": "acme", "project": "shop", "cidr_block": "10.0.0.0/16", "description": "",
        "internet_access": false, "created_at": AT, "updated_at": AT,
    });
    assert_eq!(keys::<Vpc>(&vpc), [id("vpc", VPC)]);
    let subnet = json!({
        "id": SUBNET, "name": "web", "vpc": VPC, "org": "acme", "project": "shop", "cidr_block": "10.0.1.0/24",
        "gateway_ip": "10.0.1.1", "vni": 70_000, "description": "", "created_at": AT, "updated_at": AT,
    });
    assert_eq!(
        keys::<Subnet>(&subnet),
        [
            id("subnet", SUBNET),
            "/photon/prismnet/vni/011170".to_owned()
        ]
    );
    let port = json!({
        "id": PORT, "name": "", "vpc": VPC, "subnet": SUBNET, "org": "acme", "project": "shop", "kind": "guest",
        "mac_address": "06:00:00:00:00:01", "ip_address": "10.0.1.2", "security_groups": [GROUP], "host": "h1",
        "device": "vm-1", "description": "", "created_at": AT, "updated_at": AT,
    });
    assert_eq!(
        keys::<Port>(&port),
        [
            id("port", PORT),
            format!("/photon/prismnet/address/{SUBNET}/0a000102"),
            format!("/photon/prismnet/mac/{VPC}/060000000001"),
            format!("/photon/prismnet/use/{GROUP}/{PORT}"),
        ]
    );
    let gone = json!({ "port": PORT, "vpc": VPC, "host": "h1", "at": AT });
    assert!(keys::<Gone>(&gone).is_empty());
    let gone = json!({
        "port": PORT, "vpc": VPC, "host": "h1", "mac_address": "06:00:00:00:00:01", "at": AT,
    });
    assert!(keys::<Gone>(&gone).is_empty());
    let group = json!({
        "id": GROUP, "name": "web", "org": "acme", "project": "shop", "description": "", "deleting": false,
        "created_at": AT, "updated_at": AT,
    });
    let group_keys = keys::<SecurityGroup>(&group);
    assert_eq!(group_keys[0], id("security-group", GROUP));
    assert!(group_keys[1].starts_with("/photon/prismnet/name/security-group/acme/shop/"));
    let rule = json!({
        "id": RULE, "group": GROUP, "direction": "ingress", "protocol": "tcp", "port_min": 80, "port_max": 90,
        "remote": { "group": OTHER }, "description": "", "created_at": AT,
    });
    let rule_keys = keys::<Rule>(&rule);
    assert!(rule_keys[0].starts_with(&format!("/photon/prismnet/same/{GROUP}/")));
    assert_eq!(rule_keys[1], format!("/photon/prismnet/use/{OTHER}/{RULE}"));
    let own = json!({
        "id": RULE, "group": GROUP, "direction": "egress", "protocol": "any",
        "remote": { "cidr": "0.0.0.0/0" }, "description": "", "created_at": AT,
    });
    assert_eq!(keys::<Rule>(&own).len(), 1);
    let route = json!({
        "id": ROUTE, "vpc": VPC, "org": "acme", "project": "shop", "destination": "0.0.0.0/0", "next_hop": "10.0.1.9",
        "subnet": SUBNET, "description": "", "created_at": AT,
    });
    assert_eq!(
        keys::<Route>(&route),
        [
            id("route", ROUTE),
            format!("/photon/prismnet/use/{SUBNET}/{ROUTE}")
        ]
    );
    let outside = json!({
        "id": OUTSIDE, "name": "internet", "cidr_block": "192.0.2.0/24", "gateway_ip": "192.0.2.1",
        "pool": [{ "first": "192.0.2.10", "last": "192.0.2.99" }], "uplinks": { "h1": "br-lan" }, "description": "",
        "created_at": AT, "updated_at": AT,
    });
    assert!(keys::<ExternalNetwork>(&outside).is_empty());
    let floating = json!({
        "id": FLOATING, "org": "acme", "project": "shop", "external_network": OUTSIDE, "address": "192.0.2.10",
        "port": PORT, "description": "", "created_at": AT, "updated_at": AT,
    });
    assert_eq!(
        keys::<FloatingIp>(&floating),
        [
            id("floating-ip", FLOATING),
            "/photon/prismnet/external-address/c000020a".to_owned(),
            format!("/photon/prismnet/use/{OUTSIDE}/{FLOATING}"),
            format!("/photon/prismnet/use/{PORT}/{FLOATING}"),
            format!("/photon/prismnet/floating/{PORT}"),
        ]
    );
    let gone = json!({ "floating_ip": FLOATING, "address": "192.0.2.10", "port": PORT, "at": AT });
    assert!(keys::<GoneFloatingIp>(&gone).is_empty());
    let layout = json!({
        "subnets": [{ "id": SUBNET, "cidr_block": "10.0.1.0/24" }],
        "routes": [{ "id": ROUTE, "destination": "0.0.0.0/0" }],
    });
    assert!(keys::<Layout>(&layout).is_empty());
    assert!(keys::<Tally>(&json!({ "rules": 2 })).is_empty());
}

#[test]
fn what_is_stored_and_cannot_be_is_not_taken_for_a_record() {
    let bad = json!({
        "id": RULE, "group": GROUP, "direction": "ingress", "protocol": "any", "port_min": 80,
        "remote": { "cidr": "10.0.0.0/8" }, "created_at": AT,
    });
    assert!(serde_json::from_value::<Rule>(bad).is_err());
    let bad = json!({ "subnets": [{ "id": SUBNET, "cidr_block": "10.0.1.7/24" }], "routes": [] });
    assert!(serde_json::from_value::<Layout>(bad).is_err());
}
