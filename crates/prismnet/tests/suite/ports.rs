//! Ports: what they get, what changes, what they leave.

use serde_json::json;

use crate::house::{House, keys_below};

const PORTS: &str = "/api/v1/ports";

#[tokio::test(flavor = "multi_thread")]
async fn a_port_gets_an_address_a_mac_and_the_default_group() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await;
    let data = port.data();
    // Behind the gateway.
    assert_eq!(data["ip_address"], "10.0.1.2");
    assert!(data["mac_address"].as_str().unwrap().starts_with("06:"));
    assert_eq!(
        (&data["status"], &data["kind"]),
        (&json!("down"), &json!("guest"))
    );
    assert_eq!(
        (&data["org_id"], &data["project_id"]),
        (&json!("acme"), &json!("shop"))
    );
    assert_eq!(
        (&data["vpc_id"], &data["subnet_id"]),
        (&json!(vpc), &json!(subnet))
    );
    assert_eq!(
        (&data["host_id"], &data["device_id"]),
        (&json!(null), &json!(null))
    );
    let groups = operator.get("/api/v1/security-groups?name=default").await;
    let default = &groups.data()["security_groups"][0];
    assert_eq!(data["security_group_ids"], json!([default["id"]]));
    let path = format!(
        "/api/v1/security-groups/{}/rules",
        default["id"].as_str().unwrap()
    );
    let rules = operator.get(&path).await;
    let mut rules: Vec<String> = rules.data()["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            format!(
                "{} {} {} {}",
                rule["direction"], rule["protocol"], rule["remote_cidr"], rule["remote_group_id"]
            )
        })
        .collect();
    rules.sort();
    assert_eq!(
        rules,
        [
            "\"egress\" \"any\" \"0.0.0.0/0\" null".to_owned(),
            format!("\"ingress\" \"any\" null {}", default["id"]),
        ]
    );
    assert_eq!(
        operator.get(&format!("{PORTS}/{}", port.id())).await.data(),
        data
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_had_once() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let other = operator.subnet(&vpc, "10.0.2.0/24").await;
    let body = json!({
        "subnet_id": subnet, "name": "web", "kind": "pod", "mac_address": "52:54:00:AB:CD:01", "ip_address": "10.0.1.77",
        "security_group_ids": [], "device_id": "vm-1", "description": "d",
    });
    let port = operator.post(PORTS, body.clone()).await;
    for (member, value) in body.as_object().unwrap() {
        if member != "mac_address" {
            assert_eq!(&port.data()[member], value);
        }
    }
    assert_eq!(port.data()["mac_address"], "52:54:00:ab:cd:01");
    let taken = json!({ "subnet_id": subnet, "ip_address": "10.0.1.77" });
    let refused = operator.post(PORTS, taken).await;
    assert_eq!(refused.error(), (409, "ADDRESS_IN_USE", "ip_address"));
    assert_eq!(refused.details()["port_id"], port.data()["id"]);
    // A MAC is alone in the VPC, not in the subnet.
    let taken = json!({ "subnet_id": other, "mac_address": "52:54:00:ab:cd:01" });
    let refused = operator.post(PORTS, taken.clone()).await;
    assert_eq!(refused.error(), (409, "MAC_IN_USE", "mac_address"));
    assert_eq!(refused.details()["port_id"], port.data()["id"]);
    // In another VPC both are free.
    let elsewhere = operator.vpc("10.0.0.0/16").await;
    let elsewhere = operator.subnet(&elsewhere, "10.0.1.0/24").await;
    let mut same = body;
    same["subnet_id"] = json!(elsewhere);
    operator.post(PORTS, same).await.data();
    // What a port had is free when it is gone.
    operator
        .delete(&format!("{PORTS}/{}", port.id()))
        .await
        .data();
    operator.post(PORTS, taken).await.data();
    let again = json!({ "subnet_id": subnet, "ip_address": "10.0.1.77" });
    operator.post(PORTS, again).await.data();
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_is_full_when_it_is_and_not_before() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let body = json!({ "name": "n", "vpc_id": vpc, "cidr_block": "10.0.1.0/29", "gateway_ip": "10.0.1.3" });
    let subnet = operator.post("/api/v1/subnets", body).await.id();
    let mut addresses = Vec::new();
    for _ in 0..5 {
        addresses.push(operator.port(&subnet).await.text("ip_address"));
    }
    addresses.sort();
    assert_eq!(
        addresses,
        ["10.0.1.1", "10.0.1.2", "10.0.1.4", "10.0.1.5", "10.0.1.6"]
    );
    let refused = operator.port(&subnet).await;
    assert_eq!(
        (refused.status, refused.error().1),
        (409, "ADDRESSES_EXHAUSTED")
    );
    assert_eq!(
        refused.details(),
        &json!({ "subnet_id": subnet, "capacity": 5 })
    );
    let ports = operator
        .all(&format!("{PORTS}?ip_address=10.0.1.4"), "ports", "id")
        .await;
    operator
        .delete(&format!("{PORTS}/{}", ports[0]))
        .await
        .data();
    assert_eq!(operator.port(&subnet).await.text("ip_address"), "10.0.1.4");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_of_a_port() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let (web, db) = (operator.group("web").await, operator.group("db").await);
    let body = json!({ "subnet_id": subnet, "security_group_ids": [web] });
    let port = operator.post(PORTS, body).await;
    let path = format!("{PORTS}/{}", port.id());
    let change = json!({
        "name": "p", "description": "d", "security_group_ids": [db], "host_id": "h1", "device_id": "vm-1",
    });
    let changed = operator.patch(&path, change.clone()).await;
    for (member, value) in change.as_object().unwrap() {
        assert_eq!(&changed.data()[member], value);
    }
    assert_eq!(changed.data()["status"], "building");
    for member in ["ip_address", "mac_address"] {
        assert_eq!(changed.data()[member], port.data()[member]);
    }
    // It uses one group and no longer the other.
    operator
        .delete(&format!("/api/v1/security-groups/{web}"))
        .await
        .data();
    let refused = operator
        .delete(&format!("/api/v1/security-groups/{db}"))
        .await;
    assert_eq!(
        refused.details()["used_by"],
        json!([{ "kind": "port", "id": port.id() }])
    );
    let gone = operator
        .patch(&path, json!({ "security_group_ids": [web] }))
        .await;
    assert_eq!(gone.error(), (404, "NOT_FOUND", "security_group_ids"));
    // An empty text is none.
    let cleared = operator
        .patch(&path, json!({ "name": "", "host_id": "", "device_id": "" }))
        .await;
    assert_eq!(
        (&cleared.data()["name"], &cleared.data()["status"]),
        (&json!(""), &json!("down"))
    );
    assert_eq!(cleared.data()["host_id"], json!(null));
    for member in ["ip_address", "subnet_id", "mac_address", "kind"] {
        let refused = operator.patch(&path, json!({ member: "x" })).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", member));
    }
    house.stop().await;
}

/// A host is told to take a port down by a record: that there is none is no order.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_had_a_host_leaves_an_order() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let homeless = operator.port(&subnet).await.id();
    let body = json!({ "subnet_id": subnet, "host_id": "h1" });
    let bound = operator.post(PORTS, body).await;
    assert_eq!(bound.data()["status"], "building");
    for port in [&homeless, &bound.id()] {
        operator.delete(&format!("{PORTS}/{port}")).await.data();
    }
    let store = house.store().await;
    let orders = keys_below(&store, "/photon/prismnet/public/gone/").await;
    assert_eq!(
        orders,
        [format!("/photon/prismnet/public/gone/{}", bound.id())]
    );
    let order = store.get_raw(&orders[0]).await.unwrap().unwrap();
    let order: serde_json::Value = serde_json::from_slice(&order.value).unwrap();
    assert_eq!(
        (&order["host"], &order["vpc"], &order["v"]),
        (&json!("h1"), &json!(vpc), &json!(1))
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_found_by_what_they_have() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let (a, b) = (
        operator.subnet(&vpc, "10.0.1.0/24").await,
        operator.subnet(&vpc, "10.0.2.0/24").await,
    );
    let web = operator.group("web").await;
    let one = json!({ "subnet_id": a, "name": "one", "host_id": "h1", "device_id": "vm-1" });
    let one = operator.post(PORTS, one).await.id();
    let two = json!({ "subnet_id": b, "host_id": "h2", "security_group_ids": [web] });
    let two = operator.post(PORTS, two).await.id();
    for (query, found) in [
        (format!("subnet_id={a}"), vec![&one]),
        (format!("subnet_id={b}"), vec![&two]),
        (format!("vpc_id={vpc}"), vec![&one, &two]),
        ("vpc_id=vpc-001".to_owned(), vec![]),
        ("host_id=h1".to_owned(), vec![&one]),
        ("device_id=vm-1".to_owned(), vec![&one]),
        ("device_id=vm-2".to_owned(), vec![]),
        (format!("security_group_id={web}"), vec![&two]),
        ("name=one".to_owned(), vec![&one]),
        ("ip_address=10.0.2.2".to_owned(), vec![&two]),
        (format!("subnet_id={a}&host_id=h2"), vec![]),
        ("org_id=acme&project_id=shop".to_owned(), vec![&one, &two]),
        (format!("subnet_id={a}&project_id=lab"), vec![]),
    ] {
        let ids = operator
            .all(&format!("{PORTS}?{query}"), "ports", "id")
            .await;
        assert_eq!(ids.iter().collect::<Vec<_>>(), found, "{query}");
    }
    house.stop().await;
}
