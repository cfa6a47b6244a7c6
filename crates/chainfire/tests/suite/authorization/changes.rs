//! Rights that change: at once, on connections and streams that are open, over restarts and in snapshots.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use photon_proto::{
    authpb::permission::Type,
    etcdserverpb::{
        AuthEnableRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest,
        LeaseKeepAliveRequest, PutRequest, WatchCreateRequest, WatchRequest, WatchResponse,
        kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};

use super::{
    ask::{
        Ask,
        Verdict::{Allowed, Denied, Nobody},
    },
    doors::Door,
    guarded::{FOREIGN_LEASE, Guarded, PASSWORD},
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

async fn put(node: &Guarded, key: &'static str) {
    let mut kv = KvClient::new(node.channel(Some("root")));
    let put = PutRequest {
        key: key.into(),
        value: "later".into(),
        ..PutRequest::default()
    };
    kv.put(put).await.unwrap();
}

/// Takes `/a/` from the role.
async fn take_a(node: &Guarded) {
    let revoke = AuthRoleRevokePermissionRequest {
        role: "staff".to_owned(),
        key: "/a/".into(),
        range_end: "/a0".into(),
    };
    let mut auth = node.auth("root");
    auth.role_revoke_permission(revoke).await.unwrap();
}

/// A stream of watches over one connection.
struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Watching {
    async fn begin(channel: Channel) -> Self {
        let (requests, stream) = mpsc::channel(8);
        let mut client = WatchClient::new(channel);
        // The server answers once it has been asked something.
        let answers = async { client.watch(ReceiverStream::new(stream)).await.unwrap() };
        let answers = timeout(PATIENCE, answers).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn create(&mut self, key: &'static str, end: &'static str) -> WatchResponse {
        let create = WatchCreateRequest {
            key: key.into(),
            range_end: end.into(),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        self.requests.send(request).await.unwrap();
        self.next().await
    }

    async fn next(&mut self) -> WatchResponse {
        let answer = timeout(PATIENCE, self.answers.message()).await;
        answer.expect("an answer in time").unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_taken_away_is_gone_on_open_connections() {
    let node = Guarded::start().await;
    let doors = Door::of(&node, "alice").await;
    for door in &doors {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Allowed),
            "{}",
            door.name
        );
    }
    take_a(&node).await;
    for door in &doors {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Denied),
            "{}",
            door.name
        );
        assert_eq!(
            door.ask(Ask::Watch("/a/")).await,
            Some(Denied),
            "{}",
            door.name
        );
        assert_eq!(
            door.ask(Ask::Put("/b/1")).await,
            Some(Allowed),
            "{}",
            door.name
        );
    }
    node.permit(Type::Read, "/a/", "/a0").await.unwrap();
    for door in &doors {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Allowed),
            "{}",
            door.name
        );
    }
    let delete = AuthUserDeleteRequest {
        name: "alice".to_owned(),
    };
    node.auth("root").user_delete(delete).await.unwrap();
    for door in &doors {
        let verdict = door.ask(Ask::Get("/a/1")).await;
        let expected = if door.name.ends_with("token") {
            Nobody
        } else {
            Denied
        };
        assert_eq!(verdict, Some(expected), "{}", door.name);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_the_tokens() {
    let node = Guarded::start().await;
    let token = node.login("alice", PASSWORD).await.unwrap();
    let change = AuthUserChangePasswordRequest {
        name: "alice".to_owned(),
        password: "battery staple".to_owned(),
        ..AuthUserChangePasswordRequest::default()
    };
    node.auth("root")
        .user_change_password(change)
        .await
        .unwrap();
    for door in Door::by_token(&node, &token, None) {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Nobody),
            "{}",
            door.name
        );
    }
    let error = node.login("alice", PASSWORD).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (
            Code::InvalidArgument,
            "etcdserver: authentication failed, invalid user ID or password"
        )
    );
    node.login("alice", "battery staple").await.unwrap();
    node.stop().await;
}

/// Beyond etcd, which checks a watch only when it is created.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_nothing_that_happens_after_its_right_is_gone() {
    let node = Guarded::start().await;
    let mut watching = Watching::begin(node.channel(Some("alice"))).await;
    let a = watching.create("/a/", "/a0").await.watch_id;
    let b = watching.create("/b/", "/b0").await.watch_id;
    put(&node, "/a/1").await;
    assert_eq!(watching.next().await.events.len(), 1);
    take_a(&node).await;
    put(&node, "/a/1").await;
    put(&node, "/b/1").await;
    let (mut ended, mut seen) = (None, None);
    while ended.is_none() || seen.is_none() {
        let answer = watching.next().await;
        if answer.canceled {
            assert_eq!((answer.watch_id, &*answer.cancel_reason), (a, DENIED));
            assert!(answer.events.is_empty());
            ended = Some(());
        } else {
            assert_eq!((answer.watch_id, answer.events.len()), (b, 1), "{answer:?}");
            seen = Some(());
        }
    }
    // The same stream takes new watches with the rights as they are now.
    let refused = watching.create("/a/", "/a0").await;
    assert!(refused.created && refused.canceled);
    assert_eq!(refused.cancel_reason, DENIED);
    node.permit(Type::Read, "/a/", "/a0").await.unwrap();
    let allowed = watching.create("/a/", "/a0").await;
    assert!(allowed.created && !allowed.canceled, "{allowed:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_watch_ends_as_forbidden() {
    let node = Guarded::start().await;
    let url = format!("{}/api/v1/watch?prefix=/a/", node.rest_url());
    let mut answer = node.http(Some("alice")).get(url).send().await.unwrap();
    let mut text = Vec::new();
    let mut until = async |what: &str| {
        let read = async {
            loop {
                if String::from_utf8_lossy(&text).contains(what) {
                    return;
                }
                let chunk = answer.chunk().await.unwrap();
                text.extend_from_slice(&chunk.expect("the stream goes on"));
            }
        };
        timeout(PATIENCE, read).await.expect(what);
    };
    until("event: ready").await;
    take_a(&node).await;
    put(&node, "/a/1").await;
    until("FORBIDDEN").await;
    assert!(!String::from_utf8_lossy(&text).contains("event: change"));
    node.stop().await;
}

/// A stream that began when everything was allowed is nobody's once authentication is on.
#[tokio::test(flavor = "multi_thread")]
async fn switching_authentication_on_holds_for_open_streams() {
    let node = Guarded::open().await;
    let mut stranger = Watching::begin(node.channel(Some("stranger"))).await;
    let watch_id = stranger.create("/", "0").await.watch_id;
    let mut root = Watching::begin(node.channel(Some("root"))).await;
    root.create("/", "0").await;
    let (keep_alives, stream) = mpsc::channel(8);
    let mut lease = LeaseClient::new(node.channel(Some("root")));
    let granted = photon_proto::etcdserverpb::LeaseGrantRequest {
        id: FOREIGN_LEASE,
        ttl: 3600,
    };
    lease.lease_grant(granted).await.unwrap();
    let keep = LeaseKeepAliveRequest { id: FOREIGN_LEASE };
    keep_alives.send(keep).await.unwrap();
    let mut kept = lease
        .lease_keep_alive(ReceiverStream::new(stream))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl, 3600);

    root_only(&node).await;
    put(&node, "/a/1").await;
    let ended = stranger.next().await;
    assert_eq!(
        (ended.watch_id, ended.canceled),
        (watch_id, true),
        "{ended:?}"
    );
    assert_eq!(ended.cancel_reason, DENIED);
    assert_eq!(root.next().await.events.len(), 1, "root sees on");
    keep_alives.send(keep).await.unwrap();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl, 3600);
    node.stop().await;
}

/// The user root with its role, and authentication on.
async fn root_only(node: &Guarded) {
    let mut auth = node.auth("root");
    auth.user_add(user("root")).await.unwrap();
    auth.user_grant_role(grant_root()).await.unwrap();
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
}

fn user(name: &str) -> AuthUserAddRequest {
    AuthUserAddRequest {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        ..AuthUserAddRequest::default()
    }
}

fn grant_root() -> AuthUserGrantRoleRequest {
    AuthUserGrantRoleRequest {
        user: "root".to_owned(),
        role: "root".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authentication_needs_a_root_with_its_role() {
    let node = Guarded::open().await;
    let mut auth = node.auth("anybody");
    let mut enable = async |expected: &str| {
        let error = auth.auth_enable(AuthEnableRequest {}).await.unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (Code::FailedPrecondition, expected)
        );
    };
    enable("etcdserver: root user does not exist").await;
    node.auth("anybody").user_add(user("root")).await.unwrap();
    enable("etcdserver: root user does not have root role").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_outlive_a_restart_and_tokens_are_asked_for_again() {
    let node = Guarded::start().await;
    let token = node.login("alice", PASSWORD).await.unwrap();
    let node = node.restart().await;
    for door in Door::of(&node, "alice").await {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Allowed),
            "{}",
            door.name
        );
        assert_eq!(
            door.ask(Ask::Get("/c/1")).await,
            Some(Denied),
            "{}",
            door.name
        );
        assert_eq!(
            door.ask(Ask::Users).await.unwrap_or(Denied),
            Denied,
            "{}",
            door.name
        );
    }
    for door in Door::by_certificate(&node, None) {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Nobody),
            "{}",
            door.name
        );
    }
    // Whether a token of before still holds is up to the log; it never means more than its user may.
    for door in Door::by_token(&node, &token, None) {
        let verdict = door.ask(Ask::Get("/c/1")).await.unwrap();
        assert!(
            verdict == Denied || verdict == Nobody,
            "{}: {verdict:?}",
            door.name
        );
    }
    node.stop().await;
}

/// A token that nobody uses ends, and one that is used does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_is_not_used() {
    const TTL: Duration = Duration::from_secs(3);
    let node = Guarded::start_with(|config| config.limits.token_ttl_seconds = TTL.as_secs()).await;
    let forgotten = node.login("alice", PASSWORD).await.unwrap();
    let used = node.login("alice", PASSWORD).await.unwrap();
    let forgotten = Door::by_token(&node, &forgotten, None);
    let used = Door::by_token(&node, &used, None);
    for door in &forgotten {
        let verdict = door.ask(Ask::Get("/a/1")).await;
        assert_eq!(verdict, Some(Allowed), "{}", door.name);
    }
    let last_use = Instant::now();
    while last_use.elapsed() < TTL + TTL / 2 {
        for door in &used {
            let verdict = door.ask(Ask::Get("/a/1")).await;
            assert_eq!(verdict, Some(Allowed), "{}", door.name);
        }
        tokio::time::sleep(TTL / 30).await;
    }
    for door in &forgotten {
        let verdict = door.ask(Ask::Get("/a/1")).await;
        assert_eq!(verdict, Some(Nobody), "{}", door.name);
    }
    // Whoever logs in again goes on.
    let again = node.login("alice", PASSWORD).await.unwrap();
    for door in Door::by_token(&node, &again, None) {
        let verdict = door.ask(Ask::Get("/a/1")).await;
        assert_eq!(verdict, Some(Allowed), "{}", door.name);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_in_snapshots() {
    let node = Guarded::start().await.restored().await;
    for door in Door::of(&node, "alice").await {
        for (ask, expected) in [(Ask::Get("/a/1"), Allowed), (Ask::Get("/c/1"), Denied)] {
            assert_eq!(
                door.ask(ask).await,
                Some(expected),
                "{}: {ask:?}",
                door.name
            );
        }
    }
    for door in Door::by_certificate(&node, None) {
        assert_eq!(
            door.ask(Ask::Get("/a/1")).await,
            Some(Nobody),
            "{}",
            door.name
        );
    }
    node.stop().await;
}

/// Passwords are slow to check by design; nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn logins_block_nobody() {
    let node = Arc::new(Guarded::start().await);
    let logins: Vec<_> = (0..64)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.login("alice", "wrong").await.unwrap_err() })
        })
        .collect();
    let mut kv = KvClient::new(node.channel(Some("root")));
    let mut puts = 0;
    while logins.iter().any(|login| !login.is_finished()) {
        let put = PutRequest {
            key: "/b/1".into(),
            ..PutRequest::default()
        };
        let mut request = tonic::Request::new(put);
        request.set_timeout(Duration::from_secs(5));
        kv.put(request).await.unwrap();
        puts += 1;
    }
    assert!(puts >= 3, "only {puts} puts beside 64 logins");
    for login in logins {
        let error = login.await.unwrap();
        // Too many at once are put off, not let through.
        assert!(
            matches!(error.code(), Code::InvalidArgument | Code::Unavailable),
            "{error}"
        );
    }
    Arc::into_inner(node).unwrap().stop().await;
}
