//! Requests that are too large, at every door.

use photon_proto::{
    etcdserverpb::{
        PutRequest, RequestOp, TxnRequest, kv_client::KvClient, request_op::Request as Op,
    },
    photon::chainfire::v1::{
        self as native, chain_fire_client::ChainFireClient, txn_op::Op as NativeOp,
    },
};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

use crate::local::Node;

const MIB: usize = 1 << 20;

async fn channel(node: &Node) -> Channel {
    let endpoint = Channel::from_shared(node.grpc()).unwrap();
    endpoint.connect().await.unwrap()
}

fn put(key: usize, bytes: usize) -> PutRequest {
    PutRequest {
        key: format!("k{key}").into(),
        value: vec![b'x'; bytes].into(),
        ..PutRequest::default()
    }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String, Option<String>) {
    let status = outcome.unwrap_err();
    let code = status.metadata().get("photon-error-code");
    let code = code.map(|code| code.to_str().unwrap().to_owned());
    (status.code(), status.message().to_owned(), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn values() {
    let node = Node::alone().await;
    let mut kv = KvClient::new(channel(&node).await);
    kv.put(put(1, MIB)).await.unwrap();
    let (code, text, _) = refused(kv.put(put(1, 3 * MIB / 2)).await);
    assert_eq!(
        (code, &*text),
        (Code::InvalidArgument, "etcdserver: request is too large")
    );
    let (code, text, _) = refused(kv.put(put(1, 3 * MIB)).await);
    assert_eq!(code, Code::ResourceExhausted);
    assert!(
        text.starts_with("grpc: received message larger than max (3145"),
        "{text}"
    );

    let mut client = ChainFireClient::new(channel(&node).await);
    let native = |bytes: usize| native::PutRequest {
        key: "k".to_owned(),
        value: "x".repeat(bytes),
        ..native::PutRequest::default()
    };
    client.put(native(MIB)).await.unwrap();
    for bytes in [3 * MIB / 2, 3 * MIB] {
        let (code, _, name) = refused(client.put(native(bytes)).await);
        assert_eq!(
            (code, name.as_deref()),
            (Code::ResourceExhausted, Some("PAYLOAD_TOO_LARGE")),
            "{bytes}"
        );
    }

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let rest = async |bytes: usize| {
        let request = http
            .post(format!("http://{}/api/v1/kv/k/put", node.rest()))
            .json(&json!({"value": "x".repeat(bytes)}));
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    assert_eq!(rest(MIB - 100).await.0, 200);
    for bytes in [MIB, 3 * MIB / 2, 20 * MIB] {
        let (status, body) = rest(bytes).await;
        assert_eq!(
            (status, body["error"]["code"].as_str()),
            (413, Some("PAYLOAD_TOO_LARGE")),
            "{bytes}"
        );
    }
    let gateway = http
        .post(format!("{}/v3/kv/put", node.grpc()))
        .json(&json!({"key": "aw==", "value": "eHh4".repeat(MIB / 2)}));
    let answer = gateway.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["message"], "etcdserver: request is too large");
    kv.put(put(1, 10)).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions() {
    let node = Node::alone().await;
    let mut kv = KvClient::new(channel(&node).await);
    let txn = |count| TxnRequest {
        success: (0..count)
            .map(|key| RequestOp {
                request: Some(Op::RequestPut(put(key, 1))),
            })
            .collect(),
        ..TxnRequest::default()
    };
    kv.txn(txn(128)).await.unwrap();
    for count in [129, 10_000] {
        let (code, text, _) = refused(kv.txn(txn(count)).await);
        assert_eq!(
            (code, &*text),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request"
            )
        );
    }
    // Nested transactions are counted together: each is small, all of them are not.
    let nest = |count| RequestOp {
        request: Some(Op::RequestTxn(txn(count))),
    };
    let nested = TxnRequest {
        success: vec![nest(129)],
        ..TxnRequest::default()
    };
    let (code, text, _) = refused(kv.txn(nested).await);
    assert_eq!(code, Code::InvalidArgument, "{text}");

    let mut client = ChainFireClient::new(channel(&node).await);
    let native = |count: usize| native::TxnRequest {
        success: (0..count)
            .map(|key| native::TxnOp {
                op: Some(NativeOp::Put(native::PutRequest {
                    key: format!("k{key}"),
                    ..native::PutRequest::default()
                })),
            })
            .collect(),
        ..native::TxnRequest::default()
    };
    client.txn(native(128)).await.unwrap();
    let (code, _, name) = refused(client.txn(native(129)).await);
    assert_eq!(
        (code, name.as_deref()),
        (Code::InvalidArgument, Some("VALIDATION_ERROR"))
    );

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (count, expected) in [(128, 200), (129, 400)] {
        let puts: Vec<_> = (0..count)
            .map(|key| json!({"put": {"key": format!("k{key}"), "value": ""}}))
            .collect();
        let answer = http
            .post(format!("http://{}/api/v1/txn", node.rest()))
            .json(&json!({"success": puts}))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{count}");
    }
    node.stop().await;
}
