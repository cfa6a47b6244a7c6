//! No address twice: with several processes, concurrently, and after crashes.

use std::collections::{BTreeMap, BTreeSet};

use photon_testkit::{Seed, in_process_chainfire};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::house::{Caller, House, config, over, snapshot};

const PORTS: &str = "/api/v1/ports";

/// What the store has of ports and of claims: each claim is a port's, each port has its claims, no two the same.
pub(crate) async fn assert_consistent(endpoint: &str) -> BTreeMap<String, String> {
    let stored = snapshot(endpoint).await;
    let mut addresses = BTreeMap::new();
    let mut macs = BTreeSet::new();
    let mut claims = BTreeSet::new();
    let below = |prefix: &'static str| {
        stored
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix))
    };
    for (key, value) in below("/photon/prismnet/public/port/") {
        let port: Value = serde_json::from_str(value).unwrap();
        let text = |name: &str| port[name].as_str().unwrap().to_owned();
        let place = format!("{} {}", text("subnet"), text("ip_address"));
        let other = addresses.insert(place.clone(), text("id"));
        assert_eq!(other, None, "{place} twice");
        let mac = format!("{} {}", text("vpc"), text("mac_address"));
        assert!(macs.insert(mac.clone()), "{mac} twice");
        let address: std::net::Ipv4Addr = text("ip_address").parse().unwrap();
        claims.insert((
            format!(
                "/photon/prismnet/address/{}/{:08x}",
                text("subnet"),
                address.to_bits()
            ),
            key.clone(),
        ));
    }
    let found = below("/photon/prismnet/address/");
    let found: BTreeSet<_> = found
        .map(|(key, leads_to)| (key.clone(), leads_to.clone()))
        .collect();
    assert_eq!(found, claims);
    addresses
}

/// Two processes over one store, a hundred requests at each, in a subnet that is just large enough.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_fill_a_subnet_without_a_double() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let (one, two) = (over(config(&endpoint)).await, over(config(&endpoint)).await);
    let (a, b) = (Caller::of(&one), Caller::of(&two));
    let vpc = a.vpc("10.0.0.0/16").await;
    let subnet = a.subnet(&vpc, "10.0.1.0/25").await;
    let mut asking = JoinSet::new();
    for n in 0..160 {
        let caller = if n % 2 == 0 { a.clone() } else { b.clone() };
        let subnet = subnet.clone();
        asking.spawn(async move { caller.port(&subnet).await });
    }
    let (mut made, mut full) = (BTreeSet::new(), 0);
    for answer in asking.join_all().await {
        match answer.status {
            201 => assert!(made.insert(answer.text("ip_address"))),
            _ => {
                assert_eq!(
                    (answer.status, answer.error().1),
                    (409, "ADDRESSES_EXHAUSTED")
                );
                full += 1;
            }
        }
    }
    // All 125 there are, and not one more.
    assert_eq!((made.len(), full), (125, 35));
    assert_eq!(assert_consistent(&endpoint).await.len(), 125);
    // What one process frees, the other finds.
    let ports = a.all(PORTS, "ports", "id").await;
    for port in &ports[..10] {
        a.delete(&format!("{PORTS}/{port}")).await.data();
    }
    for _ in 0..10 {
        b.port(&subnet).await.data();
    }
    assert_eq!(b.port(&subnet).await.error().1, "ADDRESSES_EXHAUSTED");
    assert_eq!(assert_consistent(&endpoint).await.len(), 125);
    one.stop().await;
    two.stop().await;
    chainfire.stop().await;
}

/// Many ask for the same address: one has it.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_one_address_one_has_it() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let (one, two) = (over(config(&endpoint)).await, over(config(&endpoint)).await);
    let (a, b) = (Caller::of(&one), Caller::of(&two));
    let vpc = a.vpc("10.0.0.0/16").await;
    let subnet = a.subnet(&vpc, "10.0.1.0/24").await;
    for member in ["ip_address", "mac_address"] {
        let value = if member == "ip_address" {
            "10.0.1.50"
        } else {
            "52:54:00:00:00:50"
        };
        let mut asking = JoinSet::new();
        for n in 0..20 {
            let caller = if n % 2 == 0 { a.clone() } else { b.clone() };
            let body = json!({ "subnet_id": subnet, member: value });
            asking.spawn(async move { caller.post(PORTS, body).await });
        }
        let answers = asking.join_all().await;
        let winner: Vec<_> = answers.iter().filter(|one| one.status == 201).collect();
        assert_eq!(winner.len(), 1, "{member}");
        for loser in answers.iter().filter(|one| one.status != 201) {
            let (status, code, field) = loser.error();
            assert_eq!((status, field), (409, member));
            assert!(["ADDRESS_IN_USE", "MAC_IN_USE"].contains(&code));
            assert_eq!(loser.details()["port_id"], winner[0].data()["id"]);
        }
    }
    assert_consistent(&endpoint).await;
    one.stop().await;
    two.stop().await;
    chainfire.stop().await;
}

/// Requests that nobody waits for any more, and a store that goes away in the middle of them: every address is one port's or
/// nobody's, and whatever was answered is there. (That of processes that are killed is in `process`.)
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_twice_or_lost_when_requests_are_cut_off() {
    let seed = Seed::for_test("nothing_is_twice_or_lost_when_requests_are_cut_off");
    let mut random = seed.rng(0);
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let first = over(config(&endpoint)).await;
    let vpc = Caller::of(&first).vpc("10.0.0.0/16").await;
    let subnet = Caller::of(&first).subnet(&vpc, "10.0.1.0/26").await;
    first.stop().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let running = over(config(&endpoint)).await;
        let caller = Caller::of(&running);
        let mut asking = JoinSet::new();
        for _ in 0..12 {
            let (caller, subnet) = (caller.clone(), subnet.clone());
            asking.spawn(async move {
                let body = json!({ "subnet_id": subnet });
                let asked = caller.call(reqwest::Method::POST, PORTS, Some(body), None);
                // A connection that ends is no answer.
                asked.await.ok().filter(|answer| answer.status == 201)
            });
        }
        for _ in 0..random.random_range(0..8) {
            if let Some(Ok(Some(answer))) = asking.join_next().await {
                acknowledged.insert(answer.id());
            }
        }
        // Nobody waits for the rest any more, or the store goes away under it.
        if round % 2 == 0 {
            asking.abort_all();
        } else {
            Box::pin(chainfire.start()).await.unwrap();
        }
        while let Some(answered) = asking.join_next().await {
            if let Ok(Some(answer)) = answered {
                acknowledged.insert(answer.id());
            }
        }
        running.stop().await;
        let held = assert_consistent(&endpoint).await;
        let ids: BTreeSet<String> = held.into_values().collect();
        assert!(acknowledged.is_subset(&ids));
    }
    // Whatever happened: every address there is can be had, once.
    let running = over(config(&endpoint)).await;
    let caller = Caller::of(&running);
    let before = assert_consistent(&endpoint).await.len();
    for _ in before..61 {
        caller.port(&subnet).await.data();
    }
    assert_eq!(caller.port(&subnet).await.error().1, "ADDRESSES_EXHAUSTED");
    assert_eq!(assert_consistent(&endpoint).await.len(), 61);
    running.stop().await;
    chainfire.stop().await;
}

/// A port never comes up in a subnet that is deleted, and a subnet with a port is not deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_subnet_is_not_deleted_under_a_port() {
    let house = House::dev().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    for _ in 0..15 {
        let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
        let path = format!("/api/v1/subnets/{subnet}");
        // What this process remembers of the subnet must not help against that it is gone.
        let warm = operator.port(&subnet).await.id();
        operator.delete(&format!("{PORTS}/{warm}")).await.data();
        let (made, deleted) = tokio::join!(operator.port(&subnet), operator.delete(&path));
        let there = operator.get(&path).await.status;
        match (made.status, deleted.status) {
            (201, 409) => {
                assert_eq!(there, 200);
                operator
                    .delete(&format!("{PORTS}/{}", made.id()))
                    .await
                    .data();
                operator.delete(&path).await.data();
            }
            (404, 200) => assert_eq!(there, 404),
            _ => panic!("{made:?} {deleted:?}"),
        }
    }
    house.stop().await;
}
