//! External networks: what goes together, what is shown, what is deleted when.

use photon_core::Name;
use photon_store::Record;
use photon_testkit::{in_process_chainfire, poll::eventually};
use prismnet_model::{ExternalNetwork, Host, ObservedAgent, observed::agent_key};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    floating::assert_consistent,
    house::{Caller, House, PATIENCE, config, keys_below, over},
};

pub(crate) const NETWORKS: &str = "/api/v1/external-networks";
const FLOATING: &str = "/api/v1/floating-ips";

#[tokio::test(flavor = "multi_thread")]
async fn an_external_network_is_made_changed_and_deleted() {
    let house = House::dev().await;
    let operator = &house.operator;
    let body = json!({
        "name": "internet", "cidr_block": "192.0.2.0/24", "gateway_ip": "192.0.2.1",
        "uplinks": { "h1": "br-lan", "h2": "eth0.7" }, "description": "d",
    });
    let made = operator.post(NETWORKS, body).await;
    assert_eq!(made.status, 201);
    let whole = json!([{ "first": "192.0.2.2", "last": "192.0.2.254" }]);
    assert_eq!(made.data()["pool"], whole);
    assert_eq!(
        made.data()["uplinks"],
        json!({ "h1": "br-lan", "h2": "eth0.7" })
    );
    let path = format!("{NETWORKS}/{}", made.id());
    let shown = operator.get(&path).await;
    assert_eq!((shown.data(), &shown.etag), (made.data(), &made.etag));
    let listed = operator.get(&format!("{NETWORKS}?name=internet")).await;
    assert_eq!(listed.data()["external_networks"], json!([made.data()]));
    let none = operator.get(&format!("{NETWORKS}?name=other")).await;
    assert_eq!(none.data()["external_networks"], json!([]));

    let etag = made.etag.unwrap();
    let pool = json!([
        { "first": "192.0.2.1", "last": "192.0.2.9" }, { "first": "192.0.2.20", "last": "192.0.2.20" },
    ]);
    let change =
        json!({ "gateway_ip": null, "pool": pool, "uplinks": {}, "name": "i", "description": "" });
    let changed = operator.patch_if(&etag, &path, change.clone()).await;
    for (member, value) in change.as_object().unwrap() {
        assert_eq!(&changed.data()[member], value, "{member}");
    }
    assert_eq!(changed.data()["cidr_block"], "192.0.2.0/24");
    let late = operator
        .patch_if(&etag, &path, json!({ "name": "x" }))
        .await;
    assert_eq!(late.error().1, "CONFLICT");
    // What is absent stays, and what changes nothing is no change.
    let same = operator.patch(&path, json!({ "name": "i" })).await;
    assert_eq!(same.data(), changed.data());
    // The gateway and the pool are looked at together, whichever of them changes.
    let gateway = operator
        .patch(&path, json!({ "gateway_ip": "192.0.2.5" }))
        .await;
    assert_eq!(gateway.error(), (400, "VALIDATION_ERROR", "gateway_ip"));
    assert_eq!(gateway.details()["constraint"], "in_pool");
    operator
        .patch(&path, json!({ "gateway_ip": "192.0.2.10" }))
        .await
        .data();
    let block = operator
        .patch(&path, json!({ "cidr_block": "192.0.2.0/25" }))
        .await;
    assert_eq!(block.error(), (400, "VALIDATION_ERROR", "cidr_block"));

    let gone = operator.delete(&path).await;
    assert_eq!(gone.data()["deleted"], true);
    assert_eq!(operator.get(&path).await.status, 404);
    assert_eq!(operator.delete(&path).await.status, 404);
    assert_eq!(operator.patch(&path, json!({})).await.status, 404);
    assert_eq!(house.keys().await, ["/photon/prismnet/external-layout/all"]);
    house.stop().await;
}

/// Whatever two processes are asked for at once: blocks never overlap.
#[tokio::test(flavor = "multi_thread")]
async fn no_two_overlap() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let (one, two) = (over(config(&endpoint)).await, over(config(&endpoint)).await);
    let (a, b) = (Caller::of(&one), Caller::of(&two));
    // 192.0.2.0/24 and everything in it: of any two that overlap one is there.
    let mut blocks = vec!["192.0.2.0/24".to_owned()];
    blocks.extend((0..8).map(|n| format!("192.0.2.{}/27", n * 32)));
    blocks.extend((0..8).map(|n| format!("192.0.2.{}/28", n * 32 + 16)));
    let mut asking = JoinSet::new();
    for (n, block) in blocks.into_iter().enumerate() {
        let caller = if n % 2 == 0 { a.clone() } else { b.clone() };
        asking.spawn(async move {
            let body = json!({ "name": "n", "cidr_block": block });
            (block, caller.post(NETWORKS, body).await)
        });
    }
    let answers = asking.join_all().await;
    let made = a.all(NETWORKS, "external_networks", "cidr_block").await;
    let parse = |block: &str| block.parse::<prismnet_model::Block>().unwrap();
    for (index, block) in made.iter().enumerate() {
        for other in &made[index + 1..] {
            assert!(!parse(block).overlaps(parse(other)), "{block} {other}");
        }
    }
    for (block, answer) in answers {
        if answer.status == 201 {
            assert!(made.contains(&block), "{block}");
            continue;
        }
        assert_eq!(answer.error(), (409, "BLOCK_OVERLAPS", "cidr_block"));
        let other = answer.details()["overlaps"].as_str().unwrap();
        assert!(parse(other).overlaps(parse(&block)), "{block} {other}");
        let id = answer.details()["external_network_id"].as_str().unwrap();
        assert_eq!(
            a.get(&format!("{NETWORKS}/{id}")).await.data()["cidr_block"],
            other
        );
    }
    // What was given up can be had again.
    for id in b.all(NETWORKS, "external_networks", "id").await {
        b.delete(&format!("{NETWORKS}/{id}")).await.data();
    }
    a.outside("192.0.0.0/16").await;
    one.stop().await;
    two.stop().await;
    chainfire.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_out_keeps_its_network_and_its_place_in_the_pool() {
    let house = House::dev().await;
    let operator = &house.operator;
    let network = operator.outside("192.0.2.0/28").await;
    let path = format!("{NETWORKS}/{network}");
    let mut given = Vec::new();
    for last in 2..6 {
        let made = operator.floating(&network).await;
        assert_eq!(made.data()["address"], format!("192.0.2.{last}"));
        given.push(made.id());
    }
    let refused = operator.delete(&path).await;
    assert_eq!(refused.error().1, "IN_USE");
    let users = |ids: &[String]| {
        let users = ids
            .iter()
            .map(|id| json!({ "kind": "floating_ip", "id": id }));
        json!({ "used_by": users.collect::<Vec<_>>(), "more": false })
    };
    assert_eq!(refused.details(), &users(&given));
    let pool = |first: u8, last: u8| json!({ "pool": [{ "first": format!("192.0.2.{first}"), "last": format!("192.0.2.{last}") }] });
    for (change, left_out) in [
        (pool(3, 14), &given[..1]),
        (pool(2, 3), &given[2..]),
        (json!({ "pool": [] }), &given[..]),
    ] {
        let refused = operator.patch(&path, change.clone()).await;
        assert_eq!((refused.status, refused.error().1), (409, "IN_USE"));
        assert_eq!(refused.details(), &users(left_out), "{change}");
    }
    operator.patch(&path, pool(2, 5)).await.data();
    let full = operator.floating(&network).await;
    assert_eq!((full.status, full.error().1), (409, "ADDRESSES_EXHAUSTED"));
    assert_eq!(
        full.details(),
        &json!({ "external_network_id": network, "capacity": 4 })
    );
    // Larger again, and it goes on.
    operator.patch(&path, pool(2, 6)).await.data();
    let next = operator.floating(&network).await;
    assert_eq!(next.data()["address"], "192.0.2.6");
    given.push(next.id());
    for id in &given {
        operator.delete(&format!("{FLOATING}/{id}")).await.data();
    }
    operator.patch(&path, json!({ "pool": [] })).await.data();
    let empty = operator.floating(&network).await;
    assert_eq!(empty.details()["capacity"], 0);
    operator.delete(&path).await.data();
    house.stop().await;
}

/// An address is not given out while it is taken out of the pool, nor from a network that is deleted: one of both loses.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_out_of_what_goes_away() {
    let house = House::dev().await;
    let second = over(config(&house.chainfire.endpoint())).await;
    let (a, b) = (&house.operator, &Caller::of(&second));
    let mut won = [0, 0];
    for round in 0..12 {
        let network = a.outside("192.0.2.0/29").await;
        let path = format!("{NETWORKS}/{network}");
        // Both know the network, and what is free in it.
        for caller in [a, b] {
            let warm = caller.floating(&network).await.id();
            caller.delete(&format!("{FLOATING}/{warm}")).await.data();
        }
        let body = json!({
            "external_network_id": network, "org_id": "acme", "project_id": "shop", "address": "192.0.2.4",
        });
        let smaller = json!({ "pool": [{ "first": "192.0.2.2", "last": "192.0.2.3" }] });
        let go_away = async {
            match round % 2 {
                0 => b.patch(&path, smaller).await,
                _ => b.delete(&path).await,
            }
        };
        let (given, gone) = tokio::join!(a.post(FLOATING, body), go_away);
        match (given.status, gone.status) {
            (201, 409) => {
                assert_eq!(gone.error().1, "IN_USE");
                won[0] += 1;
                let id = given.id();
                a.delete(&format!("{FLOATING}/{id}")).await.data();
            }
            (400, 200) => {
                assert_eq!(given.error(), (400, "VALIDATION_ERROR", "address"));
                won[1] += 1;
            }
            (404, 200) => {
                assert_eq!(given.error().2, "external_network_id");
                won[1] += 1;
            }
            _ => panic!("{given:?} {gone:?}"),
        }
        assert_consistent(&house.chainfire.endpoint()).await;
        if a.get(&path).await.status == 200 {
            a.delete(&path).await.data();
        }
    }
    assert_eq!(won[0] + won[1], 12);
    second.stop().await;
    house.stop().await;
}

/// By which addresses hosts reach each other, is not given out, whichever of both was first.
#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_own_address_is_not_given_out() {
    let house = House::dev().await;
    let operator = &house.operator;
    let store = house.store().await;
    let report = async |host: &str, vtep: &str| {
        let agent = ObservedAgent {
            version: "0".to_owned(),
            vtep: Some(vtep.parse().unwrap()),
            addresses: [vtep, "198.51.100.7"]
                .map(|own| own.parse().unwrap())
                .into(),
            mtu: 1_450,
            mode: "bridge-ct".to_owned(),
            problems: Vec::new(),
            orphans: Vec::new(),
            adopted: Vec::new(),
            floating_orphans: Vec::new(),
            orders_done: None,
        };
        let mut form: Value = serde_json::to_value(agent).unwrap();
        form["v"] = json!(1);
        let key = agent_key(&Name::new(host).unwrap());
        let path = format!("{}{key}", ObservedAgent::ROOT);
        let mut transaction = store.transaction();
        transaction.put_raw(&path, form.to_string(), 0).unwrap();
        transaction.commit().await.unwrap();
    };
    let told = async |host: &str| {
        eventually("the host is told to the others", PATIENCE, || async {
            store.collection::<Host>().get(host).await.unwrap()
        })
        .await
        .unwrap();
    };
    report("h1", "192.0.2.7").await;
    told("h1").await;
    let body = json!({ "name": "lan", "cidr_block": "192.0.2.0/24" });
    let refused = operator.post(NETWORKS, body).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "pool"));
    assert_eq!(refused.details()["constraint"], "host");
    // Also what it has on another device.
    let body = json!({ "name": "wan", "cidr_block": "198.51.100.0/24" });
    let refused = operator.post(NETWORKS, body).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "pool"));
    let pool = |last: &str| json!([{ "first": "192.0.2.100", "last": last }]);
    let body = json!({ "name": "lan", "cidr_block": "192.0.2.0/24", "pool": pool("192.0.2.199") });
    let path = format!("{NETWORKS}/{}", operator.post(NETWORKS, body).await.id());
    let all = json!({ "pool": [{ "first": "192.0.2.1", "last": "192.0.2.199" }] });
    assert_eq!(operator.patch(&path, all).await.error().2, "pool");
    // A host that says it has what is given out; and one behind it, which shows that it was looked at.
    report("h2", "192.0.2.150").await;
    report("h3", "192.0.2.8").await;
    told("h3").await;
    let hosts = keys_below(&store, Host::ROOT).await;
    assert_eq!(
        hosts,
        ["h1", "h3"].map(|host| format!("{}{host}", Host::ROOT))
    );
    assert_eq!(keys_below(&store, ExternalNetwork::ROOT).await.len(), 1);
    house.stop().await;
}
