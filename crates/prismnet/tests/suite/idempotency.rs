//! `Idempotency-Key`: asked twice, made once.

use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{Caller, House, config, over};

const VPCS: &str = "/api/v1/vpcs";
const PORTS: &str = "/api/v1/ports";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_makes_one_thing_of_each_kind() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc =
        json!({ "name": "n", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16" });
    let first = operator.keyed("k", VPCS, vpc.clone()).await;
    let again = operator.keyed("k", VPCS, vpc.clone()).await;
    assert!(!first.replayed && again.replayed);
    assert_eq!(
        (again.status, again.data(), &again.etag),
        (201, first.data(), &first.etag)
    );
    let other = operator.keyed("k", VPCS, json!({ "name": "m", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16" })).await;
    assert_eq!(other.error(), (422, "UNPROCESSABLE", "Idempotency-Key"));
    let vpc = first.id();
    let subnet = json!({ "name": "n", "vpc_id": vpc, "cidr_block": "10.0.1.0/24" });
    let subnet = [
        operator
            .keyed("k", "/api/v1/subnets", subnet.clone())
            .await
            .id(),
        operator.keyed("k", "/api/v1/subnets", subnet).await.id(),
    ];
    assert_eq!(subnet[0], subnet[1]);
    let group = json!({ "name": "web", "org_id": "acme", "project_id": "shop" });
    let group = [
        operator
            .keyed("k", "/api/v1/security-groups", group.clone())
            .await
            .id(),
        operator
            .keyed("k", "/api/v1/security-groups", group)
            .await
            .id(),
    ];
    assert_eq!(group[0], group[1]);
    let rules = format!("/api/v1/security-groups/{}/rules", group[0]);
    let rule = json!({ "direction": "egress" });
    let rule = [
        operator.keyed("k", &rules, rule.clone()).await.id(),
        operator.keyed("k", &rules, rule).await.id(),
    ];
    assert_eq!(rule[0], rule[1]);
    let route = json!({ "vpc_id": vpc, "destination": "0.0.0.0/0", "next_hop": "10.0.1.9" });
    let route = [
        operator
            .keyed("k", "/api/v1/routes", route.clone())
            .await
            .id(),
        operator.keyed("k", "/api/v1/routes", route).await.id(),
    ];
    assert_eq!(route[0], route[1]);
    let network = json!({ "name": "n", "cidr_block": "192.0.2.0/24" });
    let network = [
        operator
            .keyed("k", "/api/v1/external-networks", network.clone())
            .await
            .id(),
        operator
            .keyed("k", "/api/v1/external-networks", network)
            .await
            .id(),
    ];
    assert_eq!(network[0], network[1]);
    let floating = json!({
        "external_network_id": network[0], "org_id": "acme", "project_id": "shop",
    });
    let floating = [
        operator
            .keyed("k", "/api/v1/floating-ips", floating.clone())
            .await
            .id(),
        operator
            .keyed("k", "/api/v1/floating-ips", floating)
            .await
            .id(),
    ];
    assert_eq!(floating[0], floating[1]);
    // A refusal is not kept: what failed may succeed.
    let taken = operator.port(&subnet[0]).await;
    let body = json!({ "subnet_id": subnet[0], "ip_address": taken.data()["ip_address"] });
    assert_eq!(
        operator.keyed("p", PORTS, body.clone()).await.error().1,
        "ADDRESS_IN_USE"
    );
    operator
        .delete(&format!("{PORTS}/{}", taken.id()))
        .await
        .data();
    let port = operator.keyed("p", PORTS, body.clone()).await;
    assert_eq!(operator.keyed("p", PORTS, body).await.id(), port.id());
    house.stop().await;
}

/// At two processes at once: one port, one address.
#[tokio::test(flavor = "multi_thread")]
async fn in_parallel_it_is_made_once() {
    let house = House::dev().await;
    let second = over(config(&house.chainfire.endpoint())).await;
    let other = Caller::of(&second);
    let vpc = house.operator.vpc("10.0.0.0/16").await;
    let subnet = house.operator.subnet(&vpc, "10.0.1.0/24").await;
    let mut asking = JoinSet::new();
    for n in 0..20 {
        let caller = if n % 2 == 0 {
            house.operator.clone()
        } else {
            other.clone()
        };
        let body = json!({ "subnet_id": subnet });
        asking.spawn(async move { caller.keyed("once", PORTS, body).await });
    }
    let answers = asking.join_all().await;
    let mut ids: Vec<String> = Vec::new();
    for answer in &answers {
        match answer.status {
            201 => ids.push(answer.id()),
            // The first is on its way; it names what it has made.
            _ => {
                assert_eq!((answer.status, answer.error().1), (409, "CONFLICT"));
                ids.push(
                    answer.details()["resource"]["id"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{answers:?}");
    let made = answers
        .iter()
        .filter(|one| one.status == 201 && !one.replayed)
        .count();
    assert_eq!(made, 1);
    assert_eq!(house.operator.all(PORTS, "ports", "id").await, ids);
    second.stop().await;
    house.stop().await;
}
