//! etcd's JSON gateway: the same bodies sent to ChainFire and to Debian's etcd give the same answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use chainfire::{
    config::{Config, PeerTlsFiles},
    run::{self, Running, Sockets},
};
use futures::StreamExt as _;
use photon_server::{Mode, TlsConfig};
use photon_testkit::{EtcdProcess, TestPki, pki::Files, poll::eventually_true};
use reqwest::{Client, Response, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::local::{Node, PATIENCE};

/// A gateway and a connection to it.
struct Gateway {
    base: String,
    http: Client,
    token: Option<String>,
}

impl Gateway {
    fn at(base: impl Into<String>) -> Self {
        let http = Client::builder().timeout(PATIENCE).build().unwrap();
        Self {
            base: base.into(),
            http,
            token: None,
        }
    }

    async fn send(&self, path: &str, body: &str) -> Response {
        let mut request = self.http.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// Status and JSON of a unary call.
    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let response = self.send(path, body).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text);
        (
            status,
            json.unwrap_or_else(|_| panic!("{path} {body}: no JSON: {text}")),
        )
    }

    /// The first lines of a streaming call.
    async fn lines(&self, path: &str, body: &str, count: usize) -> Vec<Value> {
        let mut lines = Lines::of(self.send(path, body).await);
        let mut all = Vec::new();
        while all.len() < count {
            all.push(lines.next().await.expect("the stream ended early"));
        }
        all
    }
}

/// A streaming answer, line by line.
struct Lines {
    response: Response,
    text: String,
}

impl Lines {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self {
            response,
            text: String::new(),
        }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let value = serde_json::from_str(line).unwrap();
                self.text = rest.to_owned();
                return Some(value);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk());
            let chunk = chunk.await.expect("nothing came").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// Removes what differs between any two clusters: ids, terms, the revision of answers that do not depend on it.
fn normal(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            if let Some(header) = fields.get_mut("header").and_then(Value::as_object_mut) {
                for field in ["cluster_id", "member_id", "raft_term"] {
                    // Answers inside of a transaction have none.
                    let text = header.remove(field).unwrap_or_else(|| json!("0"));
                    assert!(text.as_str().unwrap().parse::<u64>().is_ok(), "{text}");
                }
            }
            for (_, field) in fields.iter_mut() {
                *field = normal(field.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = normal(item.take());
            }
        }
        _ => {}
    }
    value
}

/// etcd 3.4 answers a failed precondition with 412; 3.6, whose status codes these are, with 400.
fn as_in_3_6((status, body): (u16, Value)) -> (u16, Value) {
    let failed_precondition = body["code"] == 9;
    (if failed_precondition { 400 } else { status }, body)
}

/// `foo`, `bar`, `a`, `b` in base64.
const SAME_ANSWERS: &[(&str, &str)] = &[
    ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
    (
        "/v3/kv/put",
        r#"{"key":"Zm9v","value":"YmFy","prev_kv":true}"#,
    ),
    (
        "/v3/kv/put",
        r#"{"key":"Zm9v","value":"YmFy","prevKv":true}"#,
    ),
    ("/v3/kv/put", r#"{"key":"Zm9v","unheard_of":1}"#),
    ("/v3/kv/put", ""),
    ("/v3/kv/put", r#"{"key":"Zm9v","lease":7}"#),
    ("/v3/kv/put", r#"{"key":"Zm9v","lease":"7"}"#),
    (
        "/v3/kv/put",
        r#"{"key":"Zm9v","ignore_value":true,"value":"YQ=="}"#,
    ),
    ("/v3/kv/range", r#"{"key":"Zm9v"}"#),
    (
        "/v3/kv/range",
        r#"{"key":"Zm9v","sort_order":"DESCEND","sort_target":2}"#,
    ),
    (
        "/v3/kv/range",
        r#"{"key":"Zm9v","revision":"3","serializable":true}"#,
    ),
    ("/v3/kv/range", r#"{"key":"Zm9v","revision":"99"}"#),
    (
        "/v3/kv/range",
        r#"{"key":"Zm9v","revision":null,"countOnly":true}"#,
    ),
    (
        "/v3/kv/range",
        r#"{"key":"AA==","range_end":"AA==","limit":"1","keys_only":true}"#,
    ),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"result":"EQUAL","target":"CREATE","key":"Zm9v","createRevision":"2"}],
            "success":[{"requestPut":{"key":"YQ==","value":"Yg=="}},{"request_range":{"key":"YQ=="}}],
            "failure":[{"request_delete_range":{"key":"YQ==","prev_kv":true}}]}"#,
    ),
    (
        "/v3/kv/txn",
        r#"{"compare":[{"target":"VALUE","key":"YQ==","value":"bm8="}],
            "failure":[{"requestTxn":{"success":[{"requestRange":{"key":"Zm9v"}}]}}]}"#,
    ),
    (
        "/v3/kv/txn",
        r#"{"success":[{"requestPut":{"key":"YQ=="}},{"requestPut":{"key":"YQ=="}}]}"#,
    ),
    ("/v3/kv/txn", r#"{}"#),
    ("/v3/kv/deleterange", r#"{"key":"YQ==","prev_kv":true}"#),
    ("/v3/kv/deleterange", r#"{"key":"YQ=="}"#),
    ("/v3/kv/compaction", r#"{"revision":"3","physical":true}"#),
    ("/v3/kv/compaction", r#"{"revision":2}"#),
    ("/v3/kv/range", r#"{"key":"Zm9v","revision":2}"#),
    ("/v3/lease/grant", r#"{"TTL":"600","ID":"7"}"#),
    ("/v3/lease/grant", r#"{"TTL":600,"ID":7}"#),
    ("/v3/kv/put", r#"{"key":"bGVhc2Vk","lease":7}"#),
    ("/v3/lease/keepalive", r#"{"ID":7}"#),
    ("/v3/lease/keepalive", r#"{"ID":8}"#),
    ("/v3/kv/lease/timetolive", r#"{"ID":9}"#),
    ("/v3/lease/timetolive", r#"{"ID":"9"}"#),
    ("/v3/lease/leases", "{}"),
    ("/v3/kv/lease/leases", ""),
    ("/v3/lock/lock", r#"{"name":"bA==","lease":7}"#),
    ("/v3/lock/lock", r#"{"name":"bA==","lease":5}"#),
    ("/v3/lock/unlock", r#"{"key":"bC83"}"#),
    ("/v3/lock/unlock", r#"{"key":"bm9uZQ=="}"#),
    ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    (
        "/v3/election/campaign",
        r#"{"name":"ZQ==","value":"dg==","lease":"7"}"#,
    ),
    ("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    ("/v3/election/proclaim", r#"{"value":"dg=="}"#),
    (
        "/v3/election/proclaim",
        r#"{"leader":{"name":"ZQ==","key":"eA==","rev":"3","lease":"4"},"value":"dg=="}"#,
    ),
    (
        "/v3/election/resign",
        r#"{"leader":{"name":"ZQ==","key":"eA==","rev":"3","lease":"4"}}"#,
    ),
    ("/v3/lease/revoke", r#"{"ID":9}"#),
    ("/v3/kv/lease/revoke", r#"{"ID":"7"}"#),
    ("/v3/cluster/member/remove", r#"{"ID":"5"}"#),
    ("/v3/maintenance/transfer-leadership", r#"{"targetID":"5"}"#),
    ("/v3/auth/enable", "{}"),
    ("/v3/auth/authenticate", r#"{"name":"a","password":"b"}"#),
    ("/v3/auth/role/add", r#"{"name":"r"}"#),
    ("/v3/auth/role/add", r#"{"name":"r"}"#),
    (
        "/v3/auth/role/grant",
        r#"{"name":"r","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}"#,
    ),
    (
        "/v3/auth/role/grant",
        r#"{"name":"r","perm":{"permType":0,"key":"eA=="}}"#,
    ),
    ("/v3/auth/role/get", r#"{"role":"r"}"#),
    ("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#),
    ("/v3/auth/user/add", r#"{"name":"u","password":"pw"}"#),
    ("/v3/auth/user/grant", r#"{"user":"u","role":"r"}"#),
    ("/v3/auth/user/grant", r#"{"user":"nobody","role":"r"}"#),
    ("/v3/auth/user/get", r#"{"name":"u"}"#),
    ("/v3/auth/user/list", "{}"),
    ("/v3/auth/role/list", "{}"),
    ("/v3/auth/role/revoke", r#"{"role":"r","key":"eA=="}"#),
    ("/v3/auth/role/add", r#"{"name":"root"}"#),
    ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bodies_get_etcds_answers() {
    let etcd = EtcdProcess::start().await.unwrap();
    let node = Node::alone().await;
    let (theirs, ours) = (Gateway::at(etcd.endpoint()), Gateway::at(node.grpc()));
    for (path, body) in SAME_ANSWERS {
        let (expected, got) = (theirs.post(path, body).await, ours.post(path, body).await);
        let expected = as_in_3_6(expected);
        let (expected, got) = ((expected.0, normal(expected.1)), (got.0, normal(got.1)));
        assert_eq!(got, expected, "{path} {body}");
    }
    node.stop().await;
}

/// The texts are the parsers' own; the rest of the answer is etcd's.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_messages_are_refused_as_by_etcd() {
    let etcd = EtcdProcess::start().await.unwrap();
    let node = Node::alone().await;
    let (theirs, ours) = (Gateway::at(etcd.endpoint()), Gateway::at(node.grpc()));
    for (path, body) in [
        ("/v3/kv/put", "{"),
        ("/v3/kv/put", "[]"),
        ("/v3/kv/put", r#"{"key":5}"#),
        ("/v3/kv/put", r#"{"key":"%%"}"#),
        ("/v3/kv/put", r#"{"key":"Zm9v","lease":"x"}"#),
        ("/v3/kv/range", r#"{"key":"Zm9v","sort_order":"NOPE"}"#),
    ] {
        let (expected, got) = (theirs.post(path, body).await, ours.post(path, body).await);
        assert_eq!(
            (got.0, &got.1["code"]),
            (expected.0, &expected.1["code"]),
            "{path} {body}"
        );
        assert_eq!((got.0, &got.1["code"]), (400, &json!(3)), "{path} {body}");
        assert_eq!(got.1["error"], got.1["message"]);
        assert_ne!(got.1["message"], "");
    }
    // etcd 3.4 says 500 here, without an offence of its own.
    let (status, refused) = ours.post("/v3/watch", "{").await;
    assert_eq!((status, &refused["code"]), (400, &json!(3)), "{refused}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_etcds() {
    let etcd = EtcdProcess::start().await.unwrap();
    let node = Node::alone().await;
    let mut told = Vec::new();
    for gateway in [Gateway::at(etcd.endpoint()), Gateway::at(node.grpc())] {
        for value in ["YQ==", "Yg=="] {
            let put = format!(r#"{{"key":"Zm9v","value":"{value}"}}"#);
            gateway.post("/v3/kv/put", &put).await;
        }
        gateway
            .post("/v3/kv/deleterange", r#"{"key":"Zm9v"}"#)
            .await;
        let create = r#"{"create_request":{"key":"Zm9v","start_revision":"2","prev_kv":true}}"#;
        let mut lines = gateway.lines("/v3/watch", create, 2).await;
        let twice = r#"{"create_request":{"key":"Zm9v","watch_id":"5"}}
                       {"create_request":{"key":"Zm9v","watchId":5}}"#;
        lines.extend(gateway.lines("/v3/watch", twice, 2).await);
        gateway
            .post("/v3/lease/grant", r#"{"TTL":600,"ID":7}"#)
            .await;
        let campaign = r#"{"name":"ZQ==","value":"dg==","lease":"7"}"#;
        gateway.post("/v3/election/campaign", campaign).await;
        lines.extend(
            gateway
                .lines("/v3/election/observe", r#"{"name":"ZQ=="}"#, 1)
                .await,
        );
        lines.extend(
            gateway
                .lines("/v3/lease/keepalive", r#"{"ID":7}{"ID":8}"#, 2)
                .await,
        );
        told.push(lines.into_iter().map(normal).collect::<Vec<_>>());
    }
    assert_eq!(told[1], told[0]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_talks_and_listens_at_once() {
    let node = Node::alone().await;
    let gateway = Gateway::at(node.grpc());
    let (say, said) = futures::channel::mpsc::unbounded::<Result<&str, std::io::Error>>();
    say.unbounded_send(Ok(r#"{"create_request":{"key":"aw=="}}"#))
        .unwrap();
    let url = format!("{}/v3/watch", gateway.base);
    let body = reqwest::Body::wrap_stream(said.map(|part| part));
    let response = gateway.http.post(url).body(body).send().await.unwrap();
    let mut lines = Lines::of(response);
    assert_eq!(lines.next().await.unwrap()["result"]["created"], true);
    gateway
        .post("/v3/kv/put", r#"{"key":"aw==","value":"dg=="}"#)
        .await;
    let event = lines.next().await.unwrap();
    assert_eq!(
        event["result"]["events"][0]["kv"]["value"], "dg==",
        "{event}"
    );
    say.unbounded_send(Ok(r#"{"cancel_"#)).unwrap();
    say.unbounded_send(Ok(r#"request":{"watch_id":0}}"#))
        .unwrap();
    assert_eq!(lines.next().await.unwrap()["result"]["canceled"], true);
    // What is no message ends the conversation, and says why.
    say.unbounded_send(Ok("nonsense")).unwrap();
    let last = lines.next().await.unwrap();
    assert_eq!(last["error"]["http_code"], 400, "{last}");
    assert_eq!(lines.next().await, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_count() {
    let etcd = EtcdProcess::start().await.unwrap();
    let node = Node::alone().await;
    let mut told = Vec::new();
    for mut gateway in [Gateway::at(etcd.endpoint()), Gateway::at(node.grpc())] {
        for (path, body) in [
            ("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#),
            ("/v3/auth/role/add", r#"{"name":"root"}"#),
            ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
            ("/v3/auth/user/add", r#"{"name":"ann","password":"pw"}"#),
            ("/v3/auth/enable", "{}"),
        ] {
            let (status, answer) = gateway.post(path, body).await;
            assert!(status == 200, "{path} {body}: {answer}");
        }
        let mut answers = Vec::new();
        let mut login = async |name: &str, password: &str| {
            let login = json!({"name": name, "password": password}).to_string();
            let (status, mut answer) = gateway.post("/v3/auth/authenticate", &login).await;
            let token = answer.as_object_mut().unwrap().remove("token");
            answers.push((status, normal(answer)));
            token.map(|token| token.as_str().unwrap().to_owned())
        };
        assert_eq!(login("ann", "wrong").await, None);
        let (ann, root) = (login("ann", "pw").await, login("root", "pw").await);
        for token in [None, Some("made.1".to_owned()), ann, root] {
            gateway.token = token;
            for (path, body) in [
                ("/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#),
                ("/v3/kv/range", r#"{"key":"Zm9v"}"#),
                ("/v3/auth/user/list", "{}"),
            ] {
                let (status, answer) = gateway.post(path, body).await;
                answers.push((status, normal(answer)));
            }
        }
        told.push(answers);
    }
    assert_eq!(told[1], told[0]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_leaves_the_line() {
    let node = Node::alone().await;
    let gateway = Gateway::at(node.grpc());
    let count = async || {
        let range = r#"{"key":"bC8=","range_end":"bDA=","count_only":true}"#;
        gateway.post("/v3/kv/range", range).await.1["count"].clone()
    };
    gateway.post("/v3/lock/lock", r#"{"name":"bA=="}"#).await;
    for waiter in [
        // Over a connection of its own, which closes with it.
        Gateway::at(node.grpc()),
    ] {
        let waiting =
            tokio::spawn(async move { waiter.post("/v3/lock/lock", r#"{"name":"bA=="}"#).await });
        eventually_true("it stands in line", PATIENCE, || async {
            count().await == "2"
        })
        .await
        .unwrap();
        waiting.abort();
        eventually_true("it left the line", PATIENCE, || async {
            count().await == "1"
        })
        .await
        .unwrap();
    }
    node.stop().await;
}

/// The first line of the answer to a request that declares a body of this length and does not send it.
async fn declared(node: &Node, length: usize) -> String {
    let address = node.grpc().replace("http://", "");
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head =
        format!("POST /v3/kv/put HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(connection).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line());
    line.await.expect("no answer").unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn doors_rules_hold() {
    let node = Node::alone().await;
    let gateway = Gateway::at(node.grpc());
    // Another site's page in the developer's browser.
    let foreign = gateway
        .http
        .post(format!("{}/v3/kv/put", gateway.base))
        .header("origin", "https://evil.example")
        .body(r#"{"key":"Zm9v"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);
    assert_eq!(foreign.json::<Value>().await.unwrap()["code"], 7);
    assert_eq!(
        declared(&node, 8 << 20).await,
        "HTTP/1.1 413 Payload Too Large"
    );
    let get = gateway.http.get(format!("{}/v3/kv/put", gateway.base));
    assert_eq!(get.send().await.unwrap().status(), 405);
    let nothing = gateway.send("/v3/kv/nothing", "{}").await;
    assert_eq!(nothing.status(), 404);
    let (status, answer) = gateway.post("/v3/maintenance/status", "{}").await;
    assert_eq!((status, &answer["leader"]), (200, &json!("1")));
    // A stream that nobody reads does not hold up the end.
    let _unread = gateway
        .send("/v3/watch", r#"{"create_request":{"key":"Zm9v"}}"#)
        .await;
    tokio::time::timeout(PATIENCE + Duration::from_secs(1), node.stop())
        .await
        .expect("the stop");
}

/// A client over TLS, with this certificate if one is given.
fn with_certificate(node: &Running, files: &Files, show: bool) -> Gateway {
    let authority = std::fs::read(&files.authority).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let mut http = Client::builder()
        .timeout(PATIENCE)
        .tls_certs_only([authority]);
    if show {
        let mut identity = std::fs::read(&files.certificate).unwrap();
        identity.extend(std::fs::read(&files.key).unwrap());
        http = http.identity(reqwest::Identity::from_pem(&identity).unwrap());
    }
    Gateway {
        base: format!("https://{}", node.grpc_address()),
        http: http.build().unwrap(),
        token: None,
    }
}

/// A certificate lets a connection in; on the gateway it names nobody, as in etcd.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_name_nobody() {
    let pki = TestPki::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path().join("data"));
    config.auth.mode = Mode::Enforce;
    let server = pki.peer("node-1", &["127.0.0.1".parse().unwrap()]).unwrap();
    for listener in [&mut config.rest, &mut config.grpc] {
        listener.address.set_port(0);
        listener.tls = Some(TlsConfig {
            certificate: server.certificate.clone(),
            key: server.key.clone(),
            client_ca: Some(server.authority.clone()),
            require_client_certificate: false,
        });
    }
    config.peer.address.set_port(0);
    config.peer.tls = Some(PeerTlsFiles {
        certificate: server.certificate,
        key: server.key,
        ca: server.authority,
        peer_name: None,
    });
    let node = run::start(config, Sockets::default()).await.unwrap();
    let files = pki.client("root").unwrap();
    let mut root = with_certificate(&node, &files, true);
    let nobody = with_certificate(&node, &files, false);
    let put = ("/v3/kv/put", r#"{"key":"Zm9v"}"#);
    let empty = json!("etcdserver: user name is empty");

    // Authentication is off: whoever has a certificate may do everything, and nobody else anything.
    assert_eq!(root.post(put.0, put.1).await.0, 200);
    let (status, refused) = nobody.post(put.0, put.1).await;
    assert_eq!((status, &refused["message"]), (400, &empty));
    for (path, body) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        let (status, answer) = root.post(path, body).await;
        assert!(status == 200, "{path} {body}: {answer}");
    }

    for path in ["/v3/kv/put", "/v3/auth/user/list", "/v3/lock/lock"] {
        let (status, refused) = root.post(path, put.1).await;
        assert_eq!((status, &refused["message"]), (400, &empty), "{path}");
    }
    let login = r#"{"name":"root","password":"pw"}"#;
    let (_, answer) = root.post("/v3/auth/authenticate", login).await;
    root.token = Some(answer["token"].as_str().unwrap().to_owned());
    assert_eq!(root.post(put.0, put.1).await.0, 200);
    let lock = r#"{"name":"bA=="}"#;
    assert_eq!(root.post("/v3/lock/lock", lock).await.0, 200);
    node.stop().await;
}
