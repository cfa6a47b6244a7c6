//! The store was restored from an older snapshot, or replaced: what a running process does, and what becomes of addresses of
//! which the store knows nothing any more. The agent is played by the test, in the store.

use std::{collections::BTreeSet, net::Ipv4Addr};

use photon_core::Name;
use photon_store::Record;
use photon_testkit::poll::eventually;
use prismnet_model::{
    Alive, FloatingOrphan, Gone, GoneFloatingIp, ObservedAgent, Orphan,
    observed::{agent_key, alive_key},
};
use serde_json::json;

use crate::{
    external::NETWORKS,
    hosts::{name, report},
    house::{House, PATIENCE, keys_below},
};

const PORTS: &str = "/api/v1/ports";
const FLOATING: &str = "/api/v1/floating-ips";
const LOST: &str = "port-019ac8e5-3c00-7001-8c00-000000000003";

fn agent(addresses: &[&str]) -> ObservedAgent {
    ObservedAgent {
        version: "0".to_owned(),
        vtep: None,
        addresses: addresses.iter().map(|own| own.parse().unwrap()).collect(),
        mtu: 1_450,
        mode: "bridge-ct".to_owned(),
        problems: Vec::new(),
        orphans: Vec::new(),
        adopted: Vec::new(),
        floating_orphans: Vec::new(),
        orders_done: None,
    }
}

fn orphan(vpc: &str, address: &str) -> Orphan {
    Orphan {
        vpc: vpc.parse().unwrap(),
        port: LOST.parse().unwrap(),
        device: "pntx".to_owned(),
        subnet: None,
        address: Some(address.parse().unwrap()),
    }
}

/// Until somebody decides about it on its host, nobody gets the address of what runs there without a record.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_without_a_record_keeps_its_address() {
    let house = House::dev().await;
    let operator = &house.operator;
    let store = house.store().await;
    let host = name("h1");
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/29").await;
    let twin = operator.vpc("10.0.0.0/16").await;
    let of_twin = operator.subnet(&twin, "10.0.1.0/29").await;
    let fixed = |subnet: &str, address: &str| {
        operator.post(PORTS, json!({ "subnet_id": subnet, "ip_address": address }))
    };
    let reported = ObservedAgent {
        orphans: vec![orphan(&vpc, "10.0.1.3")],
        adopted: vec![orphan(&vpc, "10.0.1.5")],
        ..agent(&[])
    };
    report(&store, &agent_key(&host), &reported).await;
    let refused = eventually("the report is heard of", PATIENCE, || async {
        let answer = fixed(&subnet, "10.0.1.3").await;
        if answer.status == 201 {
            operator.delete(&format!("{PORTS}/{}", answer.id())).await;
            return None;
        }
        Some(answer)
    })
    .await
    .unwrap();
    assert_eq!(refused.error(), (409, "ADDRESS_IN_USE", "ip_address"));
    assert_eq!(refused.details()["orphan_id"], LOST);
    assert_eq!(fixed(&subnet, "10.0.1.5").await.status, 409);
    // The same address in another VPC is another address.
    fixed(&of_twin, "10.0.1.3").await.data();
    let mut given = BTreeSet::new();
    let full = loop {
        let answer = operator.port(&subnet).await;
        if answer.status != 201 {
            break answer;
        }
        given.insert(answer.text("ip_address"));
    };
    assert_eq!(full.error().1, "ADDRESSES_EXHAUSTED");
    let free = ["10.0.1.2", "10.0.1.4", "10.0.1.6"].map(str::to_owned);
    assert_eq!(given, BTreeSet::from(free));
    // Purged there.
    report(&store, &agent_key(&host), &agent(&[])).await;
    eventually("the address is free", PATIENCE, || async {
        (fixed(&subnet, "10.0.1.3").await.status == 201).then_some(())
    })
    .await
    .unwrap();
    operator.port(&subnet).await.data();
    house.stop().await;
}

/// A host that comes after the pool, with an address of it; and one that answers for an address whose record is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_has_is_not_given_out_of_a_pool() {
    let house = House::dev().await;
    let operator = &house.operator;
    let store = house.store().await;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let network = operator.outside("192.0.2.0/29").await;
    let path = format!("{NETWORKS}/{network}");
    assert_eq!(operator.get(&path).await.data()["held_by_hosts"], json!([]));
    report(&store, &agent_key(&name("h1")), &agent(&["192.0.2.3"])).await;
    let second = ObservedAgent {
        floating_orphans: vec![FloatingOrphan {
            address: "192.0.2.5".parse().unwrap(),
            vpc: vpc.parse().unwrap(),
        }],
        ..agent(&["198.51.100.1"])
    };
    report(&store, &agent_key(&name("h2")), &second).await;
    let held = json!([
        { "address": "192.0.2.3", "host_id": "h1" }, { "address": "192.0.2.5", "host_id": "h2" },
    ]);
    eventually("the reports are heard of", PATIENCE, || async {
        let shown = operator.get(&path).await;
        (shown.data()["held_by_hosts"] == held).then_some(())
    })
    .await
    .unwrap();
    let listed = operator.get(NETWORKS).await;
    assert_eq!(listed.data()["external_networks"][0]["held_by_hosts"], held);
    let wanted = |address: &str| {
        let body = json!({
            "external_network_id": network, "org_id": "acme", "project_id": "shop", "address": address,
        });
        operator.post(FLOATING, body)
    };
    for address in ["192.0.2.3", "192.0.2.5"] {
        let refused = wanted(address).await;
        assert_eq!(refused.error(), (409, "ADDRESS_IN_USE", "address"));
    }
    let mut given = BTreeSet::new();
    while let answer = operator.floating(&network).await
        && answer.status == 201
    {
        given.insert(answer.text("address"));
    }
    let free = ["192.0.2.2", "192.0.2.4", "192.0.2.6"].map(str::to_owned);
    assert_eq!(given, BTreeSet::from(free));
    house.stop().await;
}

/// The end of a port on a host and of a floating IP is an order, which stands until every host has carried it out.
#[tokio::test(flavor = "multi_thread")]
async fn orders_go_when_every_host_has_carried_them_out() {
    let house = House::dev().await;
    let operator = &house.operator;
    let store = house.store().await;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let network = operator.outside("192.0.2.0/29").await;
    let body = json!({ "subnet_id": subnet, "host_id": "h1" });
    let port = operator.post(PORTS, body).await.id();
    let made = operator.floating(&network).await;
    let (floating, address) = (made.id(), made.text("address"));
    operator
        .patch(
            &format!("{FLOATING}/{floating}"),
            json!({ "port_id": port }),
        )
        .await
        .data();
    operator
        .delete(&format!("{FLOATING}/{floating}"))
        .await
        .data();
    operator.delete(&format!("{PORTS}/{port}")).await.data();
    let order = store.collection::<GoneFloatingIp>().get(&floating).await;
    let order = order.unwrap().unwrap();
    assert_eq!(order.value.address, address.parse::<Ipv4Addr>().unwrap());
    assert_eq!(order.value.port, Some(port.parse().unwrap()));
    let last = store
        .collection::<Gone>()
        .get(&port)
        .await
        .unwrap()
        .unwrap();
    let orders = async || {
        let mut keys = keys_below(&store, Gone::ROOT).await;
        keys.extend(keys_below(&store, GoneFloatingIp::ROOT).await);
        keys.len()
    };
    assert_eq!(orders().await, 2);
    let now = "2026-11-23T02:00:00Z".parse().unwrap();
    let says = async |host: &str, done: Option<i64>| {
        let host = Name::new(host).unwrap();
        let reported = ObservedAgent {
            orders_done: done,
            ..agent(&[])
        };
        report(&store, &agent_key(&host), &reported).await;
        report(&store, &alive_key(&host), &Alive { since: now }).await;
    };
    // One has not heard of the last; of the first both have.
    says("h2", Some(order.revision)).await;
    says("h1", Some(last.revision)).await;
    eventually("the first order is gone", PATIENCE, || async {
        (orders().await == 1).then_some(())
    })
    .await
    .unwrap();
    let left = store.collection::<Gone>().get(&port).await.unwrap();
    assert!(left.is_some());
    says("h2", Some(last.revision + 7)).await;
    eventually("all orders are gone", PATIENCE, || async {
        (orders().await == 0).then_some(())
    })
    .await
    .unwrap();
    house.stop().await;
}

/// Refuses, says why, and goes on when an operator has said that the store is meant; without being started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_process_goes_on_when_the_changed_store_is_accepted() {
    let mut house = House::dev().await;
    let operator = house.operator.clone();
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    operator.port(&subnet).await.data();
    Box::pin(house.chainfire.replace_by_empty()).await.unwrap();
    let config = crate::house::config(&house.chainfire.endpoint());
    let said = operator.until_not_ready("prismnet accept-store").await;
    assert!(said.contains("restored or replaced"), "{said}");
    let body =
        json!({ "name": "n", "org_id": "acme", "project_id": "shop", "cidr_block": "10.0.0.0/16" });
    let refused = operator.post("/api/v1/vpcs", body).await;
    assert_eq!(refused.status, 503);

    prismnet::accept_store(&config).await.unwrap();
    operator.until_ready().await;
    // What it knew is gone with the store that had it.
    let lost = operator.port(&subnet).await;
    assert_eq!(lost.error(), (404, "NOT_FOUND", "subnet_id"));
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    assert_eq!(operator.port(&subnet).await.text("ip_address"), "10.0.1.2");
    let trails = photon_store::audit::Trails::new(house.store().await, "prismnet");
    let verdict = trails.verify("project-shop", 1, u64::MAX).await.unwrap();
    assert!(verdict.records > 0 && verdict.complete && verdict.fault.is_none());
    house.stop().await;
}
