//! Members that come back, go away and lose each other, as processes on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use etcd_client::Client;
use photon_testkit::{
    ChainfireProcess, ChainfireSpec,
    poll::{eventually, eventually_true},
    scratch::Scratch,
};
use serde_json::{Value, json};

use crate::local::Node;

const PATIENCE: Duration = Duration::from_secs(60);

fn spec(scratch: &Scratch, node_id: u64) -> ChainfireSpec {
    let dir = scratch.path().join(format!("node-{node_id}"));
    let binary = env!("CARGO_BIN_EXE_chainfire");
    let mut spec = ChainfireSpec::single(binary, dir).unwrap();
    spec.node_id = node_id;
    spec.join = node_id > 1;
    spec
}

/// Status and body of a request; `None` while nobody answers.
async fn ask(node: &ChainfireProcess, request: &str, body: Option<Value>) -> Option<(u16, Value)> {
    let (method, path) = request.split_once(' ').unwrap();
    let url = format!("{}{path}", node.rest_url());
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(15))
        .build()
        .unwrap();
    let mut request = client.request(method.parse().unwrap(), url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.ok()?))
}

async fn status(node: &ChainfireProcess) -> Value {
    let answer = ask(node, "GET /api/v1/cluster/status", None).await;
    answer.map_or(Value::Null, |(_, mut body)| body["data"].take())
}

/// The status once it is as wanted.
async fn until(what: &str, node: &ChainfireProcess, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, PATIENCE, || async {
        let status = status(node).await;
        wanted(&status).then_some(status)
    })
    .await
    .unwrap()
}

async fn add(through: &ChainfireProcess, node: &ChainfireProcess) -> (u16, Value) {
    let address = node.spec().grpc.to_string();
    let body = json!({"node_id": node.spec().node_id, "address": address});
    eventually(
        "an answer that is not for lack of the node",
        PATIENCE,
        || async {
            let answer = ask(through, "POST /api/v1/cluster/members", Some(body.clone())).await?;
            let text = answer.1["error"]["message"].as_str().unwrap_or_default();
            let absent = text.contains("cannot be reached") || text.contains("does not answer");
            (!absent && answer.0 != 503).then_some(answer)
        },
    )
    .await
    .unwrap()
}

/// Starts an empty node, adds it, and waits until it votes, which nobody asks for.
async fn join(scratch: &Scratch, through: &ChainfireProcess, node_id: u64) -> ChainfireProcess {
    let mut node = ChainfireProcess::launch(spec(scratch, node_id)).unwrap();
    let (code, body) = add(through, &node).await;
    assert_eq!(code, 201, "{body}");
    until("it votes", through, |status| {
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let mut members = members.iter();
        members.any(|member| member["node_id"] == node_id && member["is_learner"] == false)
            && status["membership_changing"] == false
    })
    .await;
    node.wait().await.unwrap();
    node
}

async fn put(node: &ChainfireProcess, key: &str) -> bool {
    let path = format!("POST /api/v1/kv/{key}/put");
    let answer = ask(node, &path, Some(json!({"value": "v"}))).await;
    answer.is_some_and(|(status, _)| status == 200)
}

fn log(node: &ChainfireProcess) -> String {
    std::fs::read_to_string(node.log()).unwrap_or_default()
}

async fn logs(node: &ChainfireProcess, text: &str) {
    eventually_true(&format!("the log says {text:?}"), PATIENCE, || async {
        log(node).contains(text)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_id_is_refused_and_the_removed_member_says_so() {
    let scratch = Scratch::new("members-retired").unwrap();
    let one = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut two = join(&scratch, &one, 2).await;
    let (code, body) = ask(&one, "DELETE /api/v1/cluster/members/2", None)
        .await
        .unwrap();
    assert_eq!(code, 200, "{body}");
    let seen = until("it says that it was removed", &two, |status| {
        status["role"] == "removed"
    })
    .await;
    assert_eq!(seen["is_leader"], false, "{seen}");
    let ready = eventually("not ready, and why", PATIENCE, || async {
        let (code, body) = ask(&two, "GET /readyz", None).await?;
        let reason = body["data"]["reason"].as_str()?.to_owned();
        (code == 503 && reason.contains("removed")).then_some(reason)
    });
    ready.await.unwrap();

    two.kill().unwrap();
    std::fs::remove_dir_all(two.data()).unwrap();
    two.relaunch().unwrap();
    let (code, body) = add(&one, &two).await;
    assert_eq!(
        (code, &body["error"]["details"]["field"]),
        (409, &json!("node_id")),
        "{body}"
    );
    let text = body["error"]["message"].as_str().unwrap();
    assert!(
        text.contains("node_id 2") && text.contains("never used again"),
        "{text}"
    );
    let mut etcd = Client::connect([one.endpoint()], None).await.unwrap();
    let url = format!("http://{}", two.peer_address());
    let refused = etcd.member_add([url], None).await.unwrap_err();
    assert!(refused.to_string().contains("node_id 2"), "{refused}");

    // Another id at the same place is fine.
    two.kill().unwrap();
    two.spec_mut().node_id = 3;
    two.relaunch().unwrap();
    let (code, body) = add(&one, &two).await;
    assert_eq!(code, 201, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_quorum_listens_and_shows_nothing_older() {
    let scratch = Scratch::new("members-recover").unwrap();
    let mut one = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut two = join(&scratch, &one, 2).await;
    for n in 0..20 {
        assert!(put(&one, &format!("k{n}")).await);
    }
    one.kill().unwrap();
    two.kill().unwrap();
    one.relaunch().unwrap();
    let (code, _) = eventually("it listens", PATIENCE, || ask(&one, "GET /livez", None))
        .await
        .unwrap();
    assert_eq!(code, 200);
    let (code, body) = ask(&one, "GET /readyz", None).await.unwrap();
    let reason = body["data"]["reason"].as_str().unwrap_or_default();
    assert!(
        code == 503 && reason.contains("before the start"),
        "{code} {body}"
    );
    let seen = status(&one).await;
    assert_eq!(
        (&seen["is_leader"], &seen["leader_id"]),
        (&json!(false), &Value::Null),
        "{seen}"
    );
    for path in ["GET /api/v1/kv/k19?consistency=stale", "GET /api/v1/kv/k19"] {
        let (code, body) = ask(&one, path, None).await.unwrap();
        assert_eq!(
            (code, &body["error"]["code"]),
            (503, &json!("NO_QUORUM")),
            "{path} {body}"
        );
    }
    assert!(!put(&one, "x").await);

    two.relaunch().unwrap();
    one.wait().await.unwrap();
    let (code, body) = ask(&one, "GET /api/v1/kv/k19?consistency=stale", None)
        .await
        .unwrap();
    assert_eq!((code, &body["data"]["value"]), (200, &json!("v")), "{body}");
    eventually_true("it is ready", PATIENCE, || async {
        ask(&one, "GET /readyz", None)
            .await
            .is_some_and(|(code, _)| code == 200)
    })
    .await
    .unwrap();
    // Once recovered, what it has is shown without a quorum too.
    two.kill().unwrap();
    let (code, _) = ask(&one, "GET /api/v1/kv/k19?consistency=stale", None)
        .await
        .unwrap();
    assert_eq!(code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_quorum_does_not_claim_to_lead() {
    let scratch = Scratch::new("members-lead").unwrap();
    let mut one = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut two = join(&scratch, &one, 2).await;
    until("node 1 leads", &one, |status| status["is_leader"] == true).await;
    let seen = until("node 2 knows", &two, |status| status["leader_id"] == 1).await;
    assert_eq!(seen["is_leader"], false);
    two.kill().unwrap();
    let seen = until("it leads nobody", &one, |status| {
        status["is_leader"] == false
    })
    .await;
    assert_eq!(
        (&seen["role"], &seen["leader_id"]),
        (&json!("follower"), &Value::Null),
        "{seen}"
    );
    let leads = seen["members"].as_array().unwrap().iter();
    assert!(
        leads.into_iter().all(|member| member["is_leader"] == false),
        "{seen}"
    );
    let mut etcd = Client::connect([one.endpoint()], None).await.unwrap();
    let answer = etcd.status().await.unwrap();
    assert_eq!(answer.leader(), 0);
    let (code, _) = ask(&one, "GET /readyz", None).await.unwrap();
    assert_eq!(code, 503);
    let metrics = scrape(&one.rest_url()).await;
    assert_eq!(
        figure(&metrics, "etcd_server_is_leader"),
        Some(0),
        "{metrics}"
    );
    assert_eq!(figure(&metrics, "etcd_server_has_leader"), Some(0));

    // Nobody is left to take over: stopping it tries nothing.
    let stopped = one.process().unwrap().terminate(PATIENCE).await.unwrap();
    assert!(stopped.success());
    assert!(!log(&one).contains("hand leadership over"), "{}", log(&one));

    one.relaunch().unwrap();
    two.relaunch().unwrap();
    one.wait().await.unwrap();
    let leader = until("somebody leads", &one, |status| {
        status["leader_id"].is_u64()
    })
    .await;
    let metrics = scrape(&one.endpoint()).await;
    assert_eq!(
        figure(&metrics, "etcd_server_has_leader"),
        Some(1),
        "{leader} {metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_hands_over_to_one_that_answers() {
    let scratch = Scratch::new("members-stop").unwrap();
    let mut one = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut two = join(&scratch, &one, 2).await;
    let three = join(&scratch, &one, 3).await;
    until("node 1 leads", &one, |status| status["is_leader"] == true).await;
    // The first by id is dead.
    two.kill().unwrap();
    for n in 0..10 {
        assert!(put(&one, &format!("k{n}")).await);
    }
    // Longer silent than a voter may be that is handed anything.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopped = one.process().unwrap().terminate(PATIENCE).await.unwrap();
    assert!(stopped.success());
    let said = log(&one);
    assert!(said.contains("leadership handed over"), "{said}");
    assert!(!said.contains("could not hand"), "{said}");
    two.relaunch().unwrap();
    eventually_true("the others serve", PATIENCE, || put(&three, "after"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_different_clusters_refuse_each_other() {
    let scratch = Scratch::new("members-strangers").unwrap();
    let mut one = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut two = join(&scratch, &one, 2).await;
    assert!(put(&one, "before").await);
    one.kill().unwrap();
    two.kill().unwrap();
    let recovered = tokio::process::Command::new(env!("CARGO_BIN_EXE_chainfire"))
        .args(["recover", "--force-new-cluster", "--yes", "--data-dir"])
        .arg(two.data())
        .output()
        .await
        .unwrap();
    assert!(recovered.status.success(), "{recovered:?}");
    two.restart().await.unwrap();
    let revision = until("the survivor leads", &two, |status| {
        status["is_leader"] == true
    })
    .await;

    // The dropped one has its data and calls the survivor by its old id.
    one.relaunch().unwrap();
    logs(&two, "refused a call from a node of another cluster").await;
    logs(&one, "a peer belongs to another cluster").await;
    assert!(put(&two, "after").await);
    let seen = status(&two).await;
    assert_eq!(
        seen["term"], revision["term"],
        "nothing it said was heard: {seen}"
    );
    assert_eq!(status(&one).await["leader_id"], Value::Null);

    // Emptied it is still refused under its old id, and taken under another.
    one.kill().unwrap();
    std::fs::remove_dir_all(one.data()).unwrap();
    one.spec_mut().join = true;
    one.relaunch().unwrap();
    let (code, body) = add(&two, &one).await;
    assert_eq!(
        (code, &body["error"]["details"]["field"]),
        (409, &json!("node_id")),
        "{body}"
    );
    one.kill().unwrap();
    std::fs::remove_dir_all(one.data()).unwrap();
    one.spec_mut().node_id = 4;
    one.relaunch().unwrap();
    let (code, body) = add(&two, &one).await;
    assert_eq!(code, 201, "{body}");
    one.wait().await.unwrap();
}

async fn scrape(url: &str) -> String {
    let response = reqwest::get(format!("{url}/metrics")).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    response.text().await.unwrap()
}

/// A figure without labels.
fn figure(metrics: &str, name: &str) -> Option<i64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_tell_etcds_metrics() {
    let scratch = Scratch::new("members-metrics").unwrap();
    let one = ChainfireProcess::start(spec(&scratch, 1)).await.unwrap();
    let mut etcd = Client::connect([one.endpoint()], None).await.unwrap();
    for n in 0..5 {
        etcd.put(format!("k{n}"), "v", None).await.unwrap();
    }
    etcd.delete("k0", None).await.unwrap();
    let lease = etcd.lease_grant(60, None).await.unwrap().id();
    etcd.lease_grant(60, None).await.unwrap();
    etcd.lease_revoke(lease).await.unwrap();
    let _watch = etcd.watch("k", None).await.unwrap();
    let revision = etcd
        .get("k1", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    for url in [one.rest_url(), one.endpoint()] {
        let metrics = scrape(&url).await;
        for (name, value) in [
            ("etcd_server_has_leader", 1),
            ("etcd_server_is_leader", 1),
            ("etcd_server_is_learner", 0),
            ("etcd_server_proposals_pending", 0),
            ("etcd_server_proposals_failed_total", 0),
            ("etcd_server_quota_backend_bytes", 64 << 30),
            ("etcd_debugging_mvcc_current_revision", revision),
            ("etcd_debugging_mvcc_compact_revision", -1),
            ("etcd_debugging_mvcc_keys_total", 4),
            ("etcd_debugging_mvcc_watch_stream_total", 1),
            ("etcd_debugging_mvcc_watcher_total", 1),
            ("etcd_debugging_lease_granted_total", 2),
            ("etcd_debugging_lease_revoked_total", 1),
            ("photon_chainfire_leases", 1),
            ("photon_chainfire_members", 1),
            ("photon_chainfire_recovered", 1),
            ("photon_chainfire_membership_changing", 0),
        ] {
            assert_eq!(figure(&metrics, name), Some(value), "{name} in {metrics}");
        }
        for name in [
            "etcd_server_leader_changes_seen_total",
            "etcd_server_proposals_committed_total",
            "etcd_server_proposals_applied_total",
            "etcd_disk_wal_fsync_duration_seconds_count",
            "etcd_mvcc_db_total_size_in_bytes",
            "photon_chainfire_raft_term",
        ] {
            let value = figure(&metrics, name);
            assert!(value.is_some_and(|value| value > 0), "{name} in {metrics}");
        }
        assert!(figure(&metrics, "etcd_mvcc_db_total_size_in_use_in_bytes").is_some());
    }
}

/// A member that has learned of its leader's removal names no leader until there is another.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_names_a_leader_that_was_removed() {
    let nodes = Node::cluster(3).await;
    let at = nodes.iter().position(Node::leads).unwrap();
    let (old, follower) = (at as u64 + 1, &nodes[(at + 1) % nodes.len()]);
    let mut client = follower.client().await;
    let removal = tokio::spawn(async move {
        let remove = chainfire_client::MemberRemoveRequest { node_id: old };
        client.member_remove(remove).await
    });
    let url = format!("http://{}/api/v1/cluster/status", follower.rest());
    eventually("another leads", PATIENCE, || async {
        let status: Value = reqwest::get(&url).await.ok()?.json().await.ok()?;
        let members = status["data"]["members"].as_array()?.iter();
        let leader = status["data"]["leader_id"].as_u64();
        if members.into_iter().any(|member| member["node_id"] == old) {
            return None;
        }
        assert_ne!(leader, Some(old), "{status}");
        leader
    })
    .await
    .unwrap();
    removal.await.unwrap().unwrap();
    for node in nodes {
        node.stop().await;
    }
}
