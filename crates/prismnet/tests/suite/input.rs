//! What cannot be, field by field.

use serde_json::{Value, json};

use crate::house::House;

const VPCS: &str = "/api/v1/vpcs";
const SUBNETS: &str = "/api/v1/subnets";
const PORTS: &str = "/api/v1/ports";
const GROUPS: &str = "/api/v1/security-groups";
const NETWORKS: &str = "/api/v1/external-networks";
const FLOATING: &str = "/api/v1/floating-ips";

/// A body with one member set to something else; `null` takes it away.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    match value {
        Value::Null => {
            body.as_object_mut().unwrap().remove(member);
        }
        value => body[member] = value,
    }
    body
}

/// `(member, value, constraint)`, each alone wrong.
async fn refuse(house: &House, path: &str, good: &Value, table: &[(&str, Value, &str)]) {
    for (member, value, constraint) in table {
        let refused = house
            .operator
            .post(path, with(good.clone(), member, value.clone()))
            .await;
        let expected = (400, "VALIDATION_ERROR", *member);
        assert_eq!(
            refused.error(),
            expected,
            "{path} {member} = {value}: {refused:?}"
        );
        let found = refused.details()["constraint"].as_str().unwrap();
        assert_eq!(found, *constraint, "{path} {member} = {value}");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with(*member) && message.len() < 300,
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_by_field() {
    let house = House::dev().await;
    let long = "x".repeat(10_000);
    let vpc =
        json!({ "name": "n", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16" });
    refuse(
        &house,
        VPCS,
        &vpc,
        &[
            ("name", Value::Null, "required"),
            ("name", json!(""), "value"),
            ("name", json!("a\nb"), "value"),
            ("name", json!(long), "value"),
            ("name", json!(7), "type"),
            ("cidr_block", Value::Null, "required"),
            ("cidr_block", json!(""), "cidr"),
            ("cidr_block", json!(long), "cidr"),
            ("cidr_block", json!("10.0.0.0"), "cidr"),
            ("cidr_block", json!("10.0.0.0/33"), "prefix_length"),
            ("cidr_block", json!("10.0.0.0/31"), "prefix_length"),
            ("cidr_block", json!("0.0.0.0/0"), "prefix_length"),
            ("cidr_block", json!("10.0.0.1/16"), "host_bits"),
            ("cidr_block", json!("::ffff:10.0.0.0/112"), "ipv4"),
            ("cidr_block", json!("fd00::/64"), "ipv4"),
            ("cidr_block", json!("127.0.0.0/16"), "reserved"),
            ("cidr_block", json!("169.254.0.0/16"), "reserved"),
            ("cidr_block", json!("224.0.0.0/8"), "reserved"),
            ("cidr_block", json!("10.0.0.0/16; drop"), "cidr"),
            ("org_id", Value::Null, "required"),
            ("org_id", json!("Acme"), "value"),
            ("project_id", Value::Null, "required"),
            ("project_id", json!("../shop"), "value"),
            ("description", json!("x".repeat(1_025)), "value"),
            ("internet_access", json!("yes"), "type"),
            ("cidr", json!("10.0.0.0/16"), "unknown"),
        ],
    )
    .await;
    let vpc = house.operator.vpc("10.0.0.0/16").await;
    let subnet = json!({ "name": "n", "vpc_id": vpc, "cidr_block": "10.0.1.0/24" });
    refuse(
        &house,
        SUBNETS,
        &subnet,
        &[
            ("name", Value::Null, "required"),
            ("vpc_id", Value::Null, "required"),
            ("cidr_block", Value::Null, "required"),
            ("cidr_block", json!("10.0.1.5/24"), "host_bits"),
            ("cidr_block", json!("10.1.0.0/24"), "within_vpc"),
            ("cidr_block", json!("10.0.0.0/8"), "within_vpc"),
            ("gateway_ip", json!("gateway"), "ipv4"),
            ("gateway_ip", json!("::1"), "ipv4"),
            ("gateway_ip", json!("10.0.2.1"), "within_subnet"),
            ("gateway_ip", json!("10.0.1.0"), "reserved"),
            ("gateway_ip", json!("10.0.1.255"), "reserved"),
        ],
    )
    .await;
    let subnet = house.operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = json!({ "subnet_id": subnet });
    refuse(
        &house,
        PORTS,
        &port,
        &[
            ("subnet_id", Value::Null, "required"),
            ("name", json!(long), "value"),
            ("kind", json!("tap"), "value"),
            ("mac_address", json!("06:00"), "mac"),
            ("mac_address", json!("01:00:5e:00:00:01"), "unicast"),
            ("mac_address", json!("00:00:00:00:00:00"), "reserved"),
            ("mac_address", json!("02:50:4e:00:10:00"), "reserved"),
            ("ip_address", json!("10.0.1"), "ipv4"),
            ("ip_address", json!("010.0.1.5"), "ipv4"),
            ("ip_address", json!("10.0.2.5"), "within_subnet"),
            ("ip_address", json!("10.0.1.0"), "reserved"),
            ("ip_address", json!("10.0.1.1"), "reserved"),
            ("ip_address", json!("10.0.1.255"), "reserved"),
            ("security_group_ids", json!(vec!["sg"; 17]), "max_items"),
            ("host_id", json!("Host One"), "pattern"),
            ("device_id", json!("vm\u{0}"), "value"),
        ],
    )
    .await;
    let vip = house
        .operator
        .post(
            PORTS,
            json!({ "subnet_id": subnet, "kind": "vip", "host_id": "h1" }),
        )
        .await;
    assert_eq!(vip.error(), (400, "VALIDATION_ERROR", "host_id"));
    let group = json!({ "name": "web", "org_id": "acme", "project_id": "shop" });
    refuse(
        &house,
        GROUPS,
        &group,
        &[
            ("name", Value::Null, "required"),
            ("name", json!(long), "value"),
            ("org_id", Value::Null, "required"),
        ],
    )
    .await;
    let group = house.operator.group("web").await;
    refuse(
        &house,
        &format!("{GROUPS}/{group}/rules"),
        &json!({ "direction": "ingress", "protocol": "tcp", "port_min": 80 }),
        &[
            ("direction", Value::Null, "required"),
            ("direction", json!("sideways"), "value"),
            ("protocol", json!("tcp; flush ruleset"), "value"),
            ("protocol", json!("256"), "value"),
            ("port_min", json!(65_536), "range"),
            ("port_min", json!(-1), "value"),
            ("port_max", json!(79), "range"),
            ("remote_cidr", json!("10.0.0.1/8"), "host_bits"),
            ("remote_cidr", json!("any"), "cidr"),
        ],
    )
    .await;
    let ports_of_any = json!({ "direction": "egress", "port_min": 80 });
    let refused = house
        .operator
        .post(&format!("{GROUPS}/{group}/rules"), ports_of_any)
        .await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "port_min"));
    // Nothing of all that has left anything.
    assert_eq!(
        house.operator.all(PORTS, "ports", "id").await,
        Vec::<String>::new()
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_outside_is_refused_by_field() {
    let house = House::dev().await;
    let long = "x".repeat(10_000);
    let pool = |ranges: &[(&str, &str)]| {
        let range = |(first, last): &(&str, &str)| json!({ "first": first, "last": last });
        Value::Array(ranges.iter().map(range).collect())
    };
    let many: Vec<Value> = (0..65)
        .map(|n| json!({ "first": format!("192.0.2.{}", 2 + n), "last": format!("192.0.2.{}", 2 + n) }))
        .collect();
    let hosts: serde_json::Map<String, Value> = (0..1_001)
        .map(|n| (format!("h{n}"), json!("eth0")))
        .collect();
    let network = json!({ "name": "n", "cidr_block": "192.0.2.0/24", "gateway_ip": "192.0.2.1" });
    refuse(
        &house,
        NETWORKS,
        &network,
        &[
            ("name", Value::Null, "required"),
            ("name", json!(long), "value"),
            ("cidr_block", Value::Null, "required"),
            ("cidr_block", json!(""), "cidr"),
            ("cidr_block", json!(long), "cidr"),
            ("cidr_block", json!("192.0.2.0/33"), "prefix_length"),
            ("cidr_block", json!("0.0.0.0/0"), "prefix_length"),
            ("cidr_block", json!("192.0.0.0/7"), "prefix_length"),
            ("cidr_block", json!("192.0.2.1/24"), "host_bits"),
            ("cidr_block", json!("::ffff:192.0.2.0/120"), "ipv4"),
            ("cidr_block", json!("0.0.0.0/8"), "reserved"),
            ("cidr_block", json!("127.0.0.1/32"), "reserved"),
            ("cidr_block", json!("169.254.169.254/32"), "reserved"),
            ("cidr_block", json!("224.0.0.0/24"), "reserved"),
            ("cidr_block", json!("255.255.255.255/32"), "reserved"),
            ("gateway_ip", json!("gateway"), "ipv4"),
            ("gateway_ip", json!("::1"), "ipv4"),
            ("gateway_ip", json!("192.0.3.1"), "within_block"),
            ("gateway_ip", json!("192.0.2.0"), "reserved"),
            ("gateway_ip", json!("192.0.2.255"), "reserved"),
            ("pool", json!("192.0.2.2"), "type"),
            ("pool", pool(&[("192.0.2", "192.0.2.9")]), "ipv4"),
            ("pool", pool(&[("192.0.2.9", long.as_str())]), "ipv4"),
            ("pool", pool(&[("192.0.2.9", "192.0.2.8")]), "range"),
            ("pool", pool(&[("192.0.1.9", "192.0.2.9")]), "within_block"),
            ("pool", pool(&[("192.0.2.9", "192.0.3.9")]), "within_block"),
            ("pool", pool(&[("192.0.2.0", "192.0.2.9")]), "reserved"),
            ("pool", pool(&[("192.0.2.9", "192.0.2.255")]), "reserved"),
            (
                "pool",
                pool(&[("192.0.2.9", "192.0.2.12"), ("192.0.2.12", "192.0.2.13")]),
                "order",
            ),
            (
                "pool",
                pool(&[("192.0.2.9", "192.0.2.12"), ("192.0.2.2", "192.0.2.3")]),
                "order",
            ),
            ("pool", json!(many), "max_items"),
            ("uplinks", json!({ "Host One": "eth0" }), "pattern"),
            ("uplinks", json!({ "h1": "" }), "interface"),
            ("uplinks", json!({ "h1": "lo" }), "interface"),
            ("uplinks", json!({ "h1": "pnb4096" }), "interface"),
            ("uplinks", json!({ "h1": "eth0; drop" }), "interface"),
            ("uplinks", json!({ "h1": long }), "interface"),
            ("uplinks", Value::Object(hosts), "max_items"),
            ("description", json!("a\nb"), "value"),
            ("org_id", json!("acme"), "unknown"),
        ],
    )
    .await;
    let with_gateway = with(network.clone(), "pool", pool(&[("192.0.2.1", "192.0.2.9")]));
    let refused = house.operator.post(NETWORKS, with_gateway).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "gateway_ip"));
    assert_eq!(refused.details()["constraint"], "in_pool");
    assert_eq!(
        house
            .operator
            .all(NETWORKS, "external_networks", "id")
            .await,
        Vec::<String>::new()
    );
    // One address, two, and as many as there may be.
    for block in ["198.51.100.7/32", "198.51.100.8/31", "20.0.0.0/8"] {
        let body = json!({ "name": "n", "cidr_block": block });
        let network = house.operator.post(NETWORKS, body).await.id();
        house.operator.floating(&network).await.data();
    }
    let network = house.operator.outside("192.0.2.0/24").await;
    let floating =
        json!({ "external_network_id": network, "org_id": "acme", "project_id": "shop" });
    refuse(
        &house,
        FLOATING,
        &floating,
        &[
            ("external_network_id", Value::Null, "required"),
            ("org_id", Value::Null, "required"),
            ("project_id", Value::Null, "required"),
            ("project_id", json!("../shop"), "value"),
            ("address", json!("192.0.2"), "ipv4"),
            ("address", json!("::1"), "ipv4"),
            ("address", json!("192.0.2.1"), "within_pool"),
            ("address", json!("192.0.2.255"), "within_pool"),
            ("address", json!("192.0.3.7"), "within_pool"),
            ("address", json!(long), "ipv4"),
            ("description", json!("x".repeat(1_025)), "value"),
            ("port_id", json!(7), "type"),
            ("name", json!("n"), "unknown"),
        ],
    )
    .await;
    for id in ["extnet-019ac8e5-3c00-7001-8c00-000000000008", "internet"] {
        let body = with(floating.clone(), "external_network_id", json!(id));
        let refused = house.operator.post(FLOATING, body).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", "external_network_id"));
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404_and_names_the_field() {
    let house = House::dev().await;
    let operator = &house.operator;
    let nobody = "019ac8e5-3c00-7001-8c00-000000000001";
    for (resource, kind) in [
        ("vpcs", "vpc"),
        ("subnets", "subnet"),
        ("ports", "port"),
        ("security-groups", "sg"),
        ("routes", "route"),
        ("external-networks", "extnet"),
        ("floating-ips", "fip"),
    ] {
        for id in [
            format!("{kind}-{nobody}"),
            format!("x-{nobody}"),
            "vpc-001".to_owned(),
            "%2e%2e".to_owned(),
            "x".repeat(1_000),
        ] {
            let path = format!("/api/v1/{resource}/{id}");
            assert_eq!(operator.get(&path).await.error().0, 404, "{path}");
            assert_eq!(operator.delete(&path).await.error().0, 404, "{path}");
        }
    }
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    for id in [
        format!("vpc-{nobody}"),
        "vpc-001".to_owned(),
        subnet.clone(),
        "x".repeat(9_999),
    ] {
        let body = json!({ "name": "n", "vpc_id": id, "cidr_block": "10.0.2.0/24" });
        let refused = operator.post(SUBNETS, body).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", "vpc_id"));
    }
    for id in [
        format!("subnet-{nobody}"),
        "subnet-001".to_owned(),
        vpc.clone(),
    ] {
        let refused = operator.post(PORTS, json!({ "subnet_id": id })).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", "subnet_id"));
    }
    for group in [format!("sg-{nobody}"), "web".to_owned()] {
        let body = json!({ "subnet_id": subnet, "security_group_ids": [group] });
        let refused = operator.post(PORTS, body).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", "security_group_ids"));
    }
    // Of another owner than was said.
    for query in [
        "org_id=other",
        "project_id=other",
        "org_id=acme&project_id=lab",
    ] {
        let path = format!("{VPCS}/{vpc}?{query}");
        assert_eq!(operator.get(&path).await.error().0, 404, "{query}");
        assert_eq!(operator.delete(&path).await.error().0, 404, "{query}");
        let path = format!("{SUBNETS}/{subnet}?{query}");
        assert_eq!(operator.delete(&path).await.error().0, 404, "{query}");
    }
    let other = operator.vpc("10.0.0.0/16").await;
    let path = format!("{SUBNETS}/{subnet}?vpc_id={other}");
    assert_eq!(operator.delete(&path).await.error().0, 404);
    let body =
        json!({ "name": "n", "vpc_id": vpc, "cidr_block": "10.0.2.0/24", "project_id": "lab" });
    assert_eq!(
        operator.post(SUBNETS, body).await.error(),
        (404, "NOT_FOUND", "vpc_id")
    );
    // A query that a route does not take.
    let refused = operator.get(&format!("{VPCS}/{vpc}?vpc_id=x")).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "vpc_id"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_networks_are_nobodys() {
    let mut chainfire = Box::pin(photon_testkit::in_process_chainfire())
        .await
        .unwrap();
    let mut config = crate::house::config(&chainfire.endpoint());
    config.network.underlay = vec!["192.0.2.0/24".parse().unwrap()];
    let running = crate::house::over(config).await;
    let operator = crate::house::Caller::of(&running);
    for (block, is_refused) in [
        ("192.0.2.0/24", true),
        ("192.0.2.128/25", true),
        ("192.0.0.0/16", true),
        ("192.0.3.0/24", false),
    ] {
        let body =
            json!({ "name": "n", "org_id": "acme", "project_id": "shop", "cidr_block": block });
        let answer = operator.post(VPCS, body).await;
        if is_refused {
            assert_eq!(
                answer.error(),
                (400, "VALIDATION_ERROR", "cidr_block"),
                "{block}"
            );
            assert_eq!(answer.details()["constraint"], "underlay");
        } else {
            answer.data();
        }
    }
    running.stop().await;
    chainfire.stop().await;
}
