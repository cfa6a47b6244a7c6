//! Starting, stopping, starting again.

use chainfire::run::{self, Sockets};

use super::node::{self, Node};

#[tokio::test]
async fn data_and_identity_outlive_a_restart() {
    let node = Node::start().await;
    let mut client = node.client().await;
    for i in 0..100 {
        client
            .put(format!("k/{i}"), format!("{i}"), None)
            .await
            .unwrap();
    }
    client.delete("k/7", None).await.unwrap();
    let before = node.running().app().status();
    let node = node.restart().await;
    let after = node.running().app().status();
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.cluster_id, before.cluster_id);
    assert_eq!(after.incarnation, before.incarnation);
    let mut client = node.client().await;
    let options = etcd_client::GetOptions::new().with_prefix();
    assert_eq!(client.get("k/", Some(options)).await.unwrap().count(), 99);
    let put = client.put("k/7", "again", None).await.unwrap();
    assert_eq!(put.header().unwrap().revision(), before.revision + 1);
    node.stop().await;
}

#[tokio::test]
async fn a_second_process_is_refused_the_data_directory() {
    let node = Node::start().await;
    let mut config = node.running().app().config().clone();
    config.node_id = 2;
    let error = run::start(config, Sockets::default()).await.unwrap_err();
    assert!(format!("{error:#}").contains("in use"), "{error:#}");
    node.stop().await;
}

#[tokio::test]
async fn listeners_that_are_bound_already_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let sockets = Sockets {
        grpc: Some(socket),
        ..Sockets::default()
    };
    let running = run::start(node::config(&dir), sockets).await.unwrap();
    assert_eq!(running.grpc_address(), address);
    running.stop().await;
}

#[tokio::test]
async fn two_clusters_are_never_the_same() {
    let (one, other) = tokio::join!(Node::start(), Node::start());
    let (one_status, other_status) = (one.running().app().status(), other.running().app().status());
    assert_ne!(one_status.cluster_id, other_status.cluster_id);
    assert_ne!(one_status.incarnation, other_status.incarnation);
    one.stop().await;
    other.stop().await;
}
