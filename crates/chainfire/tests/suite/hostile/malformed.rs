//! Input that is no request: wrong fields, wrong types, wrong bytes, nested without end.

use photon_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, kv_client::KvClient,
    request_op::Request as Op,
};
use photon_testkit::Seed;
use prost::Message as _;
use rand::{Rng as _, RngCore as _};
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

use super::wire;
use crate::local::Node;

async fn channel(node: &Node) -> Channel {
    let endpoint = Channel::from_shared(node.grpc()).unwrap();
    endpoint.connect().await.unwrap()
}

/// Status, code, and the field of validation errors.
async fn post(node: &Node, path: &str, body: impl Into<reqwest::Body>) -> (u16, String, String) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http
        .post(format!("http://{}/api/v1/{path}", node.rest()))
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let error = &body["error"];
    (
        status,
        text(&error["code"]),
        text(&error["details"]["field"]),
    )
}

async fn serves(node: &Node) {
    let answer = post(node, "kv/serves/put", json!({"value": "yes"}).to_string()).await;
    assert_eq!(answer.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_not_asked_for() {
    let node = Node::alone().await;
    for (path, body, field) in [
        ("kv/k/put", json!({"value": "v", "colour": "red"}), "colour"),
        ("kv/k/put", json!({"value": 7}), "value"),
        ("kv/k/put", json!({"value": null}), "value"),
        ("kv/k/put", json!({"value": ["v"]}), "value"),
        ("kv/k/put", json!({}), "value"),
        (
            "kv/k/put",
            json!({"value": "v", "encoding": "rot13"}),
            "encoding",
        ),
        (
            "kv/k/put",
            json!({"value": "%%%", "encoding": "base64"}),
            "value",
        ),
        ("kv/k/put", json!({"value": "v", "lease": "7"}), "lease"),
        ("kv/k/put", json!({"value": "v", "lease": 1e300}), "lease"),
        ("txn", json!({"success": [{"shout": {}}]}), "success[0]"),
        (
            "txn",
            json!({"success": [{"get": {"key": "k", "at": 3}}]}),
            "success[0].get.at",
        ),
        (
            "txn",
            json!({"compare": [{"key": "k", "target": "mood", "value": 1}]}),
            "compare[0].target",
        ),
        ("leases", json!({"ttl_seconds": 0}), "ttl_seconds"),
        ("leases", json!({"ttl_seconds": -1}), "ttl_seconds"),
        ("leases", json!({"ttl_seconds": 1.5}), "ttl_seconds"),
        ("leases", json!({"ttl_seconds": i64::MAX}), "ttl_seconds"),
        ("compact", json!({"revision": true}), "revision"),
        (
            "cluster/members",
            json!({"node_id": -1, "address": "x"}),
            "node_id",
        ),
        ("cluster/leader", json!({"node_id": "one"}), "node_id"),
    ] {
        let (status, code, named) = post(&node, path, body.to_string()).await;
        assert_eq!(
            (status, &*code, &*named),
            (400, "VALIDATION_ERROR", field),
            "{path} {body}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_json() {
    let node = Node::alone().await;
    let nested = |depth: usize| format!("{{\"value\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let bodies: [Vec<u8>; 8] = [
        b"".to_vec(),
        b"{".to_vec(),
        b"[]".to_vec(),
        b"null".to_vec(),
        b"{\"value\":\"\xff\xfe\"}".to_vec(),
        b"{\"value\":\"v\"} trailing".to_vec(),
        nested(100_000).into_bytes(),
        b"{\"value\":\"v\",\"value\":\"w\"}".to_vec(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (status, code, _) = post(&node, "kv/k/put", body).await;
        assert_eq!((status, &*code), (400, "VALIDATION_ERROR"), "{shown}");
    }
    serves(&node).await;
    node.stop().await;
}

/// Paths and heads, as no HTTP library would send them.
#[tokio::test(flavor = "multi_thread")]
async fn paths_and_heads() {
    let node = Node::alone().await;
    let address = node
        .rest()
        .replace("localhost", "127.0.0.1")
        .parse()
        .unwrap();
    let head = |line: &[u8], more: &str| {
        let mut head = line.to_vec();
        head.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        head.extend_from_slice(more.as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    };
    for (request, expected) in [
        (head(b"GET /api/v1/kv/%FF%FE", ""), 400),
        (head(b"GET /api/v1/kv/\xff\xfe", ""), 400),
        (head(b"GET /api/v1/kv/%00", ""), 404),
        (head(b"GET /api/v1/kv?prefix=%FF", ""), 400),
        (head(b"GET /api/v1/kv?prefix", ""), 200),
        (head(b"GET /api/v1/kv?colour=red", ""), 400),
        (head(b"GET /api/v1/kv?prefix=a&prefix=b", ""), 400),
        (head(b"GET /api/v1/kv/%", ""), 400),
        (head(b"GET /api/v1/kv/%zz", ""), 400),
        (head(b"GET /api/v1/leases/zero", ""), 404),
        (head(b"GET /api/v1/leases/99999999999999999999", ""), 404),
        (head(b"DELETE /api/v1/kv/k", ""), 405),
        (head(b"BREW /api/v1/kv/k", ""), 405),
        (head(b"GET /api/v1/../../etc/passwd", ""), 404),
        (head(b"GET /api/v1/kv/k", "Content-Length: nine\r\n"), 400),
        (
            head(
                b"GET /api/v1/kv/k",
                "Content-Length: 3\r\nContent-Length: 4\r\n",
            ),
            400,
        ),
        (
            head(
                b"GET /api/v1/kv/k",
                &format!("X: {}\r\n", "y".repeat(1 << 20)),
            ),
            431,
        ),
        (head(b"GET /api/v1/kv/k", &"X: y\r\n".repeat(1000)), 431),
        (
            head(
                format!("GET /api/v1/kv/{}", "k".repeat(1 << 17)).as_bytes(),
                "",
            ),
            414,
        ),
    ] {
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        let answer = wire::exchange(address, &request).await;
        let text = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        assert_eq!(wire::status_of(&answer), Some(expected), "{shown}: {text}");
    }
    serves(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_enum_values() {
    let node = Node::alone().await;
    let channel = channel(&node).await;
    let mut kv = KvClient::new(channel.clone());
    let put = PutRequest {
        key: "k".into(),
        ..PutRequest::default()
    };
    kv.put(put).await.unwrap();
    for (sort_order, sort_target) in [(99, 0), (1, 99), (-1, 0), (1, -1)] {
        let range = RangeRequest {
            key: "k".into(),
            sort_order,
            sort_target,
            ..RangeRequest::default()
        };
        let error = kv.range(range).await.unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (Code::InvalidArgument, "etcdserver: invalid sort option")
        );
    }
    // As in etcd, a comparison nobody knows is no reason to fail; what matters is that it is answered.
    for (result, target) in [(99, 0), (0, 99), (-5, -5)] {
        let compare = Compare {
            key: "k".into(),
            result,
            target,
            ..Compare::default()
        };
        let txn = TxnRequest {
            compare: vec![compare],
            ..TxnRequest::default()
        };
        match kv.txn(txn).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.code(), Code::InvalidArgument, "{error}"),
        }
    }
    use photon_proto::photon::chainfire::v1 as native;
    let mut client = native::chain_fire_client::ChainFireClient::new(channel);
    let put = native::PutRequest {
        key: "k".to_owned(),
        encoding: 99,
        ..native::PutRequest::default()
    };
    assert_eq!(
        client.put(put).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    for (target, operator) in [(99, 1), (2, 99), (-1, -1)] {
        let compare = native::Compare {
            key: "k".to_owned(),
            target,
            operator,
            ..native::Compare::default()
        };
        let txn = native::TxnRequest {
            compare: vec![compare],
            ..native::TxnRequest::default()
        };
        let error = client.txn(txn).await.unwrap_err();
        assert_eq!(
            error.code(),
            Code::InvalidArgument,
            "{target} {operator}: {error}"
        );
    }
    node.stop().await;
}

/// Transactions within transactions: at some depth no decoder follows. Until there they work; beyond, they are
/// refused before they are in the log, which every member must be able to read.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_nested_without_end() {
    let node = Node::alone().await;
    let mut kv = KvClient::new(channel(&node).await);
    let nested = |depth: usize| {
        let put = PutRequest {
            key: format!("deep{depth}").into(),
            ..PutRequest::default()
        };
        let innermost = TxnRequest {
            success: vec![RequestOp {
                request: Some(Op::RequestPut(put)),
            }],
            ..TxnRequest::default()
        };
        (1..depth).fold(innermost, |inner, _| TxnRequest {
            success: vec![RequestOp {
                request: Some(Op::RequestTxn(inner)),
            }],
            ..TxnRequest::default()
        })
    };
    let mut refused = 0;
    for depth in [1, 2, 10, 33, 34, 40, 45, 46, 47, 48, 49, 50, 51, 60, 200] {
        let written = kv.txn(nested(depth)).await;
        let found = kv
            .range(RangeRequest {
                key: format!("deep{depth}").into(),
                ..RangeRequest::default()
            })
            .await
            .unwrap();
        let there = found.into_inner().kvs.len() == 1;
        assert_eq!(written.is_ok(), there, "{depth}: {written:?}");
        if let Err(error) = written {
            let text = error.message();
            if depth < 45 {
                let expected = "etcdserver: too many operations in txn request";
                assert_eq!(
                    (error.code(), text),
                    (Code::InvalidArgument, expected),
                    "{depth}"
                );
            } else {
                // Beyond some depth not even the request is read.
                let codes = [Code::InvalidArgument, Code::Internal];
                assert!(codes.contains(&error.code()), "{depth}: {error}");
            }
            refused += 1;
        }
    }
    assert_eq!(refused, 11, "33 levels are written, 34 are not");
    // So deep that building it as messages would take more stack than a thread has: by hand.
    let mut message = nested(1).encode_to_vec();
    for _ in 0..5000 {
        message = wire::field(2, &wire::field(4, &message));
    }
    let error = wire::call(channel(&node).await, "/etcdserverpb.KV/Txn", message.into()).await;
    assert_eq!(error.unwrap_err().code(), Code::Internal);
    serves(&node).await;
    node.stop().await;
}

/// Messages that are no messages, at every kind of method.
#[tokio::test(flavor = "multi_thread")]
async fn random_messages() {
    let node = Node::alone().await;
    let channel = channel(&node).await;
    let seed = Seed::for_test("random_messages");
    let mut rng = seed.rng(0);
    let paths = [
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.KV/Put",
        "/etcdserverpb.KV/DeleteRange",
        "/etcdserverpb.KV/Txn",
        "/etcdserverpb.Lease/LeaseGrant",
        "/etcdserverpb.Lease/LeaseTimeToLive",
        "/etcdserverpb.Auth/Authenticate",
        "/etcdserverpb.Maintenance/HashKV",
        "/photon.chainfire.v1.ChainFire/Put",
        "/photon.chainfire.v1.ChainFire/Scan",
        "/photon.chainfire.v1.ChainFire/Txn",
        "/v3electionpb.Election/Leader",
    ];
    let whole = TxnRequest {
        success: vec![RequestOp {
            request: Some(Op::RequestPut(PutRequest {
                key: "k".into(),
                value: "v".into(),
                ..PutRequest::default()
            })),
        }],
        ..TxnRequest::default()
    }
    .encode_to_vec();
    for round in 0..400 {
        let path = paths[round % paths.len()];
        // Noise, or a good message with one byte changed.
        let mut message = whole.clone();
        if rng.random_bool(0.5) {
            message = vec![0; rng.random_range(0..200)];
            rng.fill_bytes(&mut message);
        } else {
            let at = rng.random_range(0..message.len());
            message[at] = rng.random();
        }
        if let Err(error) = wire::call(channel.clone(), path, message.into()).await {
            // etcd gives this one no code.
            let known = error.message() == "election: no leader";
            let bad = [Code::Unknown, Code::DataLoss, Code::Unavailable];
            assert!(known || !bad.contains(&error.code()), "{path}: {error}");
        }
    }
    // Text that is not UTF-8, where the native API has text.
    let bad = PutRequest {
        key: vec![0xff, 0xfe].into(),
        value: "v".into(),
        ..PutRequest::default()
    };
    let path = "/photon.chainfire.v1.ChainFire/Put";
    let error = wire::call(channel, path, bad.encode_to_vec().into()).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error.code(), Code::Internal | Code::InvalidArgument),
        "{error}"
    );
    serves(&node).await;
    node.stop().await;
}
