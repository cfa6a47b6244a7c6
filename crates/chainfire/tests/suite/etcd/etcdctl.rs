//! Debian's etcdctl against a node in this process.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{node::Node, soon};

fn etcdctl(node: &Node, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &node.endpoint(), "--command-timeout=15s"])
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What it printed; it must succeed.
async fn run(node: &Node, args: &[&str]) -> String {
    let output = soon("etcdctl", etcdctl(node, args).output()).await.unwrap();
    assert!(
        output.status.success(),
        "etcdctl {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What it complained; it must fail.
async fn fail(node: &Node, args: &[&str]) -> String {
    let output = soon("etcdctl", etcdctl(node, args).output()).await.unwrap();
    assert!(!output.status.success(), "etcdctl {args:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_transactions_and_compaction() {
    let node = Node::start().await;
    assert_eq!(run(&node, &["put", "a", "1"]).await, "OK\n");
    assert_eq!(run(&node, &["put", "a", "2"]).await, "OK\n");
    assert_eq!(run(&node, &["get", "a"]).await, "a\n2\n");
    assert_eq!(run(&node, &["get", "a", "--rev=2"]).await, "a\n1\n");
    assert_eq!(
        run(&node, &["get", "", "--prefix", "--keys-only"]).await,
        "a\n\n"
    );
    assert_eq!(run(&node, &["del", "a"]).await, "1\n");
    assert_eq!(
        run(&node, &["compact", "3"]).await,
        "compacted revision 3\n"
    );
    let error = fail(&node, &["get", "a", "--rev=2"]).await;
    assert!(
        error.contains("etcdserver: mvcc: required revision has been compacted"),
        "{error}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching() {
    let node = Node::start().await;
    run(&node, &["put", "w/0", "old"]).await;
    let mut watch: Child = etcdctl(&node, &["watch", "--prefix", "w/", "--rev=2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = async || soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert_eq!(
        [next().await, next().await, next().await],
        ["PUT", "w/0", "old"]
    );
    run(&node, &["put", "w/1", "new"]).await;
    assert_eq!(
        [next().await, next().await, next().await],
        ["PUT", "w/1", "new"]
    );
    run(&node, &["del", "w/1"]).await;
    assert_eq!([next().await, next().await], ["DELETE", "w/1"]);
    watch.kill().await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases() {
    let node = Node::start().await;
    let granted = run(&node, &["lease", "grant", "600"]).await;
    let id = granted.split_whitespace().nth(1).unwrap().to_owned();
    assert!(granted.contains("granted with TTL(600s)"), "{granted}");
    run(&node, &["put", "--lease", &id, "k", "v"]).await;
    let kept = run(&node, &["lease", "keep-alive", "--once", &id]).await;
    assert!(kept.contains("keepalived with TTL(600)"), "{kept}");
    let left = run(&node, &["lease", "timetolive", "--keys", &id]).await;
    assert!(
        left.contains("granted with TTL(600s)") && left.contains("[k]"),
        "{left}"
    );
    assert!(run(&node, &["lease", "list"]).await.contains(&id));
    run(&node, &["lease", "revoke", &id]).await;
    assert_eq!(run(&node, &["get", "k"]).await, "");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_status_and_snapshot() {
    let node = Node::start().await;
    run(&node, &["put", "k", "v"]).await;
    let members = run(&node, &["member", "list", "--write-out=json"]).await;
    let members: Value = serde_json::from_str(&members).unwrap();
    assert_eq!(members["members"][0]["name"], "node-1");
    assert_eq!(members["members"][0]["clientURLs"][0], node.url(""));
    let status = run(&node, &["endpoint", "status", "--write-out=json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let version = status[0]["Status"]["version"].as_str().unwrap();
    assert!(version.starts_with("3.6."), "{version}");
    assert_eq!(status[0]["Status"]["leader"], 1);
    // etcdctl reports on standard error here.
    run(&node, &["endpoint", "health"]).await;
    run(&node, &["endpoint", "hashkv"]).await;
    run(&node, &["defrag"]).await;
    assert_eq!(run(&node, &["alarm", "list"]).await, "");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot");
    let path = file.to_str().unwrap();
    let saved = run(&node, &["snapshot", "save", path]).await;
    assert!(saved.contains("Snapshot saved"), "{saved}");
    let size = std::fs::metadata(&file).unwrap().len();
    assert_eq!(size % 512, 32, "the payload, and the checksum behind it");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_space_alarm_is_raised_shown_and_disarmed() {
    let node = Node::start_with(|config| config.quota_bytes = 1 << 20).await;
    let value = "v".repeat(100 << 10);
    let mut refusal = None;
    for n in 0..20 {
        let output = etcdctl(&node, &["put", &format!("q/{n}"), &value]);
        let output = soon("etcdctl", { output }.output()).await.unwrap();
        if !output.status.success() {
            refusal = Some(String::from_utf8(output.stderr).unwrap());
            break;
        }
    }
    let refusal = refusal.expect("the quota is noticed");
    assert!(
        refusal.contains("etcdserver: mvcc: database space exceeded"),
        "{refusal}"
    );
    assert_eq!(
        run(&node, &["alarm", "list"]).await,
        "memberID:1 alarm:NOSPACE \n"
    );
    // Disarmed without making room, it is raised again by the next write.
    run(&node, &["alarm", "disarm"]).await;
    assert_eq!(run(&node, &["alarm", "list"]).await, "");
    fail(&node, &["put", "q", "v"]).await;
    assert_ne!(run(&node, &["alarm", "list"]).await, "");
    run(&node, &["del", "q/", "--prefix"]).await;
    let status = run(&node, &["endpoint", "status", "--write-out=json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let revision = status[0]["Status"]["header"]["revision"].to_string();
    run(&node, &["compact", &revision, "--physical"]).await;
    run(&node, &["defrag"]).await;
    assert_eq!(
        run(&node, &["alarm", "disarm"]).await,
        "memberID:1 alarm:NOSPACE \n"
    );
    assert_eq!(run(&node, &["put", "q", "v"]).await, "OK\n");
    assert_eq!(run(&node, &["alarm", "list"]).await, "");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authentication() {
    let node = Node::start().await;
    for args in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "reader"],
        &[
            "role",
            "grant-permission",
            "--prefix",
            "reader",
            "read",
            "open/",
        ],
        &["user", "add", "ann:pw"],
        &["user", "grant-role", "ann", "reader"],
        &["put", "open/a", "1"],
        &["put", "closed/a", "2"],
        &["auth", "enable"],
    ] {
        run(&node, args).await;
    }
    let error = fail(&node, &["get", "open/a"]).await;
    assert!(error.contains("etcdserver: user name is empty"), "{error}");
    let error = fail(&node, &["--user", "ann:wrong", "get", "open/a"]).await;
    assert!(
        error.contains("authentication failed, invalid user ID or password"),
        "{error}"
    );
    assert_eq!(
        run(&node, &["--user", "ann:pw", "get", "open/a"]).await,
        "open/a\n1\n"
    );
    for refused in [
        &["get", "closed/a"][..],
        &["put", "open/a", "x"],
        &["user", "list"],
        &["compact", "2"],
        &["snapshot", "save", "/dev/null"],
    ] {
        let mut args = vec!["--user", "ann:pw"];
        args.extend(refused);
        let error = fail(&node, &args).await;
        assert!(
            error.contains("etcdserver: permission denied"),
            "{refused:?}: {error}"
        );
    }
    let users = run(&node, &["--user", "root:secret", "user", "list"]).await;
    assert_eq!(users, "ann\nroot\n");
    run(&node, &["--user", "root:secret", "auth", "disable"]).await;
    run(&node, &["get", "closed/a"]).await;
    node.stop().await;
}
