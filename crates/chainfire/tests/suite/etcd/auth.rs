//! Users, roles and tokens over `etcd-client`.

use etcd_client::{Client, ConnectOptions, GetOptions, Permission, WatchOptions};
use photon_proto::etcdserverpb::{
    AuthenticateRequest, MemberUpdateRequest, WatchCreateRequest, WatchRequest,
    auth_client::AuthClient, cluster_client::ClusterClient, watch_client::WatchClient,
    watch_request::RequestUnion,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use super::{node::Node, refused, soon};

/// Root with password `secret`, and `ann` with password `pw` who may read `open/` and write `open/w`.
async fn guarded(node: &Node) -> Client {
    let mut client = node.client().await;
    client.user_add("root", "secret", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.role_add("reader").await.unwrap();
    let read = Permission::read("open/").with_prefix();
    client.role_grant_permission("reader", read).await.unwrap();
    let write = Permission::write("open/w");
    client.role_grant_permission("reader", write).await.unwrap();
    client.user_add("ann", "pw", None).await.unwrap();
    client.user_grant_role("ann", "reader").await.unwrap();
    client.auth_enable().await.unwrap();
    login(node, "root", "secret").await.unwrap()
}

async fn login(node: &Node, user: &str, password: &str) -> Result<Client, etcd_client::Error> {
    let options = ConnectOptions::new().with_user(user, password);
    Client::connect([node.endpoint()], Some(options)).await
}

fn denied() -> (Code, String) {
    (
        Code::PermissionDenied,
        "etcdserver: permission denied".to_owned(),
    )
}

#[tokio::test]
async fn rights_hold_on_reads_writes_transactions_and_watches() {
    let node = Node::start().await;
    let mut root = guarded(&node).await;
    root.put("open/a", "1", None).await.unwrap();
    root.put("closed", "2", None).await.unwrap();
    let mut ann = login(&node, "ann", "pw").await.unwrap();
    assert_eq!(ann.get("open/a", None).await.unwrap().kvs().len(), 1);
    ann.put("open/w", "mine", None).await.unwrap();
    assert_eq!(refused(ann.put("open/a", "", None).await), denied());
    assert_eq!(refused(ann.get("closed", None).await), denied());
    let everything = GetOptions::new().with_all_keys();
    assert_eq!(refused(ann.get("", Some(everything)).await), denied());
    let sneaky = etcd_client::Txn::new().when([etcd_client::Compare::value(
        "closed",
        etcd_client::CompareOp::Equal,
        "2",
    )]);
    assert_eq!(refused(ann.txn(sneaky).await), denied());
    assert_eq!(refused(ann.compact(2, None).await), denied());
    assert_eq!(refused(ann.user_list().await), denied());
    assert_eq!(ann.user_get("ann").await.unwrap().roles(), ["reader"]);

    let prefix = || WatchOptions::new().with_prefix();
    let mut watch = ann.watch("open/", Some(prefix())).await.unwrap();
    assert!(
        soon("created", watch.message())
            .await
            .unwrap()
            .unwrap()
            .created()
    );
    watch.watch("o", Some(prefix())).await.unwrap();
    let response = soon("a refusal", watch.message()).await.unwrap().unwrap();
    assert!(response.created() && response.canceled());
    assert_eq!(
        response.cancel_reason(),
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    );
    node.stop().await;
}

#[tokio::test]
async fn strangers_and_bad_credentials() {
    let node = Node::start().await;
    let mut stranger = node.client().await;
    assert_eq!(
        refused(login(&node, "root", "secret").await.map(|_| ())),
        (
            Code::FailedPrecondition,
            "etcdserver: authentication is not enabled".to_owned()
        )
    );
    let _root = guarded(&node).await;
    let nobody = (
        Code::InvalidArgument,
        "etcdserver: user name is empty".to_owned(),
    );
    assert_eq!(refused(stranger.get("a", None).await), nobody);
    assert_eq!(refused(stranger.put("a", "", None).await), nobody);
    assert_eq!(refused(stranger.lease_grant(60, None).await), nobody);
    assert_eq!(refused(stranger.leases().await), nobody);
    assert_eq!(refused(stranger.member_list().await), nobody);
    // etcd answers it to everybody.
    stranger.status().await.unwrap();
    for (user, password) in [("ann", "wrong"), ("nobody", "pw")] {
        assert_eq!(
            refused(login(&node, user, password).await.map(|_| ())),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password".to_owned()
            )
        );
    }
    let mut kv = photon_proto::etcdserverpb::kv_client::KvClient::new(node.channel().await);
    let mut request = tonic::Request::new(photon_proto::etcdserverpb::RangeRequest {
        key: "a".into(),
        ..Default::default()
    });
    request
        .metadata_mut()
        .insert("token", "abcdefghijklmnop.999999".parse().unwrap());
    let error = kv.range(request).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Unauthenticated, "etcdserver: invalid auth token")
    );
    node.stop().await;
}

/// The stream lives on: what is asked for on it with the same token may hold again.
#[tokio::test]
async fn a_token_that_does_not_hold_refuses_a_watch_and_not_its_stream() {
    let node = Node::start().await;
    let mut root = guarded(&node).await;
    let (say, requests) = mpsc::channel(8);
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "open/".into(),
            ..WatchCreateRequest::default()
        })),
    };
    let mut request = Request::new(ReceiverStream::new(requests));
    let token = "abcdefghijklmnop.999999".parse().unwrap();
    request.metadata_mut().insert("token", token);
    say.send(create.clone()).await.unwrap();
    let mut client = WatchClient::new(node.channel().await);
    let mut answers = client.watch(request).await.unwrap().into_inner();
    say.send(create.clone()).await.unwrap();
    for _ in 0..2 {
        let refused = soon("a refusal", answers.message()).await.unwrap().unwrap();
        assert!(refused.created && refused.canceled, "{refused:?}");
        assert_eq!(
            refused.cancel_reason,
            "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
        );
    }
    root.auth_disable().await.unwrap();
    say.send(create).await.unwrap();
    let created = soon("a watch", answers.message()).await.unwrap().unwrap();
    assert!(created.created && !created.canceled, "{created:?}");
    node.stop().await;
}

#[tokio::test]
async fn rights_come_before_the_urls_of_a_member_update() {
    let node = Node::start().await;
    let _root = guarded(&node).await;
    for (name, password, expected) in [
        ("ann", "pw", Code::PermissionDenied),
        ("root", "secret", Code::InvalidArgument),
    ] {
        let login = AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let mut auth = AuthClient::new(node.channel().await);
        let token = auth.authenticate(login).await.unwrap().into_inner().token;
        let mut request = Request::new(MemberUpdateRequest {
            id: 1,
            ..MemberUpdateRequest::default()
        });
        let token = token.parse().unwrap();
        request.metadata_mut().insert("token", token);
        let mut cluster = ClusterClient::new(node.channel().await);
        let refused = cluster.member_update(request).await.unwrap_err();
        assert_eq!(refused.code(), expected, "{name}: {refused}");
    }
    node.stop().await;
}

#[tokio::test]
async fn auth_needs_root_first_and_outlives_a_restart() {
    let node = Node::start().await;
    let mut client = node.client().await;
    assert_eq!(
        refused(client.auth_enable().await),
        (
            Code::FailedPrecondition,
            "etcdserver: root user does not exist".to_owned()
        )
    );
    client.user_add("root", "secret", None).await.unwrap();
    assert_eq!(
        refused(client.auth_enable().await),
        (
            Code::FailedPrecondition,
            "etcdserver: root user does not have root role".to_owned()
        )
    );
    client.user_delete("root").await.unwrap();
    guarded(&node).await;
    let node = node.restart().await;
    let mut stranger = node.client().await;
    assert_eq!(
        refused(stranger.get("a", None).await).0,
        Code::InvalidArgument
    );
    let mut root = login(&node, "root", "secret").await.unwrap();
    root.auth_disable().await.unwrap();
    stranger.get("a", None).await.unwrap();
    node.stop().await;
}
