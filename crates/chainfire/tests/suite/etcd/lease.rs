//! Leases: grant, revoke, keep alive, expiry.

use std::time::Duration;

use etcd_client::{LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions};
use photon_testkit::poll::eventually_true;
use tonic::Code;

use super::{PATIENCE, node::Node, refused, soon};

#[tokio::test]
async fn a_lease_takes_its_keys_with_it() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let lease = client.lease_grant(600, None).await.unwrap();
    assert!(lease.id() > 0 && lease.id() < 1 << 53);
    assert_eq!(lease.ttl(), 600);
    let leased = || Some(PutOptions::new().with_lease(lease.id()));
    client.put("b", "", leased()).await.unwrap();
    client.put("a", "", leased()).await.unwrap();
    client.put("free", "", None).await.unwrap();

    let options = LeaseTimeToLiveOptions::new().with_keys();
    let left = client
        .lease_time_to_live(lease.id(), Some(options))
        .await
        .unwrap();
    assert_eq!(left.granted_ttl(), 600);
    assert!((590..=600).contains(&left.ttl()), "{}", left.ttl());
    assert_eq!(left.keys(), [b"a".to_vec(), b"b".to_vec()]);
    let leases = client.leases().await.unwrap();
    assert_eq!(leases.leases().len(), 1);

    let before = client
        .get("a", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    let revoked = client.lease_revoke(lease.id()).await.unwrap();
    assert_eq!(
        revoked.header().unwrap().revision(),
        before + 1,
        "all keys in one revision"
    );
    assert!(client.get("a", None).await.unwrap().kvs().is_empty());
    assert_eq!(client.get("free", None).await.unwrap().kvs().len(), 1);
    let gone = client.lease_time_to_live(lease.id(), None).await.unwrap();
    assert_eq!(gone.ttl(), -1);
    node.stop().await;
}

#[tokio::test]
async fn a_lease_that_is_not_kept_alive_ends() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let short = client.lease_grant(1, None).await.unwrap();
    let kept = client.lease_grant(1, None).await.unwrap();
    client
        .put("short", "", Some(PutOptions::new().with_lease(short.id())))
        .await
        .unwrap();
    client
        .put("kept", "", Some(PutOptions::new().with_lease(kept.id())))
        .await
        .unwrap();
    let (mut keeper, mut answers) = client.lease_keep_alive(kept.id()).await.unwrap();
    let keeping = tokio::spawn(async move {
        loop {
            keeper.keep_alive().await.unwrap();
            assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 1);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    eventually_true("the lease ends", PATIENCE, || {
        let mut client = client.kv_client();
        async move { client.get("short", None).await.unwrap().kvs().is_empty() }
    })
    .await
    .unwrap();
    assert_eq!(client.get("kept", None).await.unwrap().kvs().len(), 1);
    keeping.abort();
    eventually_true("the other ends once it is not kept alive", PATIENCE, || {
        let mut client = client.kv_client();
        async move { client.get("kept", None).await.unwrap().kvs().is_empty() }
    })
    .await
    .unwrap();
    node.stop().await;
}

#[tokio::test]
async fn refusals() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let seven = || Some(LeaseGrantOptions::new().with_id(7));
    assert_eq!(client.lease_grant(60, seven()).await.unwrap().id(), 7);
    assert_eq!(
        refused(client.lease_grant(60, seven()).await),
        (
            Code::FailedPrecondition,
            "etcdserver: lease already exists".to_owned()
        )
    );
    assert_eq!(
        refused(client.lease_grant(9_000_000_001, None).await),
        (
            Code::OutOfRange,
            "etcdserver: too large lease TTL".to_owned()
        )
    );
    assert_eq!(
        refused(client.lease_revoke(8).await),
        (
            Code::NotFound,
            "etcdserver: requested lease not found".to_owned()
        )
    );
    assert_eq!(client.lease_time_to_live(8, None).await.unwrap().ttl(), -1);
    assert_eq!(
        client.lease_grant(0, None).await.unwrap().ttl(),
        1,
        "one and a half of this node's elections of 300 ms, rounded up"
    );
    node.stop().await;
}

#[tokio::test]
async fn keeping_a_missing_lease_alive_answers_ttl_zero() {
    use photon_proto::etcdserverpb::{LeaseKeepAliveRequest, lease_client::LeaseClient};

    let node = Node::start().await;
    let mut client = LeaseClient::new(node.channel().await);
    let requests = tokio_stream::iter([LeaseKeepAliveRequest { id: 404 }]);
    let mut answers = client
        .lease_keep_alive(requests)
        .await
        .unwrap()
        .into_inner();
    let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
    assert_eq!((answer.id, answer.ttl), (404, 0));
    assert!(soon("the end", answers.message()).await.unwrap().is_none());
    node.stop().await;
}

#[tokio::test]
async fn leases_outlive_a_restart() {
    let node = Node::start().await;
    let mut client = node.client().await;
    let lease = client.lease_grant(1, None).await.unwrap();
    client
        .put("k", "", Some(PutOptions::new().with_lease(lease.id())))
        .await
        .unwrap();
    let node = node.restart().await;
    let client = node.client().await;
    eventually_true("the lease ends after the restart", PATIENCE, || {
        let mut client = client.kv_client();
        async move { client.get("k", None).await.unwrap().kvs().is_empty() }
    })
    .await
    .unwrap();
    node.stop().await;
}
