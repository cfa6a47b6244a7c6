//! etcd's plain HTTP paths and the gRPC services every server has, on the client port.

use photon_proto::etcdserverpb::{
    DowngradeRequest, StatusRequest, maintenance_client::MaintenanceClient,
};
use serde_json::Value;

use super::node::Node;

async fn get(node: &Node, path: &str) -> (u16, String) {
    let response = reqwest::get(node.url(path)).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn etcds_paths_answer_as_etcd_does() {
    let node = Node::start().await;
    let (status, body) = get(&node, "/version").await;
    let version: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    assert!(version["etcdserver"].as_str().unwrap().starts_with("3.6."));
    assert_eq!(version["etcdcluster"], "3.6.0");

    let (status, body) = get(&node, "/health").await;
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &health["health"]),
        (200, &Value::from("true")),
        "{body}"
    );
    let (status, _) = get(&node, "/health?serializable=true").await;
    assert_eq!(status, 200);
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(&node, path).await, (200, "ok\n".to_owned()));
    }
    let (status, metrics) = get(&node, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        metrics.contains("process_resident_memory_bytes"),
        "{metrics}"
    );
    node.stop().await;
}

#[tokio::test]
async fn a_full_store_is_not_healthy() {
    use etcd_client::AlarmType;

    let node = Node::start().await;
    let mut client = node.client().await;
    client
        .alarm(etcd_client::AlarmAction::Activate, AlarmType::Nospace, None)
        .await
        .unwrap();
    let (status, body) = get(&node, "/health").await;
    assert_eq!(status, 503);
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(health["health"], "false");
    assert_eq!(health["reason"], "ALARM NOSPACE");
    assert_eq!(get(&node, "/health?exclude=NOSPACE").await.0, 200);
    // On the REST port it is fit to serve, and says what is the matter.
    let rest = format!("http://{}/health", node.running().rest_address());
    let response = reqwest::get(rest).await.unwrap();
    assert_eq!(response.status(), 200);
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["data"]["status"], "healthy");
    let reason = body["data"]["reason"].as_str().unwrap();
    assert!(reason.contains("NOSPACE"), "{reason}");
    node.stop().await;
}

#[tokio::test]
async fn grpc_and_http_share_the_port() {
    let node = Node::start().await;
    let mut client = MaintenanceClient::new(node.channel().await);
    client.status(StatusRequest {}).await.unwrap();
    let downgrade = client
        .downgrade(DowngradeRequest::default())
        .await
        .unwrap_err();
    assert_eq!(downgrade.code(), tonic::Code::Unimplemented);
    node.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_named_as_grpc_go_does() {
    let node = Node::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, text) in [
        (
            "/etcdserverpb.KV/Foo",
            "unknown%20method%20Foo%20for%20service%20etcdserverpb.KV",
        ),
        (
            "/photon.chainfire.v1.ChainFire/Foo",
            "unknown%20method%20Foo%20for%20service%20photon.chainfire.v1.ChainFire",
        ),
        ("/foo.KV/Range", "unknown%20service%20foo.KV"),
    ] {
        let call = http.post(node.url(path));
        let call = call.header("Content-Type", "application/grpc");
        let answer = call.body(vec![0_u8; 5]).send().await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "12", "{path}");
        assert_eq!(answer.headers()["grpc-message"], text, "{path}");
    }
    node.stop().await;
}
