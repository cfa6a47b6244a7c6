//! Floating IPs: given out once, at most one of a port's, never of a port that is gone.

use std::collections::{BTreeMap, BTreeSet};

use photon_testkit::in_process_chainfire;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    external::NETWORKS,
    house::{Answer, Caller, House, config, over, snapshot},
};

const FLOATING: &str = "/api/v1/floating-ips";
const ROOT: &str = "/photon/prismnet";

/// What the store has of floating IPs and of their claims: each claim is one's, each has its claims, no address and no port
/// twice, and every network and port that is named is there. Returns the addresses.
pub(crate) async fn assert_consistent(endpoint: &str) -> BTreeSet<String> {
    let stored = snapshot(endpoint).await;
    let mut addresses = BTreeSet::new();
    let mut claims = BTreeMap::new();
    let records = format!("{ROOT}/public/floating-ip/");
    for (key, value) in stored.iter().filter(|(key, _)| key.starts_with(&records)) {
        let floating: Value = serde_json::from_str(value).unwrap();
        let text = |name: &str| floating[name].as_str().unwrap().to_owned();
        let (id, network) = (text("id"), text("external_network"));
        assert!(addresses.insert(text("address")), "{floating} twice");
        let address: std::net::Ipv4Addr = text("address").parse().unwrap();
        let mut claim = |path: String| {
            let other = claims.insert(format!("{ROOT}/{path}"), key.clone());
            assert_eq!(other, None, "{path} twice");
        };
        claim(format!("external-address/{:08x}", address.to_bits()));
        claim(format!("use/{network}/{id}"));
        claim(format!("id/floating-ip/{id}"));
        let mut there = vec![format!("{ROOT}/public/external-network/{network}")];
        if let Some(port) = floating["port"].as_str() {
            claim(format!("use/{port}/{id}"));
            claim(format!("floating/{port}"));
            let (org, project) = (text("org"), text("project"));
            there.push(format!("{ROOT}/public/port/{org}/{project}/{port}"));
        }
        for key in there {
            assert!(stored.contains_key(&key), "{id}: {key} is not there");
        }
    }
    // Whatever else leads to one.
    let found = stored
        .into_iter()
        .filter(|(_, to)| to.starts_with(&records));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), claims);
    addresses
}

fn body(network: &str) -> Value {
    json!({ "external_network_id": network, "org_id": "acme", "project_id": "shop" })
}

/// Gives a floating IP to a port, or to none.
async fn give(caller: &Caller, floating: &str, port: impl Into<Value>) -> Answer {
    let path = format!("{FLOATING}/{floating}");
    caller.patch(&path, json!({ "port_id": port.into() })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_goes_from_port_to_port() {
    let house = House::dev().await;
    let operator = &house.operator;
    let network = operator.outside("192.0.2.0/29").await;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let bound = json!({ "subnet_id": subnet, "host_id": "h1" });
    let first = operator.post("/api/v1/ports", bound).await.id();
    let vip = json!({ "subnet_id": subnet, "kind": "vip" });
    let vip = operator.post("/api/v1/ports", vip).await.id();

    let made = operator.floating(&network).await;
    assert_eq!(made.status, 201);
    let id = made.id();
    for (member, value) in [
        ("org_id", json!("acme")),
        ("project_id", json!("shop")),
        ("external_network_id", json!(network)),
        ("address", json!("192.0.2.2")),
        ("port_id", json!(null)),
        ("fixed_ip", json!(null)),
        ("host_id", json!(null)),
        ("description", json!("")),
    ] {
        assert_eq!(made.data()[member], value, "{member}");
    }
    let has = |answer: &Answer, port: Value, fixed_ip: Value, host: Value| {
        let data = answer.data();
        assert_eq!(
            (&data["port_id"], &data["fixed_ip"], &data["host_id"]),
            (&port, &fixed_ip, &host)
        );
    };
    let on_first = give(operator, &id, first.clone()).await;
    has(&on_first, json!(first), json!("10.0.1.2"), json!("h1"));
    let path = format!("{FLOATING}/{id}");
    let shown = operator.get(&path).await;
    assert_eq!(
        (shown.data(), &shown.etag),
        (on_first.data(), &on_first.etag)
    );
    // Where the port is, is told as it is now.
    let port_path = format!("/api/v1/ports/{first}");
    operator
        .patch(&port_path, json!({ "host_id": "h2" }))
        .await
        .data();
    has(
        &operator.get(&path).await,
        json!(first),
        json!("10.0.1.2"),
        json!("h2"),
    );
    // The description alone, and the same port again, change nothing of it.
    let described = operator.patch(&path, json!({ "description": "d" })).await;
    has(&described, json!(first), json!("10.0.1.2"), json!("h2"));
    let same = give(operator, &id, first.clone()).await;
    assert_eq!(same.data()["revision"], described.data()["revision"]);
    // To an address without a host, in one step.
    let on_vip = give(operator, &id, vip.clone()).await;
    has(&on_vip, json!(vip), json!("10.0.1.3"), json!(null));
    let etag = described.etag.unwrap();
    let late = operator
        .patch_if(&etag, &path, json!({ "port_id": null }))
        .await;
    assert_eq!(late.error().1, "CONFLICT");
    assert_consistent(&house.chainfire.endpoint()).await;

    // Neither the port nor the network goes under it; both say why.
    for (path, kind) in [
        (format!("/api/v1/ports/{vip}"), "a port"),
        (format!("{NETWORKS}/{network}"), "a network"),
    ] {
        let refused = operator.delete(&path).await;
        assert_eq!((refused.status, refused.error().1), (409, "IN_USE"));
        let used_by = json!([{ "kind": "floating_ip", "id": id }]);
        assert_eq!(refused.details()["used_by"], used_by, "{kind}");
    }
    // The one it left is free of it.
    operator.delete(&port_path).await.data();
    let off = give(operator, &id, json!(null)).await;
    has(&off, json!(null), json!(null), json!(null));
    operator
        .delete(&format!("/api/v1/ports/{vip}"))
        .await
        .data();
    let gone = operator.delete(&path).await;
    assert_eq!(
        (&gone.data()["id"], &gone.data()["deleted"]),
        (&json!(id), &json!(true))
    );
    assert_eq!(operator.get(&path).await.status, 404);
    assert_eq!(
        give(operator, &id, json!(null)).await.error(),
        (404, "NOT_FOUND", "")
    );
    // A port whose floating IP is released is free of it, too.
    let port = operator.port(&subnet).await.id();
    let mut new = body(&network);
    new["port_id"] = json!(port);
    let made = operator.post(FLOATING, new).await;
    // One just given back does not come back at once.
    assert_eq!(made.data()["address"], "192.0.2.3");
    has(
        &made,
        json!(port),
        made.data()["fixed_ip"].clone(),
        json!(null),
    );
    assert_eq!(
        operator
            .delete(&format!("/api/v1/ports/{port}"))
            .await
            .error()
            .1,
        "IN_USE"
    );
    operator
        .delete(&format!("{FLOATING}/{}", made.id()))
        .await
        .data();
    for path in [
        format!("/api/v1/ports/{port}"),
        format!("{NETWORKS}/{network}"),
    ] {
        operator.delete(&path).await.data();
    }
    let mut left = house.keys().await;
    // The orders to take down what they were.
    left.retain(|key| !key.contains("/public/gone"));
    assert!(
        left.iter()
            .all(|key| !key.contains("floating") && !key.contains("external-address")),
        "{left:?}"
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_has_one_at_most() {
    let house = House::dev().await;
    let second = over(config(&house.chainfire.endpoint())).await;
    let (a, b) = (&house.operator, &Caller::of(&second));
    let network = a.outside("192.0.2.0/28").await;
    let vpc = a.vpc("10.0.0.0/16").await;
    let subnet = a.subnet(&vpc, "10.0.1.0/24").await;
    let one = a.floating(&network).await.id();
    let two = a.floating(&network).await.id();
    for _ in 0..8 {
        let port = a.port(&subnet).await.id();
        let (on_a, on_b) = tokio::join!(give(a, &one, port.clone()), give(b, &two, port.clone()),);
        let (winner, loser) = match (on_a.status, on_b.status) {
            (200, 409) => (&one, &on_b),
            (409, 200) => (&two, &on_a),
            _ => panic!("{on_a:?} {on_b:?}"),
        };
        assert_eq!(loser.error().1, "ALREADY_EXISTS");
        assert_eq!(loser.details()["id"], winner.as_str());
        assert_consistent(&house.chainfire.endpoint()).await;
        // Nor is another allocated to it; nothing stays of the try.
        let mut new = body(&network);
        new["port_id"] = json!(port);
        let refused = b.post(FLOATING, new).await;
        assert_eq!((refused.status, refused.error().1), (409, "ALREADY_EXISTS"));
        assert_eq!(a.all(FLOATING, "floating_ips", "id").await.len(), 2);
    }
    second.stop().await;
    house.stop().await;
}

/// A port is not deleted under a floating IP that it is just given.
#[tokio::test(flavor = "multi_thread")]
async fn no_floating_ip_is_left_to_a_port_that_is_gone() {
    let house = House::dev().await;
    let second = over(config(&house.chainfire.endpoint())).await;
    let (a, b) = (&house.operator, &Caller::of(&second));
    let network = a.outside("192.0.2.0/28").await;
    let vpc = a.vpc("10.0.0.0/16").await;
    let subnet = a.subnet(&vpc, "10.0.1.0/24").await;
    let floating = a.floating(&network).await.id();
    for round in 0..15 {
        let port = a.port(&subnet).await.id();
        let path = format!("/api/v1/ports/{port}");
        let take = async {
            match round % 3 {
                0 => {
                    let mut new = body(&network);
                    new["port_id"] = json!(port);
                    a.post(FLOATING, new).await
                }
                _ => give(a, &floating, port.clone()).await,
            }
        };
        let (given, deleted) = tokio::join!(take, b.delete(&path));
        let there = a.get(&path).await.status;
        match (given.status, deleted.status) {
            (200 | 201, 409) => {
                assert_eq!((there, deleted.error().1), (200, "IN_USE"));
                give(a, &given.id(), json!(null)).await.data();
                a.delete(&path).await.data();
            }
            (404, 200) => {
                assert_eq!((there, given.error().2), (404, "port_id"));
            }
            _ => panic!("{given:?} {deleted:?}"),
        }
        assert_consistent(&house.chainfire.endpoint()).await;
        for id in a.all(FLOATING, "floating_ips", "id").await {
            if id != floating {
                a.delete(&format!("{FLOATING}/{id}")).await.data();
            }
        }
    }
    second.stop().await;
    house.stop().await;
}

/// Two processes over one store, more requests than there are addresses.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_give_out_every_address_once() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let (one, two) = (over(config(&endpoint)).await, over(config(&endpoint)).await);
    let (a, b) = (Caller::of(&one), Caller::of(&two));
    let pool = json!([
        { "first": "192.0.2.10", "last": "192.0.2.29" },
        { "first": "192.0.2.40", "last": "192.0.2.40" },
        { "first": "192.0.2.50", "last": "192.0.2.68" },
    ]);
    let new = json!({ "name": "n", "cidr_block": "192.0.2.0/24", "pool": pool });
    let network = a.post(NETWORKS, new).await.id();
    // A neighbour's addresses are nobody's business here.
    let other = a.outside("192.0.3.0/24").await;
    a.floating(&other).await.data();
    let mut asking = JoinSet::new();
    for n in 0..60 {
        let caller = if n % 2 == 0 { a.clone() } else { b.clone() };
        let network = network.clone();
        asking.spawn(async move { caller.floating(&network).await });
    }
    let (mut made, mut full) = (BTreeSet::new(), 0);
    for answer in asking.join_all().await {
        match answer.status {
            201 => assert!(made.insert(answer.text("address"))),
            _ => {
                assert_eq!(answer.error().1, "ADDRESSES_EXHAUSTED");
                assert_eq!(answer.details()["capacity"], 40);
                full += 1;
            }
        }
    }
    // All there are, and not one more.
    assert_eq!((made.len(), full), (40, 20));
    let expected: BTreeSet<String> = (10..=29)
        .chain([40])
        .chain(50..=68)
        .map(|last| format!("192.0.2.{last}"))
        .collect();
    assert_eq!(made, expected);
    assert_eq!(assert_consistent(&endpoint).await.len(), 41);
    // What one process frees, the other finds.
    let path = format!("{FLOATING}?external_network_id={network}");
    let ids = a.all(&path, "floating_ips", "id").await;
    assert_eq!(ids.len(), 40);
    for id in &ids[..10] {
        a.delete(&format!("{FLOATING}/{id}")).await.data();
    }
    for _ in 0..10 {
        b.floating(&network).await.data();
    }
    let full = b.floating(&network).await;
    assert_eq!(full.error().1, "ADDRESSES_EXHAUSTED");
    assert_eq!(assert_consistent(&endpoint).await.len(), 41);
    one.stop().await;
    two.stop().await;
    chainfire.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_address_one_has_it() {
    let house = House::dev().await;
    let second = over(config(&house.chainfire.endpoint())).await;
    let (a, b) = (&house.operator, &Caller::of(&second));
    let network = a.outside("192.0.2.0/24").await;
    let mut asking = JoinSet::new();
    for n in 0..20 {
        let caller = if n % 2 == 0 { a.clone() } else { b.clone() };
        let mut wanted = body(&network);
        wanted["address"] = json!("192.0.2.50");
        asking.spawn(async move { caller.post(FLOATING, wanted).await });
    }
    let answers = asking.join_all().await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 1);
    for refused in refused {
        assert_eq!(refused.error(), (409, "ADDRESS_IN_USE", "address"));
        // Whose it is, is nothing to tell.
        let details = json!({ "field": "address", "address": "192.0.2.50" });
        assert_eq!(refused.details(), &details);
    }
    assert_consistent(&house.chainfire.endpoint()).await;
    // Who asks for none gets another one.
    for _ in 0..60 {
        assert_ne!(a.floating(&network).await.text("address"), "192.0.2.50");
    }
    second.stop().await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_port_of_its_project_has_one() {
    let house = House::dev().await;
    let operator = &house.operator;
    let network = operator.outside("192.0.2.0/24").await;
    let vpc = operator.vpc_of("other", "lab", "10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await.id();
    let floating = operator.floating(&network).await.id();
    for port in [
        port.as_str(),
        "port-019ac8e5-3c00-7001-8c00-000000000003",
        "eth0",
        &floating,
        &"x".repeat(9_999),
    ] {
        let refused = give(operator, &floating, port).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", "port_id"), "{port}");
        let mut new = body(&network);
        new["port_id"] = json!(port);
        let refused = operator.post(FLOATING, new).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", "port_id"), "{port}");
    }
    assert_eq!(
        operator.all(FLOATING, "floating_ips", "id").await,
        [floating]
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_paged() {
    let house = House::dev().await;
    let operator = &house.operator;
    let network = operator.outside("192.0.2.0/24").await;
    let other = operator.outside("192.0.3.0/24").await;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await.id();
    let mut of_shop = Vec::new();
    for _ in 0..5 {
        of_shop.push(operator.floating(&network).await.id());
    }
    let mut new = body(&other);
    new["org_id"] = json!("other");
    new["project_id"] = json!("lab");
    let lab = operator.post(FLOATING, new).await.id();
    give(operator, &of_shop[3], port.clone()).await.data();
    let none: &[String] = &[];
    for (query, expected) in [
        ("?project_id=shop".to_owned(), &of_shop[..]),
        ("?org_id=acme&project_id=lab".to_owned(), none),
        ("?org_id=other".to_owned(), std::slice::from_ref(&lab)),
        (format!("?external_network_id={network}"), &of_shop[..]),
        (
            format!("?external_network_id={other}"),
            std::slice::from_ref(&lab),
        ),
        ("?external_network_id=nothing".to_owned(), none),
        (format!("?port_id={port}"), &of_shop[3..4]),
        (format!("?port_id={port}&project_id=lab"), none),
        (format!("?port_id={lab}"), none),
        (
            "?port_id=port-019ac8e5-3c00-7001-8c00-000000000003".to_owned(),
            none,
        ),
        ("?address=192.0.2.3".to_owned(), &of_shop[1..2]),
        ("?address=192.0.2.200".to_owned(), none),
        (
            format!("?address=192.0.2.3&external_network_id={other}"),
            none,
        ),
    ] {
        let path = format!("{FLOATING}{query}");
        let found = operator.all(&path, "floating_ips", "id").await;
        assert_eq!(found, expected, "{query}");
    }
    let rows = operator.get(&format!("{FLOATING}?port_id={port}")).await;
    assert_eq!(rows.data()["floating_ips"][0]["fixed_ip"], "10.0.1.2");
    let page = operator
        .get(&format!("{FLOATING}?project_id=shop&limit=3"))
        .await;
    assert_eq!(page.data()["floating_ips"].as_array().unwrap().len(), 3);
    let token = page.text("next_page_token");
    let rest = operator
        .get(&format!(
            "{FLOATING}?project_id=shop&limit=3&page_token={token}"
        ))
        .await;
    let rest = rest.data();
    assert_eq!(rest["floating_ips"].as_array().unwrap().len(), 2);
    assert_eq!(rest["next_page_token"], json!(null));
    house.stop().await;
}
