//! etcd's lock and election services: through the `etcd-client` crate and through `etcdctl`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use etcd_client::{
    CampaignResponse, Client, GetOptions, LeaderKey, LockOptions, ProclaimOptions, ResignOptions,
};
use photon_testkit::poll::eventually_true;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::local::{Node, PATIENCE};

async fn client(node: &Node) -> Client {
    Client::connect([node.grpc()], None).await.unwrap()
}

async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {PATIENCE:?}: {what}"),
    }
}

async fn lease(client: &mut Client, ttl: i64) -> i64 {
    client.lease_grant(ttl, None).await.unwrap().id()
}

fn with(lease: i64) -> Option<LockOptions> {
    Some(LockOptions::new().with_lease(lease))
}

/// The keys under a prefix.
async fn keys(client: &Client, prefix: &str) -> Vec<String> {
    let options = GetOptions::new().with_prefix().with_keys_only();
    let found = client.kv_client().get(prefix, Some(options)).await.unwrap();
    let keys = found.kvs().iter();
    keys.map(|kv| kv.key_str().unwrap().to_owned()).collect()
}

async fn until_keys(client: &Client, prefix: &str, count: usize) {
    eventually_true(
        &format!("{count} keys under {prefix}"),
        PATIENCE,
        || async { keys(client, prefix).await.len() == count },
    )
    .await
    .unwrap();
}

fn text(error: &etcd_client::Error) -> (tonic::Code, String) {
    match error {
        etcd_client::Error::GRpcStatus(status) => (status.code(), status.message().to_owned()),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holds_a_lock_whichever_member_it_asks() {
    let nodes = Node::cluster(3).await;
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..6 {
        let mut client = client(&nodes[worker % 3]).await;
        let inside = Arc::clone(&inside);
        tasks.spawn(async move {
            let lease = lease(&mut client, 600).await;
            for _ in 0..4 {
                let lock = soon("the lock", client.lock("mutex", with(lease)))
                    .await
                    .unwrap();
                assert_eq!(lock.key(), format!("mutex/{lease:x}").as_bytes());
                assert_eq!(
                    inside.fetch_add(1, Ordering::SeqCst),
                    0,
                    "somebody else is inside"
                );
                client.put("under the lock", "", None).await.unwrap();
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1, "somebody came in");
                client.unlock(lock.key()).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    futures::future::join_all(nodes.into_iter().map(Node::stop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_in_line_has_the_lock_when_a_lease_ends() {
    let node = Node::alone().await;
    let mut client = client(&node).await;
    let (first, second) = (lease(&mut client, 600).await, lease(&mut client, 600).await);
    client.lock("l", with(first)).await.unwrap();
    // Locking twice with one lease is locking once.
    soon("the same lock", client.lock("l", with(first)))
        .await
        .unwrap();
    let waiting = {
        let mut client = client.lock_client();
        tokio::spawn(async move { client.lock("l", with(second)).await })
    };
    until_keys(&client, "l/", 2).await;
    assert!(!waiting.is_finished());
    client.lease_revoke(first).await.unwrap();
    let lock = soon("the lock", waiting).await.unwrap().unwrap();
    assert_eq!(lock.key(), format!("l/{second:x}").as_bytes());
    assert_eq!(keys(&client, "l/").await, [format!("l/{second:x}")]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_leaves_the_line() {
    let node = Node::alone().await;
    let mut client = client(&node).await;
    let (first, second, third) = (
        lease(&mut client, 600).await,
        lease(&mut client, 600).await,
        lease(&mut client, 600).await,
    );
    let held = client.lock("l", with(first)).await.unwrap();
    let wait = |lease| {
        let mut client = client.lock_client();
        tokio::spawn(async move { client.lock("l", with(lease)).await })
    };
    let impatient = wait(second);
    until_keys(&client, "l/", 2).await;
    let patient = wait(third);
    until_keys(&client, "l/", 3).await;
    impatient.abort();
    until_keys(&client, "l/", 2).await;
    assert!(!keys(&client, "l/").await.contains(&format!("l/{second:x}")));
    assert!(!patient.is_finished(), "the first still holds the lock");
    client.unlock(held.key()).await.unwrap();
    soon("the lock", patient).await.unwrap().unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_lease_while_waiting_is_told() {
    let node = Node::alone().await;
    let mut client = client(&node).await;
    let (first, second) = (lease(&mut client, 600).await, lease(&mut client, 600).await);
    client.lock("l", with(first)).await.unwrap();
    let waiting = {
        let mut client = client.lock_client();
        tokio::spawn(async move { client.lock("l", with(second)).await })
    };
    until_keys(&client, "l/", 2).await;
    client.lease_revoke(second).await.unwrap();
    let refused = soon("the refusal", waiting).await.unwrap().unwrap_err();
    let expected = (tonic::Code::Unknown, "mutex: session is expired".to_owned());
    assert_eq!(text(&refused), expected);
    let missing = client.lock("l", with(4711)).await.unwrap_err();
    assert_eq!(text(&missing).1, "etcdserver: requested lease not found");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_lock_does_not_hold_up_the_end_of_the_node() {
    let node = Node::alone().await;
    let mut client = client(&node).await;
    let (first, second) = (lease(&mut client, 600).await, lease(&mut client, 600).await);
    client.lock("l", with(first)).await.unwrap();
    let waiting = {
        let mut client = client.lock_client();
        tokio::spawn(async move { client.lock("l", with(second)).await })
    };
    until_keys(&client, "l/", 2).await;
    soon("the stop", node.stop()).await;
    assert!(soon("the end of the wait", waiting).await.unwrap().is_err());
}

fn leader(campaign: &CampaignResponse) -> LeaderKey {
    campaign.leader().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn elections() {
    let node = Node::alone().await;
    let mut client = client(&node).await;
    let (first, second) = (lease(&mut client, 600).await, lease(&mut client, 600).await);
    let nobody = client.leader("e").await.unwrap_err();
    let expected = (tonic::Code::Unknown, "election: no leader".to_owned());
    assert_eq!(text(&nobody), expected);

    let mut observed = client.observe("e").await.unwrap();
    let one = leader(&client.campaign("e", "one", first).await.unwrap());
    assert_eq!((one.name(), one.lease()), (&b"e"[..], first));
    assert_eq!(one.key(), format!("e/{first:x}").as_bytes());
    let answer = soon("a proclamation", observed.message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.kv().unwrap().value(), b"one");
    let waiting = {
        let mut client = client.election_client();
        tokio::spawn(async move { client.campaign("e", "two", second).await })
    };
    until_keys(&client, "e/", 2).await;
    let current = client.leader("e").await.unwrap();
    let kv = current.kv().unwrap();
    assert_eq!((kv.value(), kv.create_revision()), (&b"one"[..], one.rev()));

    let again = Some(ProclaimOptions::new().with_leader(one.clone()));
    client.proclaim("still one", again.clone()).await.unwrap();
    // Who campaigns again with the same lease leads already, and has something new to say.
    let same = leader(&client.campaign("e", "one again", first).await.unwrap());
    assert_eq!(same.rev(), one.rev());
    assert!(!waiting.is_finished());
    let resign = Some(ResignOptions::new().with_leader(one.clone()));
    client.resign(resign.clone()).await.unwrap();
    let two = leader(&soon("the turn", waiting).await.unwrap().unwrap());
    assert_eq!(two.lease(), second);

    let refused = client.proclaim("too late", again).await.unwrap_err();
    let expected = (tonic::Code::Unknown, "election: not leader".to_owned());
    assert_eq!(text(&refused), expected);
    client.resign(resign).await.unwrap();
    let refused = client.proclaim("nobody", None).await.unwrap_err();
    assert_eq!(text(&refused).1, "\"leader\" field must be provided");

    let mut heard = Vec::new();
    while heard.last().map(String::as_str) != Some("two") {
        let answer = soon("a proclamation", observed.message())
            .await
            .unwrap()
            .unwrap();
        heard.push(answer.kv().unwrap().value_str().unwrap().to_owned());
    }
    assert_eq!(heard, ["still one", "one again", "two"]);
    node.stop().await;
}

/// etcdctl, and what it prints.
fn etcdctl(node: &Node, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &node.grpc()])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    soon("a line", lines.next_line()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_locks_and_elects() {
    let node = Node::alone().await;
    let client = client(&node).await;
    // It holds the lock until it is killed; the lease it leaves behind has to be ended for it.
    let (mut holder, mut printed) = etcdctl(&node, &["lock", "ctl"]);
    let key = line(&mut printed).await;
    assert!(key.starts_with("ctl/"), "{key}");
    let waiting = {
        let mut client = client.lock_client();
        tokio::spawn(async move { client.lock("ctl", None).await })
    };
    until_keys(&client, "ctl/", 2).await;
    assert!(!waiting.is_finished());
    holder.kill().await.unwrap();
    client.kv_client().delete(key, None).await.unwrap();
    soon("the lock", waiting).await.unwrap().unwrap();

    let (mut leader, mut printed) = etcdctl(&node, &["elect", "vote", "candidate"]);
    let key = line(&mut printed).await;
    assert!(key.starts_with("vote/"), "{key}");
    assert_eq!(line(&mut printed).await, "candidate");
    let found = client.election_client().leader("vote").await.unwrap();
    assert_eq!(found.kv().unwrap().value(), b"candidate");
    leader.kill().await.unwrap();
    node.stop().await;
}
