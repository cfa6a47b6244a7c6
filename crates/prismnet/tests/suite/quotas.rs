//! Quotas, with a real CreditService.

use std::collections::BTreeMap;

use photon_testkit::{InProcessChainfire, in_process_chainfire, poll::eventually};
use prismnet::Running;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::house::{Caller, PATIENCE, config, keys_below, over, store_at};

/// A PrismNET that asks a CreditService, over one store.
struct Limited {
    chainfire: InProcessChainfire,
    running: Running,
    operator: Caller,
    credit: Option<creditservice::Running>,
    at_credit: Caller,
    credit_grpc: std::net::SocketAddr,
}

async fn credit_at(store: &str, grpc: TcpListener) -> creditservice::Running {
    let mut config = creditservice::Config::default();
    config.store.endpoints = vec![store.to_owned()];
    config.rest.address.set_port(0);
    let sockets = creditservice::Sockets {
        rest: None,
        grpc: Some(grpc),
    };
    let running = Box::pin(creditservice::start(config, sockets))
        .await
        .unwrap();
    let base = format!("http://{}", running.rest_address());
    Caller::at(&base).until_ready().await;
    running
}

impl Limited {
    async fn start() -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let endpoint = chainfire.endpoint();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let credit_grpc = socket.local_addr().unwrap();
        let credit = credit_at(&endpoint, socket).await;
        let at_credit = Caller::at(&format!("http://{}", credit.rest_address()));
        let mut config = config(&endpoint);
        config.quota.endpoint = Some(format!("http://{credit_grpc}"));
        let running = over(config).await;
        Self {
            operator: Caller::of(&running),
            running,
            chainfire,
            credit: Some(credit),
            at_credit,
            credit_grpc,
        }
    }

    async fn limit(&self, kind: &str, limit: i64) {
        let (path, body) = (
            format!("/api/v1/limits/{kind}"),
            json!({ "default": limit }),
        );
        let put = self.at_credit.call(Method::PUT, &path, Some(body), None);
        put.await.unwrap().data();
    }

    /// Units in use, by kind.
    async fn used(&self) -> BTreeMap<String, i64> {
        let all = self.at_credit.get("/api/v1/quotas?project_id=shop").await;
        let rows = all.data()["quotas"].as_array().unwrap();
        rows.iter()
            .map(|row| (row["kind"].as_str().unwrap().to_owned(), row))
            .filter(|(_, row)| row["used"] != 0 || row["reserved"] != 0)
            .map(|(kind, row)| {
                assert_eq!(row["reserved"], 0, "{row}");
                (kind, row["used"].as_i64().unwrap())
            })
            .collect()
    }

    /// Waits until CreditService was told everything, and says what it counts.
    async fn told(&self) -> BTreeMap<String, i64> {
        let store = store_at(&self.chainfire.endpoint()).await;
        eventually("CreditService was told everything", PATIENCE, || async {
            let claims = keys_below(&store, "/photon/prismnet/claim/").await;
            claims.is_empty().then_some(())
        })
        .await
        .unwrap();
        self.used().await
    }

    async fn stop(mut self) {
        self.running.stop().await;
        if let Some(credit) = self.credit.take() {
            credit.stop().await;
        }
        self.chainfire.stop().await;
    }
}

fn counts(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs
        .iter()
        .map(|(kind, count)| ((*kind).to_owned(), *count))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_counts_until_it_is_deleted() {
    let house = Limited::start().await;
    let operator = &house.operator;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await.id();
    let group = operator.group("web").await;
    let rules = format!("/api/v1/security-groups/{group}/rules");
    for direction in ["ingress", "egress"] {
        operator
            .post(&rules, json!({ "direction": direction }))
            .await
            .data();
    }
    let route = json!({ "vpc_id": vpc, "destination": "0.0.0.0/0", "next_hop": "10.0.1.9" });
    let route = operator.post("/api/v1/routes", route).await.id();
    let outside = operator.outside("192.0.2.0/30").await;
    let floating = operator.floating(&outside).await.id();
    let all = [
        ("floating_ip", 1),
        ("port", 1),
        ("route", 1),
        ("security_group", 1),
        ("security_group_rule", 2),
        ("subnet", 1),
        ("vpc", 1),
    ];
    assert_eq!(house.told().await, counts(&all));
    // What is refused by us counts nothing.
    let taken = json!({ "subnet_id": subnet, "ip_address": "10.0.1.2" });
    assert_eq!(
        operator.post("/api/v1/ports", taken).await.error().1,
        "ADDRESS_IN_USE"
    );
    assert_eq!(
        operator.floating(&outside).await.error().1,
        "ADDRESSES_EXHAUSTED"
    );
    assert_eq!(house.told().await, counts(&all));
    for path in [
        format!("floating-ips/{floating}"),
        format!("external-networks/{outside}"),
        format!("routes/{route}"),
        format!("ports/{port}"),
        format!("security-groups/{group}"),
        format!("subnets/{subnet}"),
        format!("vpcs/{vpc}"),
    ] {
        operator.delete(&format!("/api/v1/{path}")).await.data();
    }
    assert_eq!(house.told().await, counts(&[]));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_more_than_the_limit() {
    let house = Limited::start().await;
    let operator = &house.operator;
    house.limit("port", 5).await;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let mut asking = JoinSet::new();
    for _ in 0..12 {
        let (caller, subnet) = (operator.clone(), subnet.clone());
        asking.spawn(async move { caller.port(&subnet).await });
    }
    let answers = asking.join_all().await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 5);
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((refused.status, refused.error().1), (409, "QUOTA_EXCEEDED"));
        assert_eq!(refused.details()["lacking"][0]["kind"], "port");
        assert_eq!(refused.details()["lacking"][0]["limit"], 5);
    }
    assert_eq!(
        house.told().await,
        counts(&[("port", 5), ("subnet", 1), ("vpc", 1)])
    );
    let ports = operator.all("/api/v1/ports", "ports", "id").await;
    operator
        .delete(&format!("/api/v1/ports/{}", ports[0]))
        .await
        .data();
    house.told().await;
    operator.port(&subnet).await.data();
    assert_eq!(operator.port(&subnet).await.error().1, "QUOTA_EXCEEDED");
    // Addresses outside are counted the same way.
    house.limit("floating_ip", 1).await;
    let outside = operator.outside("192.0.2.0/24").await;
    let floating = operator.floating(&outside).await.id();
    let refused = operator.floating(&outside).await;
    assert_eq!((refused.status, refused.error().1), (409, "QUOTA_EXCEEDED"));
    assert_eq!(refused.details()["lacking"][0]["kind"], "floating_ip");
    operator
        .delete(&format!("/api/v1/floating-ips/{floating}"))
        .await
        .data();
    house.told().await;
    operator.floating(&outside).await.data();
    house.stop().await;
}

/// CreditService is away: what needs units is refused, what frees them is done, and told when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_is_told_later() {
    let mut house = Limited::start().await;
    let operator = house.operator.clone();
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let port = operator.port(&subnet).await.id();
    house.told().await;
    house.credit.take().unwrap().stop().await;
    let refused = operator.port(&subnet).await;
    assert_eq!((refused.status, refused.error().1), (503, "UNAVAILABLE"));
    operator
        .delete(&format!("/api/v1/ports/{port}"))
        .await
        .data();
    let store = store_at(&house.chainfire.endpoint()).await;
    // As somebody left it who died after a port was made and before CreditService was told: long ago.
    let claims = keys_below(&store, "/photon/prismnet/claim/").await;
    assert_eq!(claims, [format!("/photon/prismnet/claim/{port}")]);
    let stored = store.get_raw(&claims[0]).await.unwrap().unwrap();
    let mut claim: Value = serde_json::from_slice(&stored.value).unwrap();
    assert_eq!(
        (&claim["want"], &claim["unit"]),
        (&json!("free"), &json!("port"))
    );
    claim["at"] = json!("2026-01-01T00:00:00Z");
    let mut orphan = claim.clone();
    orphan["id"] = json!("port-x");
    orphan["want"] = json!("held");
    orphan["reservation"] = json!("rsv-x");
    let mut transaction = store.transaction();
    transaction
        .put_raw(&claims[0], claim.to_string(), 0)
        .unwrap();
    transaction
        .put_raw("/photon/prismnet/claim/port-x", orphan.to_string(), 0)
        .unwrap();
    transaction.commit().await.unwrap();

    let socket = TcpListener::bind(house.credit_grpc).await.unwrap();
    let credit = credit_at(&house.chainfire.endpoint(), socket).await;
    house.at_credit = Caller::at(&format!("http://{}", credit.rest_address()));
    house.credit = Some(credit);
    assert_eq!(
        house.told().await,
        counts(&[("port", 1), ("subnet", 1), ("vpc", 1)])
    );
    house.stop().await;
}
