//! REST with the real `curl`, against nodes in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{path::PathBuf, process::Stdio};

use chainfire::offline;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::local::{Node, PATIENCE};

/// An answer: the HTTP status and the body.
struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// The content of a successful answer; its envelope is checked on the way.
    fn data(&self) -> &Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            self.body
        );
        self.meta();
        &self.body["data"]
    }

    /// Code and, of validation errors, the field.
    fn error(&self) -> (u16, &str, &str) {
        self.meta();
        let error = &self.body["error"];
        let field = error["details"]["field"].as_str().unwrap_or_default();
        (self.status, error["code"].as_str().unwrap(), field)
    }

    fn meta(&self) {
        let meta = &self.body["meta"];
        assert_eq!(
            meta["request_id"].as_str().map(str::len),
            Some(36),
            "{}",
            self.body
        );
        let timestamp = meta["timestamp"].as_str().unwrap();
        assert!(
            timestamp.len() == 20 && timestamp.ends_with('Z'),
            "{timestamp}"
        );
    }
}

/// Runs a line of a shell in which `localhost:8081` is the node, as it stands in the guide.
async fn shell(node: &Node, line: &str) -> Answer {
    let line = line.replace("localhost:8081", &node.rest());
    let line = line.replacen("curl ", "curl -sS --max-time 30 -w '\\n%{http_code}' ", 1);
    let output = Command::new("bash")
        .args(["-c", &line])
        .output()
        .await
        .unwrap();
    answer(&output)
}

/// Runs curl with arguments; a path is relative to the node.
async fn curl(node: &Node, path: &str, arguments: &[&str]) -> Answer {
    let url = format!("http://{}{path}", node.rest());
    let output = Command::new("curl")
        .args([
            "-sS",
            "--path-as-is",
            "--max-time",
            "30",
            "-w",
            "\n%{http_code}",
            &url,
        ])
        .args(arguments)
        .output()
        .await
        .unwrap();
    answer(&output)
}

fn answer(output: &std::process::Output) -> Answer {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (body, status) = text
        .rsplit_once('\n')
        .unwrap_or_else(|| panic!("no answer: {stderr}"));
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {body:?} {stderr}"));
    Answer {
        status: status.parse().unwrap(),
        body,
    }
}

async fn get(node: &Node, path: &str) -> Answer {
    curl(node, path, &[]).await
}

async fn post(node: &Node, path: &str, body: &Value) -> Answer {
    curl(
        node,
        path,
        &[
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-d",
            &body.to_string(),
        ],
    )
    .await
}

async fn put(node: &Node, key: &str, value: &str) -> i64 {
    let answer = post(
        node,
        &format!("/api/v1/kv/{key}/put"),
        &json!({ "value": value }),
    )
    .await;
    answer.data()["revision"].as_i64().unwrap()
}

#[tokio::test]
async fn the_guides_lines_work_as_printed() {
    let node = Node::alone().await;
    assert_eq!(
        shell(&node, "curl http://localhost:8081/health")
            .await
            .status,
        200
    );

    let status = shell(&node, "curl http://localhost:8081/api/v1/cluster/status").await;
    let status = status.data();
    assert_eq!(status["node_id"], 1);
    assert!(
        status["cluster_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty()),
        "{status}"
    );
    assert!(status["term"].as_u64().unwrap() > 0);
    assert_eq!(status["role"], "leader");
    assert_eq!(status["is_leader"], true);
    assert_eq!(status["compacted_revision"], 0);

    let put = shell(
        &node,
        "curl -X POST http://localhost:8081/api/v1/kv/mykey/put \\\n-H \"Content-Type: application/json\" \\\n-d '{\"value\": \"myvalue\"}'",
    )
    .await;
    assert_eq!(put.status, 200);
    let put = shell(
        &node,
        r#"curl -X POST http://localhost:8081/api/v1/kv/user:123/put \
-H "Content-Type: application/json" \
-d '{"value": "{\"name\":\"alice\",\"email\":\"alice@example.com\"}"}'"#,
    )
    .await;
    assert_eq!(put.data()["key"], "user:123");

    let got = shell(&node, "curl http://localhost:8081/api/v1/kv/user:123").await;
    assert_eq!(got.data()["key"], "user:123");
    assert_eq!(
        got.data()["value"],
        r#"{"name":"alice","email":"alice@example.com"}"#
    );
    assert_eq!(got.data()["version"], 1);
    assert_eq!(got.data()["create_revision"], got.data()["mod_revision"]);

    shell(&node, "curl -X POST http://localhost:8081/api/v1/kv/user:456/put -d '{\"value\":\"x\"}' -H 'Content-Type: application/json'").await.data();
    let list = shell(
        &node,
        "curl \"http://localhost:8081/api/v1/kv?prefix=user:\"",
    )
    .await;
    let keys: Vec<&str> = list.data()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["user:123", "user:456"]);
    assert!(list.data().get("next_page_token").is_none());

    let deleted = shell(
        &node,
        "curl -X POST http://localhost:8081/api/v1/kv/user:123/delete",
    )
    .await;
    assert_eq!(deleted.data()["deleted"], 1);
    let gone = shell(&node, "curl http://localhost:8081/api/v1/kv/user:123").await;
    assert_eq!(gone.error(), (404, "NOT_FOUND", ""));
    assert_eq!(gone.body["error"]["details"], Value::Null);
    let again = shell(
        &node,
        "curl -X POST http://localhost:8081/api/v1/kv/user:123/delete",
    )
    .await;
    assert_eq!(again.data()["deleted"], 0);
    node.stop().await;
}

#[tokio::test]
async fn the_guides_line_adds_a_member_that_runs() {
    let nodes = Node::cluster(2).await;
    let members = get(&nodes[1], "/api/v1/cluster/members").await;
    assert_eq!(members.data()["items"].as_array().unwrap().len(), 2);
    // The guide's body, with an address at which nobody answers: refused, and no quorum lost.
    let nobody = post(
        &nodes[0],
        "/api/v1/cluster/members",
        &json!({ "node_id": 3, "address": "127.0.0.1:1" }),
    )
    .await;
    assert_eq!(nobody.error().0, 409, "{}", nobody.body);
    assert_eq!(
        nobody.body["error"]["message"],
        "127.0.0.1:1 cannot be reached: Connection refused (os error 111)"
    );
    put(&nodes[0], "still", "served").await;
    let again = post(&nodes[0], "/api/v1/cluster/members/2/promote", &json!({})).await;
    assert_eq!(again.error().0, 409, "{}", again.body);
    let stranger = curl(&nodes[0], "/api/v1/cluster/members/77", &["-X", "DELETE"]).await;
    assert_eq!(stranger.error().1, "NOT_FOUND");
    let removed = curl(&nodes[0], "/api/v1/cluster/members/2", &["-X", "DELETE"]).await;
    assert_eq!(removed.data()["items"].as_array().unwrap().len(), 1);
    for node in nodes {
        node.stop().await;
    }
}

/// Whoever adds a member that cannot be added is told what is at the address.
#[tokio::test]
async fn a_member_that_is_none_is_refused_with_the_cause() {
    let node = Node::alone().await;
    let other = Node::alone().await;
    // Takes connections, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let rest = other.rest().replace("localhost", "127.0.0.1");
    let grpc = other.grpc().replace("http://", "");
    let peer = other.peer();
    for (address, said) in [
        (silent.as_str(), "does not answer within 3s"),
        (rest.as_str(), "answers, but not as a ChainFire does: "),
        (grpc.as_str(), "is a member of another cluster: "),
        (
            peer.as_str(),
            "answers, but not as a ChainFire does: it knows no such call; is it the peer port?",
        ),
        (
            "no-such-host.invalid:1",
            "cannot be reached: failed to lookup address information",
        ),
    ] {
        let body = json!({ "node_id": 2, "address": address });
        let refused = post(&node, "/api/v1/cluster/members", &body).await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{address} {said}")),
            "{address}: {message}"
        );
    }
    other.stop().await;
    node.stop().await;
}

/// Before anybody is called: nobody listens at the addresses that could be called.
#[tokio::test]
async fn a_member_that_cannot_be_is_refused_before_it_is_asked() {
    let node = Node::alone().await;
    let mut bodies = Vec::new();
    for address in [
        "x y",
        "http://127.0.0.1:50051",
        "127.0.0.1",
        "127.0.0.1:99999",
        "127.0.0.1:0",
        "127.0.0.1:+5",
        ":50051",
        "::1:50051",
        "[::x]:50051",
        "user@127.0.0.1:1",
        "127.0.0.1:1/",
        "",
    ] {
        let body = json!({ "node_id": 2, "address": address }).to_string();
        bodies.push((body, "address", ""));
    }
    for id in [
        "0",
        "-1",
        "9007199254740992",
        "18446744073709551615",
        "1e30",
        "1.5",
        "\"2\"",
    ] {
        let body = format!(r#"{{"node_id": {id}, "address": "127.0.0.1:1"}}"#);
        bodies.push((body, "node_id", "from 1 to 9007199254740991 (2^53 - 1)"));
    }
    for (body, field, said) in bodies {
        let request = [
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-d",
            body.as_str(),
        ];
        let refused = curl(&node, "/api/v1/cluster/members", &request).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field), "{body}");
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with(field) && message.contains(said),
            "{body}: {message}"
        );
    }
    // The native door looks as closely.
    let mut client = node.client().await;
    for (node_id, address) in [(2, "x y"), (1 << 53, "127.0.0.1:1")] {
        let address = address.to_owned();
        let add = chainfire_client::MemberAddRequest { node_id, address };
        let refused = client.member_add(add).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
    }
    for good in ["[::1]:1", "127.0.0.1:1", "localhost:1"] {
        let body = json!({ "node_id": 2, "address": good });
        let refused = post(&node, "/api/v1/cluster/members", &body).await;
        assert_eq!(refused.error().0, 409, "{good}: {}", refused.body);
    }
    node.stop().await;
}

/// A node that waits to be added has nothing, which must not read as an empty store.
#[tokio::test]
async fn a_node_in_no_cluster_says_so() {
    let node = Node::joining().await;
    for path in [
        "/api/v1/kv/k?consistency=stale",
        "/api/v1/kv?prefix=k&consistency=stale",
        "/api/v1/kv/k",
        "/api/v1/watch",
        "/api/v1/leases",
    ] {
        let refused = get(&node, path).await;
        assert_eq!(refused.error(), (503, "UNAVAILABLE", ""), "{path}");
        assert_eq!(
            refused.body["error"]["message"], "this node is not part of a cluster yet",
            "{path}"
        );
    }
    let write = post(&node, "/api/v1/kv/k/put", &json!({ "value": "v" })).await;
    assert_eq!(write.error(), (503, "UNAVAILABLE", ""));
    assert_eq!(get(&node, "/api/v1/cluster/status").await.status, 200);
    node.stop().await;
}

#[tokio::test]
async fn options_on_a_key_tell_what_is_possible() {
    let node = Node::alone().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, allowed) in [("kv/a/b", "GET,HEAD,POST"), ("kv", "GET,HEAD")] {
        let url = format!("http://{}/api/v1/{path}", node.rest());
        let asked = http.request(reqwest::Method::OPTIONS, url);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 204, "{path}");
        let allow = answer.headers()["allow"].to_str().unwrap();
        let mut methods: Vec<&str> = allow.split(',').collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), allowed, "{path}");
    }
    node.stop().await;
}

#[tokio::test]
async fn any_key_can_be_reached() {
    let node = Node::alone().await;
    for (path, key) in [
        ("a/b/c", "a/b/c"),
        ("a%2Fb%2Fd", "a/b/d"),
        ("a/put", "a/put"),
        ("a/delete", "a/delete"),
        ("ends/", "ends/"),
        ("/photon/iam/x", "/photon/iam/x"),
        ("50%25", "50%"),
        ("%E6%9D%B1%E4%BA%AC", "東京"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("q%3Fr%23s", "q?r#s"),
        ("..%2Fup", "../up"),
        ("%00", "\0"),
    ] {
        put(&node, path, key).await;
        let got = get(&node, &format!("/api/v1/kv/{path}")).await;
        assert_eq!(got.data()["key"], key, "{path}");
        assert_eq!(got.data()["value"], key, "{path}");
        let deleted = post(&node, &format!("/api/v1/kv/{path}/delete"), &json!({})).await;
        assert_eq!(deleted.data()["deleted"], 1, "{path}");
    }
    for (path, method) in [
        ("/api/v1/kv/", "GET"),
        ("/api/v1/kv/put", "POST"),
        ("/api/v1/kv//put", "POST"),
        ("/api/v1/kv/%FF", "GET"),
        ("/api/v1/kv/%zz", "GET"),
        ("/api/v1/kv/50%", "GET"),
        ("/api/v1/kv/50%/put", "POST"),
    ] {
        let refused = curl(&node, path, &["-X", method]).await;
        assert_eq!(
            refused.error(),
            (400, "VALIDATION_ERROR", "key"),
            "{method} {path}"
        );
    }
    for (path, method) in [
        ("/api/v1/kv/a", "POST"),
        ("/api/v1/kv/a", "PUT"),
        ("/api/v1/kv/a%2Fput", "POST"),
        ("/api/v1/kv", "DELETE"),
    ] {
        let refused = curl(&node, path, &["-X", method]).await;
        assert_eq!(refused.error().0, 405, "{method} {path}");
    }
    assert_eq!(
        get(&node, "/api/v1/nothing").await.error(),
        (404, "NOT_FOUND", "")
    );
    node.stop().await;
}

#[tokio::test]
async fn binary_values_come_and_go_in_base64() {
    let node = Node::alone().await;
    let put = post(
        &node,
        "/api/v1/kv/bin/put",
        &json!({ "value": "/wD+", "encoding": "base64" }),
    )
    .await;
    assert_eq!(put.status, 200);
    let got = get(&node, "/api/v1/kv/bin").await;
    assert_eq!(
        (&got.data()["value"], &got.data()["encoding"]),
        (&json!("/wD+"), &json!("base64"))
    );
    // Text that came in base64 is text.
    post(
        &node,
        "/api/v1/kv/text/put",
        &json!({ "value": "aGk=", "encoding": "base64" }),
    )
    .await
    .data();
    let got = get(&node, "/api/v1/kv/text").await;
    assert_eq!(
        (&got.data()["value"], &got.data()["encoding"]),
        (&json!("hi"), &json!("utf-8"))
    );
    // A key that is not text was written through etcd's API, and is not lost in a list.
    let mut etcd = etcd_client::Client::connect([node.grpc()], None)
        .await
        .unwrap();
    etcd.put(vec![0xff], "v", None).await.unwrap();
    let list = get(&node, "/api/v1/kv?start=c").await;
    let last = list.data()["items"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        (&last["key"], &last["key_encoding"]),
        (&json!("/w=="), &json!("base64"))
    );
    node.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let node = Node::alone().await;
    for (path, body, field) in [
        ("/api/v1/kv/k/put", "{}", "value"),
        ("/api/v1/kv/k/put", r#"{"value":1}"#, "value"),
        ("/api/v1/kv/k/put", r#"{"value":null}"#, "value"),
        ("/api/v1/kv/k/put", r#"{"value":{"a":1}}"#, "value"),
        ("/api/v1/kv/k/put", r#"{"value":"a","vlaue":"b"}"#, "vlaue"),
        (
            "/api/v1/kv/k/put",
            r#"{"value":"***","encoding":"base64"}"#,
            "value",
        ),
        (
            "/api/v1/kv/k/put",
            r#"{"value":"a","encoding":"rot13"}"#,
            "encoding",
        ),
        ("/api/v1/kv/k/put", r#"{"value":"#, "body"),
        (
            "/api/v1/txn",
            r#"{"success":[{"get":{}}]}"#,
            "success[0].get.key",
        ),
        (
            "/api/v1/txn",
            r#"{"success":[{"get":{"key":"a"}},{"put":{"key":"","value":""}}]}"#,
            "success[1].put.key",
        ),
        (
            "/api/v1/txn",
            r#"{"compare":[{"key":"a","target":"version","value":true}]}"#,
            "compare[0].value",
        ),
        (
            "/api/v1/txn",
            r#"{"failure":[{"put":{"key":"a","value":"*","encoding":"base64"}}]}"#,
            "failure[0].put.value",
        ),
        ("/api/v1/leases", r#"{"ttl_seconds":0}"#, "ttl_seconds"),
        ("/api/v1/leases", "{}", "ttl_seconds"),
        ("/api/v1/compact", r#"{"revision":0}"#, "revision"),
        ("/api/v1/compact", r#"{"revision":999999}"#, "revision"),
        (
            "/api/v1/cluster/members",
            r#"{"address":"127.0.0.1:1"}"#,
            "node_id",
        ),
        ("/api/v1/cluster/members", r#"{"node_id":2}"#, "address"),
        ("/api/v1/cluster/leader", r#"{"node_id":9}"#, "node_id"),
    ] {
        let refused = curl(
            &node,
            path,
            &[
                "-X",
                "POST",
                "-H",
                "Content-Type: application/json",
                "-d",
                body,
            ],
        )
        .await;
        assert_eq!(
            (refused.error().0, refused.error().1),
            (400, "VALIDATION_ERROR"),
            "{path} {body}: {}",
            refused.body
        );
        assert_eq!(refused.error().2, field, "{path} {body}: {}", refused.body);
    }
    for (path, field) in [
        ("/api/v1/kv?prefx=a", "prefx"),
        ("/api/v1/kv?limit=0", "limit"),
        ("/api/v1/kv?limit=10001", "limit"),
        ("/api/v1/kv?limit=x", "limit"),
        ("/api/v1/kv?prefix=a&start=b", "start"),
        ("/api/v1/kv?limit=1&page_token=nonsense", "page_token"),
        ("/api/v1/kv?revision=999999", "revision"),
        ("/api/v1/kv/k?revision=999999", "revision"),
        ("/api/v1/kv/k?consistency=eventual", "consistency"),
        ("/api/v1/watch?prefix=a&key=b", "key"),
        ("/api/v1/watch?from_revision=-1", "from_revision"),
        ("/api/v1/watch?since=1", "since"),
        ("/api/v1/kv?prefix=50%", "prefix"),
    ] {
        let refused = get(&node, path).await;
        assert_eq!(
            refused.error(),
            (400, "VALIDATION_ERROR", field),
            "{path}: {}",
            refused.body
        );
    }
    let text = curl(
        &node,
        "/api/v1/kv/k/put",
        &["-X", "POST", "-H", "Content-Type: text/plain", "-d", "x"],
    )
    .await;
    assert_eq!(text.error().1, "UNSUPPORTED_MEDIA_TYPE");
    node.stop().await;
}

#[tokio::test]
async fn pages_show_one_revision_without_gap_or_repeat() {
    let node = Node::alone().await;
    for at in 0..25 {
        put(&node, &format!("p/{at:02}"), "v").await;
    }
    let (mut keys, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = match token.as_str() {
            "" => "/api/v1/kv?prefix=p/&limit=10".to_owned(),
            token => format!("/api/v1/kv?prefix=p/&limit=10&page_token={token}"),
        };
        let page = get(&node, &path).await;
        assert_eq!(page.data()["count"], 25);
        keys.extend(
            page.data()["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["key"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        // What happens between the pages is not in them.
        put(&node, &format!("p/{pages:02}x"), "later").await;
        post(&node, &format!("/api/v1/kv/p/2{pages}/delete"), &json!({}))
            .await
            .data();
        match page.data()["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(
        keys,
        (0..25).map(|at| format!("p/{at:02}")).collect::<Vec<_>>()
    );
    let other = get(
        &node,
        &format!("/api/v1/kv?prefix=q/&limit=10&page_token={token}"),
    )
    .await;
    assert_eq!(other.error(), (400, "VALIDATION_ERROR", "page_token"));

    let revision = put(&node, "p/99", "v").await;
    post(&node, "/api/v1/compact", &json!({ "revision": revision }))
        .await
        .data();
    let late = get(
        &node,
        &format!("/api/v1/kv?prefix=p/&limit=10&page_token={token}"),
    )
    .await;
    assert_eq!(late.error(), (410, "COMPACTED", ""));
    let details = &late.body["error"]["details"];
    assert_eq!(details, &json!({ "compacted_revision": revision }));
    let start_end = get(&node, "/api/v1/kv?start=p/03&end=p/05&keys_only=true").await;
    let keys: Vec<&str> = start_end.data()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["p/03", "p/03x", "p/04"]);
    // What was not asked for is not shown as if it were empty.
    let first = start_end.data()["items"][0].as_object().unwrap();
    assert!(!first.contains_key("value") && !first.contains_key("encoding"));
    assert_eq!(first["version"], 1);
    node.stop().await;
}

#[tokio::test]
async fn a_list_without_a_limit_ends_at_ten_thousand_rows() {
    let node = Node::alone().await;
    let mut etcd = etcd_client::Client::connect([node.grpc()], None)
        .await
        .unwrap();
    let keys: Vec<String> = (0..10_000).map(|at| format!("k{at:05}")).collect();
    for keys in keys.chunks(100) {
        let puts: Vec<_> = keys
            .iter()
            .map(|key| etcd_client::TxnOp::put(key.as_str(), "v", None))
            .collect();
        etcd.txn(etcd_client::Txn::new().and_then(puts))
            .await
            .unwrap();
    }
    let all = get(&node, "/api/v1/kv?prefix=k").await;
    assert_eq!(all.data()["items"].as_array().unwrap().len(), 10_000);
    put(&node, "k10000", "one too many").await;
    assert_eq!(
        get(&node, "/api/v1/kv?prefix=k").await.error(),
        (400, "VALIDATION_ERROR", "limit")
    );
    let page = get(&node, "/api/v1/kv?prefix=k&limit=10000").await;
    let token = page.data()["next_page_token"].as_str().unwrap();
    let rest = get(
        &node,
        &format!("/api/v1/kv?prefix=k&limit=10000&page_token={token}"),
    )
    .await;
    assert_eq!(rest.data()["items"].as_array().unwrap().len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn transactions_leases_compaction_and_snapshot() {
    let node = Node::alone().await;
    let txn = |expected: i64| {
        json!({
            "compare": [{ "key": "t", "target": "version", "value": expected }],
            "success": [{ "put": { "key": "t", "value": "1" } }, { "get": { "key": "t" } }, { "delete": { "key": "none" } }],
            "failure": [{ "get": { "key": "missing" } }],
        })
    };
    let done = post(&node, "/api/v1/txn", &txn(0)).await;
    assert_eq!(done.data()["succeeded"], true);
    assert_eq!(done.data()["results"][1]["get"]["value"], "1");
    assert_eq!(done.data()["results"][2]["delete"]["deleted"], 0);
    let not = post(&node, "/api/v1/txn", &txn(0)).await;
    assert_eq!(not.data()["succeeded"], false);
    assert_eq!(not.data()["results"], json!([{ "get": null }]));

    let lists = json!({
        "success": [
            { "put": { "key": "u/1", "value": "1" } }, { "put": { "key": "u/2", "value": "2" } },
            { "get": { "prefix": "u/" } }, { "get": { "start": "t", "end": "u/2", "limit": 1 } },
            { "get": { "prefix": "none" } }, { "get": { "key": "u/1" } },
        ],
    });
    let done = post(&node, "/api/v1/txn", &lists).await;
    let results = &done.data()["results"];
    let all = &results[2]["get"];
    assert_eq!((&all["count"], &all["more"]), (&json!(2), &json!(false)));
    assert_eq!(
        (&all["items"][0]["key"], &all["items"][1]["value"]),
        (&json!("u/1"), &json!("2"))
    );
    let some = &results[3]["get"];
    assert_eq!((&some["count"], &some["more"]), (&json!(2), &json!(true)));
    assert_eq!(some["items"].as_array().unwrap().len(), 1);
    assert_eq!(some["items"][0]["key"], "t");
    assert_eq!(
        results[4]["get"],
        json!({ "items": [], "count": 0, "more": false })
    );
    assert_eq!(results[5]["get"]["value"], "1");
    // The list of the branch that did not run has nothing to say about the other's results.
    let other = json!({
        "compare": [{ "key": "u/1", "target": "version", "value": 0 }],
        "success": [{ "get": { "prefix": "u/" } }],
        "failure": [{ "get": { "key": "u/1" } }],
    });
    let done = post(&node, "/api/v1/txn", &other).await;
    assert_eq!(done.data()["results"][0]["get"]["value"], "1");

    let lease = post(&node, "/api/v1/leases", &json!({ "ttl_seconds": 600 })).await;
    assert_eq!(lease.status, 201);
    let id = lease.data()["id"].as_i64().unwrap();
    assert!(id > 0 && id < 1 << 53);
    post(
        &node,
        "/api/v1/kv/leased/put",
        &json!({ "value": "v", "lease": id }),
    )
    .await
    .data();
    assert_eq!(get(&node, "/api/v1/kv/leased").await.data()["lease"], id);
    let details = get(&node, &format!("/api/v1/leases/{id}")).await;
    assert_eq!(details.data()["granted_ttl_seconds"], 600);
    assert_eq!(details.data()["keys"], json!([{ "key": "leased" }]));
    assert_eq!(
        post(&node, &format!("/api/v1/leases/{id}/keepalive"), &json!({}))
            .await
            .data()["ttl_seconds"],
        600
    );
    assert_eq!(
        get(&node, "/api/v1/leases").await.data()["items"],
        json!([{ "id": id }])
    );
    let twice = post(
        &node,
        "/api/v1/leases",
        &json!({ "ttl_seconds": 600, "id": id }),
    )
    .await;
    assert_eq!(twice.error(), (409, "ALREADY_EXISTS", ""));
    curl(&node, &format!("/api/v1/leases/{id}"), &["-X", "DELETE"])
        .await
        .data();
    assert_eq!(get(&node, "/api/v1/kv/leased").await.error().0, 404);
    for gone in [
        get(&node, &format!("/api/v1/leases/{id}")).await,
        post(&node, &format!("/api/v1/leases/{id}/keepalive"), &json!({})).await,
        curl(&node, &format!("/api/v1/leases/{id}"), &["-X", "DELETE"]).await,
        post(
            &node,
            "/api/v1/kv/k/put",
            &json!({ "value": "v", "lease": id }),
        )
        .await,
    ] {
        assert_eq!(gone.error().1, "NOT_FOUND", "{}", gone.body);
    }

    let first = put(&node, "h", "old").await;
    let second = put(&node, "h", "new").await;
    assert_eq!(
        get(&node, &format!("/api/v1/kv/h?revision={first}"))
            .await
            .data()["value"],
        "old"
    );
    let compacted = post(
        &node,
        "/api/v1/compact",
        &json!({ "revision": second, "physical": true }),
    )
    .await;
    assert_eq!(compacted.data()["compacted_revision"], second);
    for refused in [
        get(&node, &format!("/api/v1/kv/h?revision={first}")).await,
        get(&node, &format!("/api/v1/kv?revision={first}")).await,
        post(&node, "/api/v1/compact", &json!({ "revision": first })).await,
        post(&node, "/api/v1/compact", &json!({ "revision": second })).await,
    ] {
        assert_eq!(refused.error(), (410, "COMPACTED", ""));
        let details = &refused.body["error"]["details"];
        assert_eq!(details, &json!({ "compacted_revision": second }));
    }

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("snapshot");
    let url = format!("http://{}/api/v1/snapshot", node.rest());
    let saved = Command::new("curl")
        .args(["-sS", "--fail", "--max-time", "30", "-o"])
        .arg(&file)
        .arg(&url)
        .status()
        .await
        .unwrap();
    assert!(saved.success());
    let size = std::fs::metadata(&file).unwrap().len();
    assert_eq!(size % 512, 32, "an archive and its checksum: {size}");
    let verified = tokio::task::spawn_blocking(move || offline::verify(&file, None));
    let verified = verified.await.unwrap().unwrap();
    assert!(
        verified.contains("of the file and of everything in it are right"),
        "{verified}"
    );
    node.stop().await;
}

/// A running `curl -N` on a watch.
struct Watching {
    curl: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// One server-sent event.
#[derive(Debug)]
struct Sent {
    name: String,
    id: Option<i64>,
    data: Value,
}

impl Watching {
    fn start(node: &Node, query: &str, arguments: &[&str]) -> Self {
        let url = format!("http://{}/api/v1/watch?{query}", node.rest());
        let mut curl = Command::new("curl")
            .args(["-sSN", "--max-time", "60", &url])
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(curl.stdout.take().unwrap()).lines();
        Self { curl, lines }
    }

    /// The next event; comments are skipped. `None` at the end of the stream.
    async fn next(&mut self) -> Option<Sent> {
        let mut sent = Sent {
            name: String::new(),
            id: None,
            data: Value::Null,
        };
        loop {
            let line = timeout(PATIENCE, self.lines.next_line())
                .await
                .unwrap()
                .unwrap()?;
            match line.split_once(": ") {
                Some(("event", name)) => sent.name = name.to_owned(),
                Some(("id", id)) => sent.id = Some(id.parse().unwrap()),
                Some(("data", data)) => sent.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !sent.name.is_empty() => return Some(sent),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_watch_tells_every_revision_once_and_goes_on_where_it_stopped() {
    let node = Node::alone().await;
    let before = put(&node, "w/a", "0").await;
    let mut watch = Watching::start(&node, "prefix=w/&with_previous=true", &[]);
    let ready = watch.next().await.unwrap();
    assert_eq!((ready.name.as_str(), ready.id), ("ready", Some(before)));

    let txn = json!({ "success": [{ "put": { "key": "w/a", "value": "1" } }, { "put": { "key": "w/b", "value": "2" } }, { "put": { "key": "other", "value": "3" } }] });
    let revision = post(&node, "/api/v1/txn", &txn).await.data()["revision"]
        .as_i64()
        .unwrap();
    post(&node, "/api/v1/kv/w/a/delete", &json!({}))
        .await
        .data();
    let change = watch.next().await.unwrap();
    assert_eq!(
        (change.name.as_str(), change.id),
        ("change", Some(revision))
    );
    let events = change.data["events"].as_array().unwrap();
    assert_eq!(
        events.len(),
        2,
        "both changes of the revision, and not that of the other key"
    );
    assert_eq!(
        (&events[0]["type"], &events[0]["previous"]["value"]),
        (&json!("put"), &json!("0"))
    );
    let change = watch.next().await.unwrap();
    assert_eq!(change.data["events"][0]["type"], "delete");
    assert_eq!(change.data["events"][0]["key"], "w/a");
    let seen = change.id.unwrap();
    drop(watch);

    let missed = put(&node, "w/c", "while away").await;
    let mut watch = Watching::start(
        &node,
        "prefix=w/",
        &["-H", &format!("Last-Event-ID: {seen}")],
    );
    assert_eq!(watch.next().await.unwrap().id, Some(seen));
    assert_eq!(watch.next().await.unwrap().id, Some(missed));
    drop(watch);

    let mut watch = Watching::start(&node, &format!("key=w/a&from_revision={before}"), &[]);
    assert_eq!(watch.next().await.unwrap().name, "ready");
    for id in [before, revision, seen] {
        assert_eq!(watch.next().await.unwrap().id, Some(id));
    }
    node.stop().await;
}

#[tokio::test]
async fn a_watch_ends_with_an_error_event_or_with_the_node() {
    let node = Node::alone().await;
    put(&node, "a", "1").await;
    let revision = put(&node, "a", "2").await;
    post(&node, "/api/v1/compact", &json!({ "revision": revision }))
        .await
        .data();
    // Told before the stream begins.
    for from in [1, revision - 1] {
        let path = format!("/api/v1/watch?key=a&from_revision={from}");
        let refused = get(&node, &path).await;
        assert_eq!(refused.error(), (410, "COMPACTED", ""));
        let details = &refused.body["error"]["details"];
        assert_eq!(details["compacted_revision"], revision);
    }
    let mut watch = Watching::start(&node, &format!("key=a&from_revision={revision}"), &[]);
    let ready = watch.next().await.unwrap();
    assert_eq!(
        (ready.name.as_str(), ready.id),
        ("ready", Some(revision - 1))
    );
    assert_eq!(watch.next().await.unwrap().id, Some(revision));
    drop(watch);

    let mut watch = Watching::start(&node, "", &[]);
    assert_eq!(watch.next().await.unwrap().name, "ready");
    node.stop().await;
    let last = watch.next().await.unwrap();
    assert_eq!((last.name.as_str(), last.id), ("error", None));
    assert_eq!(last.data["error"]["code"], "UNAVAILABLE");
    assert!(watch.next().await.is_none());
    let ended = timeout(PATIENCE, watch.curl.wait()).await.unwrap().unwrap();
    assert!(
        ended.success(),
        "the stream broke off instead of ending: {ended}"
    );
}

/// A client of a member that has lost its cluster learns it, and goes on elsewhere.
#[tokio::test]
async fn a_watch_without_a_quorum_ends() {
    let mut nodes = Node::cluster(2).await;
    put(&nodes[0], "k", "v").await;
    let mut watch = Watching::start(&nodes[0], "prefix=k&from_revision=1", &[]);
    assert_eq!(watch.next().await.unwrap().name, "ready");
    assert_eq!(watch.next().await.unwrap().name, "change");
    nodes.pop().unwrap().stop().await;
    let last = watch.next().await.unwrap();
    assert_eq!((last.name.as_str(), last.id), ("error", None));
    assert_eq!(last.data["error"]["code"], "NO_QUORUM");
    assert!(watch.next().await.is_none());
    let ended = timeout(PATIENCE, watch.curl.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    let refused = get(&nodes[0], "/api/v1/watch").await;
    assert_eq!(refused.error(), (503, "NO_QUORUM", ""));
    nodes.pop().unwrap().stop().await;
}

#[tokio::test]
async fn without_a_quorum_only_stale_reads_and_status_are_served() {
    let mut nodes = Node::cluster(2).await;
    put(&nodes[0], "k", "v").await;
    nodes.pop().unwrap().stop().await;
    let node = &nodes[0];
    let write = post(node, "/api/v1/kv/k/put", &json!({ "value": "w" })).await;
    assert_eq!(write.error(), (503, "NO_QUORUM", ""));
    assert_eq!(
        get(node, "/api/v1/kv/k").await.error(),
        (503, "NO_QUORUM", "")
    );
    assert_eq!(
        get(node, "/api/v1/kv?prefix=k").await.error(),
        (503, "NO_QUORUM", "")
    );
    assert_eq!(
        get(node, "/api/v1/kv/k?consistency=stale").await.data()["value"],
        "v"
    );
    assert_eq!(
        get(node, "/api/v1/kv?prefix=k&consistency=stale")
            .await
            .data()["count"],
        1
    );
    assert_eq!(get(node, "/api/v1/cluster/status").await.status, 200);
    nodes.pop().unwrap().stop().await;
}

#[tokio::test]
async fn every_documented_route_is_there() {
    let node = Node::alone().await;
    let document = serde_json::to_value(chainfire::rest::openapi()).unwrap();
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations
            .as_object()
            .unwrap()
            .keys()
            .filter(|method| ["get", "post", "delete"].contains(&method.as_str()))
        {
            // A stream has no end, and these two are no JSON; they are asked for elsewhere.
            if ["/watch", "/snapshot", "/metrics"]
                .iter()
                .any(|end| path.ends_with(end))
            {
                continue;
            }
            let asked = path.replace("{key}", "no-such-key").replace("{id}", "4242");
            let answer = curl(
                &node,
                &asked,
                &[
                    "-X",
                    &method.to_uppercase(),
                    "-H",
                    "Content-Type: application/json",
                    "-d",
                    "{}",
                ],
            )
            .await;
            assert_ne!(answer.status, 405, "{method} {path}");
            assert_ne!(
                answer.body["error"]["message"], "there is nothing at this path",
                "{method} {path}"
            );
            routes += 1;
        }
    }
    assert!(routes > 15, "{routes}");
    node.stop().await;
}

/// Whether a route takes parameters or not, one that it does not know is refused by name, and nothing is done.
#[tokio::test]
async fn no_route_passes_over_a_parameter_it_does_not_know() {
    let node = Node::alone().await;
    put(&node, "kept", "v").await;
    let document = serde_json::to_value(chainfire::rest::openapi()).unwrap();
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        // The built-in paths take no notice of a query.
        if !path.starts_with("/api/") {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let asked = path.replace("{key}", "kept").replace("{id}", "4242");
            let body = match operation.get("requestBody") {
                Some(_) => r#"{"value":"changed"}"#,
                None => "{}",
            };
            let arguments = [
                "-X",
                &method.to_uppercase(),
                "-H",
                "Content-Type: application/json",
                "-d",
                body,
            ];
            let answer = curl(&node, &format!("{asked}?colour=red"), &arguments).await;
            assert_eq!(
                answer.error(),
                (400, "VALIDATION_ERROR", "colour"),
                "{method} {path}: {}",
                answer.body
            );
            routes += 1;
        }
    }
    assert!(routes > 15, "{routes}");
    let kept = get(&node, "/api/v1/kv/kept").await;
    assert_eq!(kept.data()["value"], "v");
    node.stop().await;
}

/// A body sent where none is taken is refused by its first field, and nothing is done.
#[tokio::test]
async fn no_route_passes_over_a_body_it_does_not_take() {
    let node = Node::alone().await;
    put(&node, "kept", "v").await;
    let lease = json!({ "ttl_seconds": 600, "id": 77 });
    post(&node, "/api/v1/leases", &lease).await.data();
    let document = serde_json::to_value(chainfire::rest::openapi()).unwrap();
    let mut routes = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/") {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            if operation.get("requestBody").is_some() {
                continue;
            }
            let asked = path.replace("{key}", "kept").replace("{id}", "77");
            let arguments = [
                "-X",
                &method.to_uppercase(),
                "-H",
                "Content-Type: application/json",
                "-d",
                r#"{"colour":"red","value":"x"}"#,
            ];
            let answer = curl(&node, &asked, &arguments).await;
            let error = answer.error();
            assert_eq!(
                error,
                (400, "VALIDATION_ERROR", "colour"),
                "{method} {path}: {}",
                answer.body
            );
            routes += 1;
        }
    }
    assert!(routes > 10, "{routes}");
    assert_eq!(get(&node, "/api/v1/kv/kept").await.data()["value"], "v");
    assert_eq!(get(&node, "/api/v1/leases/77").await.data()["id"], 77);
    let empty = post(&node, "/api/v1/kv/kept/delete", &json!({})).await;
    assert_eq!(empty.data()["deleted"], 1);
    node.stop().await;
}

/// The words of refusals that used to say nothing, or two things.
#[tokio::test]
async fn what_is_wrong_is_said_once_and_whole() {
    let node = Node::alone().await;
    for (path, said) in [
        ("/api/v1/kv?limit=0", "limit is at least 1"),
        ("/api/v1/kv?limit=-1", "limit is at least 1"),
        (
            "/api/v1/kv?consistency=",
            "consistency must be one of linearizable, stale, not an empty text",
        ),
    ] {
        let refused = get(&node, path).await;
        assert_eq!(refused.status, 400, "{path}");
        assert_eq!(refused.body["error"]["message"], said, "{path}");
    }
    let put = json!({ "put": { "key": "p/k", "value": "v" } });
    let look = json!({ "get": { "key": "k" } });
    let compare = json!({ "key": "k", "target": "version", "value": 0 });
    for (body, field, constraint) in [
        (
            json!({ "success": [put, put] }),
            "success[1].put.key",
            "unique",
        ),
        (
            json!({ "success": [put, { "delete": { "prefix": "p/" } }] }),
            "success[0].put.key",
            "exclusive",
        ),
        (json!({ "failure": vec![look; 129] }), "failure", "maximum"),
        (
            json!({ "compare": vec![compare; 129] }),
            "compare",
            "maximum",
        ),
    ] {
        let refused = post(&node, "/api/v1/txn", &body).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field));
        let details = &refused.body["error"]["details"];
        assert_eq!(details["constraint"], constraint, "{field}");
    }
    node.stop().await;
}

/// What one request makes a node hold and send is bounded, whatever the values are.
#[tokio::test]
async fn no_answer_is_larger_than_it_may_be() {
    const LARGEST: usize = 64 << 20;
    const KEYS: usize = 12;
    let node = Node::alone().await;
    let mut etcd = etcd_client::Client::connect([node.grpc()], None)
        .await
        .unwrap();
    // Each of these bytes is six in JSON: ten such values fit into an answer.
    let value = vec![1_u8; 1 << 20];
    for at in 0..KEYS {
        let key = format!("m/{at:02}");
        etcd.put(key, value.clone(), None).await.unwrap();
    }
    let some = |limit: i64| json!({ "get": { "prefix": "m/", "limit": limit } });
    let write = json!({ "put": { "key": "written", "value": "v" } });
    let refused = [
        json!({ "success": [some(11)] }),
        json!({ "success": vec![some(2); 8] }),
        json!({ "success": vec![json!({ "get": { "key": "m/00" } }); 128] }),
        // These go through the log; the failure branch counts although it would not run.
        json!({ "success": [write, some(6), some(6)] }),
        json!({ "success": [write], "failure": [some(6), some(6)] }),
        json!({ "success": [write, { "delete": { "key": "m/00" } }, some(10), some(1)] }),
        json!({ "success": [{ "delete": { "prefix": "none" } }, { "get": { "prefix": "m/" } }] }),
    ];
    for body in refused {
        let refused = post(&node, "/api/v1/txn", &body).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "limit"));
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("more than 64 MiB"), "{message}");
    }
    let written = get(&node, "/api/v1/kv/written").await;
    assert_eq!(written.status, 404, "a refused transaction wrote");
    let within = json!({ "success": [write, some(4), some(4)], "failure": [some(10)] });
    let done = post(&node, "/api/v1/txn", &within).await;
    let results = &done.data()["results"];
    assert_eq!(results[2]["get"]["items"].as_array().unwrap().len(), 4);
    assert_eq!(results[2]["get"]["count"], KEYS);

    let whole = get(&node, "/api/v1/kv?prefix=m/").await;
    assert_eq!(whole.error(), (400, "VALIDATION_ERROR", "limit"));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (mut keys, mut path) = (0, "/api/v1/kv?prefix=m/&limit=1000".to_owned());
    loop {
        let url = format!("http://{}{path}", node.rest());
        let page = http.get(url).send().await.unwrap().bytes().await.unwrap();
        assert!(page.len() <= LARGEST + 4096, "{} bytes", page.len());
        let page: Value = serde_json::from_slice(&page).unwrap();
        keys += page["data"]["items"].as_array().unwrap().len();
        let Some(token) = page["data"]["next_page_token"].as_str() else {
            break;
        };
        path = format!("/api/v1/kv?prefix=m/&limit=1000&page_token={token}");
    }
    assert_eq!(keys, KEYS);
    let only = get(&node, "/api/v1/kv?prefix=m/&keys_only=true").await;
    assert_eq!(only.data()["items"].as_array().unwrap().len(), KEYS);
    node.stop().await;
}

#[test]
fn the_document_says_what_is_answered() {
    let document = serde_json::to_value(chainfire::rest::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let snapshot = &paths["/api/v1/snapshot"]["get"]["responses"]["200"];
    assert_eq!(
        snapshot["content"]["application/octet-stream"]["schema"],
        json!({ "type": "string", "format": "binary" })
    );
    for builtin in ["/health", "/livez", "/readyz", "/metrics"] {
        assert!(paths.contains_key(builtin), "{builtin}");
    }
    let api = paths.iter().filter(|(path, _)| path.starts_with("/api/"));
    for (path, operations) in api {
        for (method, operation) in operations.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key("405"), "{method} {path}");
        }
    }
}

#[test]
fn the_openapi_file_is_what_the_code_says() {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/api/openapi/chainfire.yaml");
    let says = chainfire::rest::openapi().to_yaml().unwrap();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &says).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(says.starts_with("openapi: 3.1"), "not OpenAPI 3.1");
    let document = serde_json::to_value(chainfire::rest::openapi()).unwrap();
    for part in says.split("'#/components/schemas/").skip(1) {
        let name = part.split('\'').next().unwrap();
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name} is referred to and not there"
        );
    }
    assert!(
        kept == says,
        "docs/api/openapi/chainfire.yaml differs from the code: run this test with UPDATE_OPENAPI=1"
    );
}
