//! Range, put, delete, transactions, compaction, limits.

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp,
};
use photon_proto::etcdserverpb::{PutRequest, RangeRequest, kv_client::KvClient};
use tonic::Code;

use super::{node::Node, refused};

#[tokio::test]
async fn headers_revisions_and_versions_are_etcds() {
    let node = Node::start().await;
    let mut client = node.client().await;

    let empty = client.get("a", None).await.unwrap();
    let header = empty.header().unwrap();
    assert_eq!(header.revision(), 1, "an empty store is at revision 1");
    assert_eq!(header.member_id(), 1);
    assert!(header.cluster_id() > 0 && header.cluster_id() < 1 << 53);
    assert!(header.raft_term() > 0);

    let put = client.put("a", "1", None).await.unwrap();
    assert_eq!(put.header().unwrap().revision(), 2);
    let options = PutOptions::new().with_prev_key();
    let put = client.put("a", "2", Some(options)).await.unwrap();
    assert_eq!(put.prev_key().unwrap().value(), b"1");

    let got = client.get("a", None).await.unwrap();
    let kv = &got.kvs()[0];
    assert_eq!(
        (kv.create_revision(), kv.mod_revision(), kv.version()),
        (2, 3, 2)
    );

    let deleted = client.delete("a", None).await.unwrap();
    assert_eq!(
        (deleted.deleted(), deleted.header().unwrap().revision()),
        (1, 4)
    );
    let nothing = client.delete("a", None).await.unwrap();
    assert_eq!(
        (nothing.deleted(), nothing.header().unwrap().revision()),
        (0, 4),
        "what changes nothing takes no revision"
    );
    let put = client.put("a", "3", None).await.unwrap();
    assert_eq!(put.header().unwrap().revision(), 5);
    let old = client
        .get("a", Some(GetOptions::new().with_revision(3)))
        .await
        .unwrap();
    assert_eq!(old.kvs()[0].value(), b"2");
    assert_eq!(
        old.header().unwrap().revision(),
        5,
        "the header says the present revision"
    );
    node.stop().await;
}

#[tokio::test]
async fn ranges_with_options() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for (key, value) in [("k/1", "c"), ("k/2", "b"), ("k/3", "a"), ("l", "x")] {
        client.put(key, value, None).await.unwrap();
    }
    let prefix = || GetOptions::new().with_prefix();
    let all = client.get("k/", Some(prefix())).await.unwrap();
    assert_eq!((all.count(), all.kvs().len(), all.more()), (3, 3, false));
    let limited = client
        .get("k/", Some(prefix().with_limit(2)))
        .await
        .unwrap();
    assert_eq!(
        (limited.count(), limited.kvs().len(), limited.more()),
        (3, 2, true)
    );
    let by_value = prefix().with_sort(SortTarget::Value, SortOrder::Ascend);
    let sorted = client.get("k/", Some(by_value)).await.unwrap();
    assert_eq!(sorted.kvs()[0].key(), b"k/3");
    let counted = client
        .get("k/", Some(prefix().with_count_only()))
        .await
        .unwrap();
    assert_eq!((counted.count(), counted.kvs().len()), (3, 0));
    let local = client
        .get("k/", Some(prefix().with_serializable()))
        .await
        .unwrap();
    assert_eq!(local.count(), 3);
    let everything = client
        .get("", Some(GetOptions::new().with_all_keys()))
        .await
        .unwrap();
    assert_eq!(everything.count(), 4);
    // Enough rows to be read away from the request threads.
    for i in 0..300 {
        client.put(format!("m/{i:03}"), "v", None).await.unwrap();
    }
    let many = client.get("m/", Some(prefix())).await.unwrap();
    assert_eq!(many.kvs().len(), 300);
    let gone = client
        .delete("m/", Some(DeleteOptions::new().with_prefix()))
        .await
        .unwrap();
    assert_eq!(gone.deleted(), 300);
    node.stop().await;
}

#[tokio::test]
async fn refusals_have_etcds_codes_and_texts() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.put("a", "1", None).await.unwrap();
    client.put("a", "2", None).await.unwrap();
    client.put("a", "3", None).await.unwrap();
    client.compact(3, None).await.unwrap();

    let at = |revision| Some(GetOptions::new().with_revision(revision));
    let invalid = |text: &str| (Code::InvalidArgument, format!("etcdserver: {text}"));
    let range = |text: &str| (Code::OutOfRange, format!("etcdserver: mvcc: {text}"));
    assert_eq!(
        refused(client.get("", None).await),
        invalid("key is not provided")
    );
    assert_eq!(
        refused(client.put("", "", None).await),
        invalid("key is not provided")
    );
    assert_eq!(
        refused(client.get("a", at(99)).await),
        range("required revision is a future revision")
    );
    assert_eq!(
        refused(client.get("a", at(2)).await),
        range("required revision has been compacted")
    );
    client.get("a", at(3)).await.unwrap();
    assert_eq!(
        refused(client.compact(3, None).await),
        range("required revision has been compacted")
    );
    assert_eq!(
        refused(client.compact(99, None).await),
        range("required revision is a future revision")
    );
    let keep = PutOptions::new().with_ignore_value();
    assert_eq!(
        refused(client.put("none", "", Some(keep)).await),
        invalid("key not found")
    );
    let leased = PutOptions::new().with_lease(12345);
    assert_eq!(
        refused(client.put("a", "", Some(leased)).await),
        (
            Code::NotFound,
            "etcdserver: requested lease not found".to_owned()
        )
    );
    let twice = Txn::new().and_then([TxnOp::put("x", "", None), TxnOp::put("x", "", None)]);
    assert_eq!(
        refused(client.txn(twice).await),
        invalid("duplicate key given in txn request")
    );
    let many: Vec<_> = (0..129)
        .map(|i| TxnOp::put(format!("{i}"), "", None))
        .collect();
    assert_eq!(
        refused(client.txn(Txn::new().and_then(many)).await),
        invalid("too many operations in txn request")
    );
    node.stop().await;
}

#[tokio::test]
async fn requests_that_are_too_large() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let fits = vec![b'x'; (1536 << 10) - 512];
    client.put("big", fits.clone(), None).await.unwrap();
    let got = client.get("big", None).await.unwrap();
    assert_eq!(got.kvs()[0].value(), fits);
    assert_eq!(
        refused(client.put("big", vec![b'x'; 1537 << 10], None).await),
        (
            Code::InvalidArgument,
            "etcdserver: request is too large".to_owned()
        )
    );
    // Beyond what gRPC takes in: refused before it is read into memory.
    let (code, _) = refused(client.put("big", vec![b'x'; 4 << 20], None).await);
    assert!(
        matches!(code, Code::OutOfRange | Code::ResourceExhausted),
        "{code:?}"
    );
    // The connection survives.
    client.put("small", "x", None).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn transactions_compare_before_they_act() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let create = |value: &str| {
        Txn::new()
            .when([Compare::version("k", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("k", value, None)])
            .or_else([TxnOp::get("k", None)])
    };
    assert!(client.txn(create("1")).await.unwrap().succeeded());
    let second = client.txn(create("2")).await.unwrap();
    assert!(!second.succeeded());
    assert_eq!(second.op_responses().len(), 1);
    assert_eq!(
        second.header().unwrap().revision(),
        2,
        "the branch that only read took no revision"
    );
    let nested = Txn::new().and_then([
        TxnOp::put("n", "1", None),
        TxnOp::txn(
            Txn::new()
                .when([Compare::version("n", CompareOp::Equal, 0)])
                .and_then([TxnOp::put("m", "then", None)])
                .or_else([TxnOp::put("m", "else", None)]),
        ),
    ]);
    client.txn(nested).await.unwrap();
    let got = client.get("m", None).await.unwrap();
    assert_eq!(
        got.kvs()[0].value(),
        b"then",
        "compares saw the state before the transaction"
    );
    let reads = Txn::new()
        .when([Compare::value("m", CompareOp::Equal, "then")])
        .and_then([TxnOp::get("n", None), TxnOp::get("m", None)]);
    let before = node.running().app().raft_status().applied;
    let read = client.txn(reads).await.unwrap();
    assert!(read.succeeded());
    assert_eq!(read.op_responses().len(), 2);
    assert_eq!(
        node.running().app().raft_status().applied,
        before,
        "a transaction that only reads stays out of the log"
    );
    node.stop().await;
}

#[tokio::test]
async fn range_stream_is_unimplemented_so_that_clients_fall_back() {
    let node = Node::start().await;
    let mut client = KvClient::new(node.channel().await);
    let refused = client
        .range_stream(RangeRequest {
            key: "a".into(),
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    client
        .put(PutRequest {
            key: "a".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    node.stop().await;
}

#[tokio::test]
async fn many_writers_at_once_each_get_their_own_revision() {
    let node = Node::start().await;
    let client = node.client().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let mut client = client.kv_client();
        writers.spawn(async move {
            let mut revisions = Vec::new();
            for i in 0..20 {
                let put = client
                    .put(format!("w/{writer}/{i}"), "v", None)
                    .await
                    .unwrap();
                revisions.push(put.header().unwrap().revision());
                let got = client.get(format!("w/{writer}/{i}"), None).await.unwrap();
                assert_eq!(got.kvs().len(), 1, "a write that was acknowledged is read");
            }
            revisions
        });
    }
    let mut revisions: Vec<i64> = writers.join_all().await.concat();
    revisions.sort_unstable();
    assert_eq!(revisions, (2..642).collect::<Vec<_>>());
    node.stop().await;
}
