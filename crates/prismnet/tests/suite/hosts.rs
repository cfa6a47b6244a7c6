//! What hosts report: how ports are, and where hosts are reached. The agent is played by the test, in the store.

use photon_core::Name;
use photon_store::{Record, Store};
use photon_testkit::poll::eventually;
use prismnet_model::{
    Alive, Host, ObservedAgent, ObservedPort, PortId, PortState,
    observed::{agent_key, alive_key, port_key},
};
use serde_json::{Value, json};

use crate::house::{Caller, House, PATIENCE, config, keys_below, over, store_at};

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Writes a record over whatever stands there, as an agent does below its own prefix.
pub(crate) async fn report<T: Record>(store: &Store, key: &str, value: &T) {
    let mut form = serde_json::to_value(value).unwrap();
    form["v"] = json!(1);
    let mut transaction = store.transaction();
    transaction
        .put_raw(&format!("{}{key}", T::ROOT), form.to_string(), 0)
        .unwrap();
    transaction.commit().await.unwrap();
}

async fn silence(store: &Store, host: &str) {
    let mut transaction = store.transaction();
    let key = format!("{}{}", Alive::ROOT, alive_key(&name(host)));
    transaction.delete_raw(&key).unwrap();
    transaction.commit().await.unwrap();
}

async fn is(caller: &Caller, port: &str, status: &str) -> Value {
    eventually(&format!("the port is {status}"), PATIENCE, || async {
        let shown = caller.get(&format!("/api/v1/ports/{port}")).await;
        let data = shown.data().clone();
        (data["status"] == status).then_some(data)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_as_its_host_reports() {
    let house = House::dev().await;
    let operator = &house.operator;
    let store = house.store().await;
    let vpc = operator.vpc("10.0.0.0/16").await;
    let subnet = operator.subnet(&vpc, "10.0.1.0/24").await;
    let body = json!({ "subnet_id": subnet, "host_id": "h1" });
    let made = operator.post("/api/v1/ports", body).await;
    let port = made.id();
    let id: PortId = port.parse().unwrap();
    assert_eq!(made.data()["status"], "building");
    let now = "2026-11-23T02:00:00Z".parse().unwrap();
    report(&store, &alive_key(&name("h1")), &Alive { since: now }).await;
    let observed = |revision: &Value, state, reason: &str| ObservedPort {
        revision: revision.as_i64().unwrap(),
        state,
        reason: reason.to_owned(),
        at: now,
    };
    let key = port_key(&name("h1"), id);
    let first = observed(&made.data()["revision"], PortState::Active, "");
    report(&store, &key, &first).await;
    let shown = is(operator, &port, "active").await;
    assert_eq!(
        (&shown["status_reason"], &shown["status_since"]),
        (&json!(null), &json!("2026-11-23T02:00:00Z"))
    );
    // Something else is wanted of it than was reported.
    let changed = operator
        .patch(
            &format!("/api/v1/ports/{port}"),
            json!({ "security_group_ids": [] }),
        )
        .await;
    assert_eq!(changed.data()["status"], "building");
    let failed = observed(&changed.data()["revision"], PortState::Error, "no room");
    report(&store, &key, &failed).await;
    assert_eq!(
        is(operator, &port, "error").await["status_reason"],
        "no room"
    );
    // A host that goes takes nothing along: what it reported stays, and is not believed.
    silence(&store, "h1").await;
    let shown = is(operator, &port, "unknown").await;
    assert!(shown["status_since"].is_string() && shown["status_reason"].is_string());
    report(&store, &alive_key(&name("h1")), &Alive { since: now }).await;
    is(operator, &port, "error").await;
    // Another process knows the same.
    let second = over(config(&house.chainfire.endpoint())).await;
    is(&Caller::of(&second), &port, "error").await;
    second.stop().await;
    // What another host says of it is not asked.
    let stranger = observed(&changed.data()["revision"], PortState::Active, "");
    report(&store, &port_key(&name("h2"), id), &stranger).await;
    report(&store, &alive_key(&name("h2")), &Alive { since: now }).await;
    let listed = operator.get("/api/v1/ports?host_id=h1").await;
    assert_eq!(listed.data()["ports"][0]["status"], "error");
    let off = operator
        .patch(&format!("/api/v1/ports/{port}"), json!({ "host_id": "" }))
        .await;
    assert_eq!(off.data()["status"], "down");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_told_to_the_others_where_the_hosts_live() {
    let mut chainfire = Box::pin(photon_testkit::in_process_chainfire())
        .await
        .unwrap();
    let endpoint = chainfire.endpoint();
    let mut config = config(&endpoint);
    config.network.underlay = vec!["192.0.2.0/24".parse().unwrap()];
    let running = over(config).await;
    let store = store_at(&endpoint).await;
    let agent = |vtep: &str| ObservedAgent {
        addresses: std::collections::BTreeSet::new(),
        version: "0".to_owned(),
        vtep: Some(vtep.parse().unwrap()),
        mtu: 1_450,
        mode: "bridge-ct".to_owned(),
        problems: Vec::new(),
        orphans: Vec::new(),
        adopted: Vec::new(),
        floating_orphans: Vec::new(),
        orders_done: None,
    };
    let told = async |host: &str| {
        let hosts = store.collection::<Host>();
        let found = hosts.get(host).await.unwrap();
        found.map(|found| found.value.vtep.to_string())
    };
    // Lies, and an address that somebody has, are told to nobody; in this order, so that the last one shows that they were looked at.
    for (host, vtep) in [
        ("h1", "192.0.2.1"),
        ("liar", "10.0.0.1"),
        ("thief", "192.0.2.1"),
        ("h2", "192.0.2.2"),
    ] {
        report(&store, &agent_key(&name(host)), &agent(vtep)).await;
    }
    eventually("h2 is told to the others", PATIENCE, || async {
        told("h2").await
    })
    .await
    .unwrap();
    let keys = keys_below(&store, Host::ROOT).await;
    assert_eq!(
        keys,
        ["h1", "h2"].map(|host| format!("{}{host}", Host::ROOT))
    );
    assert_eq!(told("h1").await.as_deref(), Some("192.0.2.1"));
    // A host that moves.
    report(&store, &agent_key(&name("h1")), &agent("192.0.2.7")).await;
    eventually("h1 has moved", PATIENCE, || async {
        told("h1").await.filter(|vtep| vtep == "192.0.2.7")
    })
    .await
    .unwrap();
    running.stop().await;
    chainfire.stop().await;
}
