//! `photon.chainfire.v1` through `chainfire-client`, against nodes in this process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use chainfire_client::{
    ChainFireClient, Compare, DeleteRequest, Encoding, GetRequest, GetWithRequest, LeaseGetRequest,
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest, Options, PutRequest, ScanRequest,
    StatusRequest, TransferLeadershipRequest, TxnOp, TxnRequest, WatchRequest, compare::Target,
    error_code, event::Type, txn_op, txn_op_result,
};
use photon_testkit::poll::eventually;
use tokio::time::timeout;
use tonic::Code;

use crate::local::{Node, PATIENCE};

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned(),
        value: value.to_owned(),
        ..PutRequest::default()
    }
}

fn key(key: &str) -> GetRequest {
    GetRequest {
        key: key.to_owned(),
    }
}

#[tokio::test]
async fn the_guides_lines_run() {
    let node = Node::alone().await;
    node.client()
        .await
        .put(put("mykey", "myvalue"))
        .await
        .unwrap();
    let endpoint = node.grpc();
    let lines = async {
        let mut client = ChainFireClient::connect(endpoint).await?;
        let response = client
            .get(tonic::Request::new(GetRequest {
                key: "mykey".to_string(),
            }))
            .await?;
        Ok::<_, Box<dyn std::error::Error>>(format!("Value: {}", response.into_inner().value))
    };
    assert_eq!(lines.await.unwrap(), "Value: myvalue");
    node.stop().await;
}

#[tokio::test]
async fn keys_and_values() {
    let node = Node::alone().await;
    let mut client = node.client().await;
    let missing = client.get(key("k")).await.unwrap_err();
    assert_eq!(
        (missing.code(), error_code(&missing)),
        (Code::NotFound, Some("NOT_FOUND"))
    );
    let first = client
        .put(put("k", "old"))
        .await
        .unwrap()
        .into_inner()
        .revision;
    client.put(put("k", "new")).await.unwrap();
    let got = client.get(key("k")).await.unwrap().into_inner();
    assert_eq!(
        (got.value.as_str(), got.version, got.create_revision),
        ("new", 2, first)
    );
    let old = GetWithRequest {
        key: "k".into(),
        revision: first,
        stale: true,
    };
    assert_eq!(
        client
            .get_with(old.clone())
            .await
            .unwrap()
            .into_inner()
            .value,
        "old"
    );

    let binary = PutRequest {
        key: "b".into(),
        value: "/wA=".into(),
        encoding: Encoding::Base64.into(),
        lease: 0,
    };
    client.put(binary).await.unwrap();
    let got = client.get(key("b")).await.unwrap().into_inner();
    assert_eq!(
        (got.value.as_str(), got.encoding()),
        ("/wA=", Encoding::Base64)
    );

    let empty = client.put(put("", "v")).await.unwrap_err();
    assert_eq!(
        (empty.code(), error_code(&empty)),
        (Code::InvalidArgument, Some("VALIDATION_ERROR"))
    );
    let deleted = DeleteRequest {
        key: "b".into(),
        range_end: "l".into(),
    };
    assert_eq!(
        client.delete(deleted).await.unwrap().into_inner().deleted,
        2
    );

    let revision = client
        .put(put("k", "newest"))
        .await
        .unwrap()
        .into_inner()
        .revision;
    client
        .compact(chainfire_client::CompactRequest {
            revision,
            physical: true,
        })
        .await
        .unwrap();
    let gone = client.get_with(old).await.unwrap_err();
    assert_eq!(
        (gone.code(), error_code(&gone)),
        (Code::OutOfRange, Some("COMPACTED"))
    );
    node.stop().await;
}

#[tokio::test]
async fn scans_transactions_and_status() {
    let node = Node::alone().await;
    let mut client = node.client().await;
    for at in 0..30 {
        client.put(put(&format!("s/{at:02}"), "v")).await.unwrap();
    }
    let prefix = |limit| ScanRequest {
        prefix: "s/".into(),
        limit,
        ..ScanRequest::default()
    };
    let page = client.scan(prefix(7)).await.unwrap().into_inner();
    assert_eq!(
        (
            page.items.len(),
            page.count,
            page.next_page_token.is_empty()
        ),
        (7, 30, false)
    );
    let all = client.scan_all(prefix(7)).await.unwrap();
    assert_eq!(
        all.iter().map(|item| item.key.clone()).collect::<Vec<_>>(),
        (0..30).map(|at| format!("s/{at:02}")).collect::<Vec<_>>()
    );
    assert_eq!(
        client.scan(prefix(-1)).await.unwrap_err().code(),
        Code::InvalidArgument
    );

    let txn = TxnRequest {
        compare: vec![Compare {
            key: "new".into(),
            target: Target::Version.into(),
            ..Compare::default()
        }],
        success: vec![TxnOp {
            op: Some(txn_op::Op::Put(put("new", "1"))),
        }],
        failure: vec![TxnOp {
            op: Some(txn_op::Op::Get(GetWithRequest {
                key: "new".into(),
                ..GetWithRequest::default()
            })),
        }],
    };
    assert!(
        client
            .txn(txn.clone())
            .await
            .unwrap()
            .into_inner()
            .succeeded
    );
    let second = client.txn(txn).await.unwrap().into_inner();
    assert!(!second.succeeded);
    let Some(txn_op_result::Result::Get(found)) = &second.results[0].result else {
        panic!("{second:?}")
    };
    assert_eq!(found.value, "1");

    let status = client.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (
            status.node_id,
            status.leader_id,
            status.joined,
            status.role.as_str()
        ),
        (1, 1, true, "leader")
    );
    assert_eq!(format!("http://{}", status.client_address), node.grpc());
    assert!(!status.peer_address.is_empty() && !status.cluster_id.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn a_lease_is_kept_and_its_loss_is_told() {
    let node = Node::alone().await;
    let mut client = node.client().await;
    let granted = client
        .lease_grant(LeaseGrantRequest {
            ttl_seconds: 3,
            id: 0,
        })
        .await
        .unwrap()
        .into_inner();
    let id = granted.id;
    client
        .put(PutRequest {
            lease: id,
            ..put("leased", "v")
        })
        .await
        .unwrap();
    let mut keeper = client.keep_lease(id).await.unwrap();
    // Twice its time: without a renewal it would be gone.
    let lost = timeout(std::time::Duration::from_secs(6), keeper.lost()).await;
    assert!(lost.is_err() && !keeper.is_lost());
    let kept = client
        .lease_get(LeaseGetRequest { id })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (kept.granted_ttl_seconds, kept.keys),
        (3, vec!["leased".to_owned()])
    );

    client
        .lease_revoke(LeaseRevokeRequest { id })
        .await
        .unwrap();
    timeout(PATIENCE, keeper.lost()).await.unwrap();
    assert!(keeper.is_lost());
    assert_eq!(
        client.get(key("leased")).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        client
            .lease_keep_alive(LeaseKeepAliveRequest { id })
            .await
            .unwrap()
            .into_inner()
            .ttl_seconds,
        0
    );
    assert_eq!(
        client.keep_lease(id).await.err().unwrap().code(),
        Code::NotFound
    );
    node.stop().await;
}

#[tokio::test]
async fn a_watch_survives_its_member_without_loss_or_repeat() {
    const WRITES: i64 = 60;
    let mut nodes = Node::cluster(3).await;
    let mut writer = nodes[0].client().await;
    // The watch begins on the member that will go away.
    let endpoints = [nodes[2].grpc(), nodes[1].grpc(), nodes[0].grpc()];
    let options = Options {
        follow_leader: false,
        ..Options::default()
    };
    let mut watcher = ChainFireClient::connect_with(endpoints, options)
        .await
        .unwrap();
    let request = WatchRequest {
        prefix: "w/".into(),
        ..WatchRequest::default()
    };
    let mut watch = watcher.watch(request).await.unwrap();

    let mut seen = Vec::new();
    let mut leaving = Some(nodes.pop().unwrap());
    for at in 0..WRITES {
        if at == WRITES / 2 {
            // It hands leadership over first if it leads; a write that meets the change is repeated by hand, because
            // here it is known that repeating it does no harm.
            leaving.take().unwrap().stop().await;
        }
        eventually("a write succeeds", PATIENCE, || {
            let mut writer = writer.clone();
            async move {
                writer
                    .put(put(&format!("w/{at}"), &at.to_string()))
                    .await
                    .ok()
            }
        })
        .await
        .unwrap();
    }
    let last = format!("w/{}", WRITES - 1);
    let mut revisions = Vec::new();
    while seen.last() != Some(&last) {
        let message = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
        for event in message.events {
            assert_eq!(event.r#type(), Type::Put);
            let item = event.item.unwrap();
            revisions.push(item.mod_revision);
            seen.push(item.key);
        }
    }
    assert!(
        revisions.windows(2).all(|pair| pair[0] < pair[1]),
        "out of order or twice: {revisions:?}"
    );
    let mut distinct = seen.clone();
    distinct.dedup();
    let expected: Vec<String> = (0..WRITES).map(|at| format!("w/{at}")).collect();
    assert_eq!(distinct, expected);
    assert!(writer.get(key(&last)).await.is_ok());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_client_moves_on_and_finds_the_leader() {
    let mut nodes = Node::cluster(3).await;
    let follower = nodes.iter().position(|node| !node.leads()).unwrap();
    let mut client = nodes[follower].client().await;
    let response = client.put(put("k", "v")).await.unwrap();
    let hint = response
        .metadata()
        .get("photon-leader")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let leader = nodes.iter().find(|node| node.leads()).unwrap();
    assert_eq!(format!("http://{hint}"), leader.grpc());
    // The next call goes to the leader, who sends no hint.
    assert!(
        client
            .get(key("k"))
            .await
            .unwrap()
            .metadata()
            .get("photon-leader")
            .is_none()
    );

    // Handing leadership over is the leader's alone; a client of another member finds it.
    let to = follower as u64 + 1;
    let options = Options {
        follow_leader: true,
        ..Options::default()
    };
    let other = nodes
        .iter()
        .position(|node| !node.leads() && node.grpc() != nodes[follower].grpc())
        .unwrap();
    let mut outsider = ChainFireClient::connect_with([nodes[other].grpc()], options)
        .await
        .unwrap();
    outsider
        .transfer_leadership(TransferLeadershipRequest { node_id: to })
        .await
        .unwrap();
    eventually("leadership moved", PATIENCE, || {
        let leads = nodes[follower].leads();
        async move { leads.then_some(()) }
    })
    .await
    .unwrap();

    // A client that knows all members does not notice one going away.
    let endpoints: Vec<String> = nodes.iter().map(Node::grpc).collect();
    let mut all = ChainFireClient::connect_with(endpoints, Options::default())
        .await
        .unwrap();
    all.get(key("k")).await.unwrap();
    nodes.remove(0).stop().await;
    assert_eq!(all.get(key("k")).await.unwrap().into_inner().value, "v");
    for node in nodes {
        node.stop().await;
    }
}
