//! Revisions that are not yet, not any more, or never: each door's documented answer.

use photon_proto::{
    etcdserverpb::{
        CompactionRequest, PutRequest, RangeRequest, WatchCreateRequest, WatchRequest,
        kv_client::KvClient, watch_client::WatchClient, watch_request::RequestUnion,
    },
    photon::chainfire::v1::{
        CompactRequest, GetWithRequest, ScanRequest, WatchRequest as NativeWatch,
        chain_fire_client::ChainFireClient,
    },
};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

use crate::local::Node;

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

/// Far from any revision a test reaches.
const FAR: i64 = 1 << 60;

struct Doors {
    node: Node,
    kv: KvClient<Channel>,
    native: ChainFireClient<Channel>,
    http: reqwest::Client,
}

/// Ten revisions, compacted at 6.
async fn doors() -> Doors {
    let node = Node::alone().await;
    let endpoint = Channel::from_shared(node.grpc()).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut kv = KvClient::new(channel.clone());
    for _ in 0..9 {
        let put = PutRequest {
            key: "k".into(),
            ..PutRequest::default()
        };
        kv.put(put).await.unwrap();
    }
    let compact = CompactionRequest {
        revision: 6,
        ..CompactionRequest::default()
    };
    kv.compact(compact).await.unwrap();
    Doors {
        node,
        kv,
        native: ChainFireClient::new(channel),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    }
}

impl Doors {
    /// Status, code, and the field of validation errors.
    async fn rest(&self, path: &str) -> (u16, String, String) {
        let url = format!("http://{}/api/v1/{path}", self.node.rest());
        said(self.http.get(url).send().await.unwrap()).await
    }

    async fn gateway(&self, path: &str, body: Value) -> (u16, i64, String) {
        let url = format!("{}/v3/{path}", self.node.grpc());
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        let code = body["code"].as_i64().unwrap_or(0);
        (
            status,
            code,
            body["message"].as_str().unwrap_or("").to_owned(),
        )
    }
}

async fn said(answer: reqwest::Response) -> (u16, String, String) {
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

fn etcds<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn natives<T: std::fmt::Debug>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    let name = status.metadata().get("photon-error-code").unwrap();
    (status.code(), name.to_str().unwrap().to_owned())
}

fn at(revision: i64) -> RangeRequest {
    RangeRequest {
        key: "k".into(),
        revision,
        ..RangeRequest::default()
    }
}

fn native_at(revision: i64) -> GetWithRequest {
    GetWithRequest {
        key: "k".to_owned(),
        revision,
        ..GetWithRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted() {
    let mut doors = doors().await;
    let (kv, native) = (&mut doors.kv.clone(), &mut doors.native);
    let out = (Code::OutOfRange, COMPACTED.to_owned());
    assert_eq!(etcds(kv.range(at(5)).await), out);
    let again = CompactionRequest {
        revision: 6,
        ..CompactionRequest::default()
    };
    assert_eq!(etcds(kv.compact(again).await), out);
    let name = (Code::OutOfRange, "COMPACTED".to_owned());
    assert_eq!(natives(native.get_with(native_at(5)).await), name);
    let scan = ScanRequest {
        prefix: "k".to_owned(),
        revision: 5,
        ..ScanRequest::default()
    };
    assert_eq!(natives(native.scan(scan).await), name);
    let gone = (410, "COMPACTED".to_owned(), String::new());
    assert_eq!(doors.rest("kv/k?revision=5").await, gone);
    assert_eq!(doors.rest("kv?prefix=k&revision=5").await, gone);
    assert_eq!(
        doors
            .gateway("kv/range", json!({"key": "aw==", "revision": 5}))
            .await,
        (400, 11, COMPACTED.to_owned())
    );
    // What was not compacted is there.
    kv.range(at(6)).await.unwrap();

    let mut watches = WatchClient::new(doors.channel().await);
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "k".into(),
            start_revision: 3,
            ..WatchCreateRequest::default()
        })),
    };
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::iter([create]), tokio_stream::pending());
    let mut answers = watches.watch(requests).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    let ended = answers.message().await.unwrap().unwrap();
    assert_eq!((ended.canceled, ended.compact_revision), (true, 6));
    let watch = NativeWatch {
        key: "k".to_owned(),
        from_revision: 3,
        ..NativeWatch::default()
    };
    // Our own doors refuse it before anything is streamed.
    let refused = doors.native.watch(watch).await.map(|_| ());
    assert_eq!(natives(refused), name);
    assert_eq!(doors.rest("watch?key=k&from_revision=3").await, gone);
    doors.node.stop().await;
}

impl Doors {
    async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(self.node.grpc()).unwrap();
        endpoint.connect().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn future() {
    let mut doors = doors().await;
    let (kv, native) = (&mut doors.kv.clone(), &mut doors.native);
    let out = (Code::OutOfRange, FUTURE.to_owned());
    let invalid = (Code::InvalidArgument, "VALIDATION_ERROR".to_owned());
    for revision in [11, FAR, i64::MAX] {
        assert_eq!(etcds(kv.range(at(revision)).await), out);
        let compact = CompactionRequest {
            revision,
            ..CompactionRequest::default()
        };
        assert_eq!(etcds(kv.compact(compact).await), out);
        assert_eq!(natives(native.get_with(native_at(revision)).await), invalid);
        let compact = CompactRequest {
            revision,
            ..CompactRequest::default()
        };
        assert_eq!(natives(native.compact(compact).await), invalid);
    }
    let field = (400, "VALIDATION_ERROR".to_owned(), "revision".to_owned());
    for revision in [11, FAR, i64::MAX] {
        assert_eq!(
            doors.rest(&format!("kv/k?revision={revision}")).await,
            field
        );
        assert_eq!(
            doors
                .rest(&format!("kv?prefix=k&revision={revision}"))
                .await,
            field
        );
        let body = json!({"key": "aw==", "revision": revision.to_string()});
        assert_eq!(
            doors.gateway("kv/range", body).await,
            (400, 11, FUTURE.to_owned())
        );
    }
    doors.node.stop().await;
}

/// Our own doors refuse what cannot be meant; etcd reads a negative revision or limit as none.
#[tokio::test(flavor = "multi_thread")]
async fn negative() {
    let mut doors = doors().await;
    let (kv, native) = (&mut doors.kv.clone(), &mut doors.native);
    let negative = RangeRequest {
        limit: -1,
        ..at(-7)
    };
    assert_eq!(kv.range(negative).await.unwrap().into_inner().kvs.len(), 1);
    let compact = CompactionRequest {
        revision: -1,
        ..CompactionRequest::default()
    };
    assert_eq!(etcds(kv.compact(compact).await).0, Code::OutOfRange);
    let invalid = (Code::InvalidArgument, "VALIDATION_ERROR".to_owned());
    assert_eq!(natives(native.get_with(native_at(-1)).await), invalid);
    let scan = ScanRequest {
        prefix: "k".to_owned(),
        ..ScanRequest::default()
    };
    let limit = ScanRequest {
        limit: -1,
        ..scan.clone()
    };
    assert_eq!(natives(native.scan(limit).await), invalid);
    let revision = ScanRequest {
        revision: -1,
        ..scan
    };
    assert_eq!(natives(native.scan(revision).await), invalid);
    let compact = CompactRequest {
        revision: -1,
        ..CompactRequest::default()
    };
    assert_eq!(natives(native.compact(compact).await), invalid);
    let watch = NativeWatch {
        from_revision: -1,
        ..NativeWatch::default()
    };
    assert_eq!(natives(native.watch(watch).await), invalid);
    for (path, field) in [
        ("kv/k?revision=-1", "revision"),
        ("kv?prefix=k&revision=-1", "revision"),
        ("kv?prefix=k&limit=-1", "limit"),
        ("kv?prefix=k&limit=0", "limit"),
        ("kv?prefix=k&limit=10001", "limit"),
        ("kv/k?revision=9223372036854775808", "revision"),
        ("watch?from_revision=-1", "from_revision"),
    ] {
        let expected = (400, "VALIDATION_ERROR".to_owned(), field.to_owned());
        assert_eq!(doors.rest(path).await, expected, "{path}");
    }
    doors.node.stop().await;
}
