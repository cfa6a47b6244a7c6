//! Who may do what, asked at every door.

use std::sync::LazyLock;

use photon_proto::etcdserverpb::{LeaseGrantRequest, lease_client::LeaseClient};
use prost_reflect::DescriptorPool;
use reqwest::StatusCode;
use serde_json::json;

use super::{
    ask::{
        Ask,
        Verdict::{self, Allowed, Denied, Failed, Nobody},
    },
    doors::Door,
    guarded::{FOREIGN_LEASE, Guarded, PASSWORD},
};

/// Asks at every door that offers it; at least one must.
async fn everywhere(doors: &[Door], ask: Ask, expected: &Verdict) {
    let mut asked = 0;
    for door in doors {
        let Some(verdict) = door.ask(ask).await else {
            continue;
        };
        assert_eq!(verdict, *expected, "{}: {ask:?}", door.name);
        asked += 1;
    }
    assert!(asked > 0, "no door offers {ask:?}");
}

/// What needs the root role whatever the keys.
const ROOTS_OWN: [Ask; 6] = [
    Ask::Compact(2),
    Ask::Snapshot,
    Ask::MemberAdd,
    Ask::Transfer,
    Ask::Users,
    Ask::Hash,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_what_the_roles_say_at_every_door() {
    let node = Guarded::start().await;
    let doors = Door::of(&node, "alice").await;
    for (ask, expected) in [
        (Ask::Get("/a/1"), Allowed),
        (Ask::Get("/b/1"), Allowed),
        (Ask::Get("/c/1"), Denied),
        (Ask::Get("/w"), Denied),
        (Ask::Put("/a/1"), Denied),
        (Ask::Put("/b/2"), Allowed),
        (Ask::Put("/c/1"), Denied),
        (Ask::Put("/w"), Allowed),
        (Ask::PutPrevious("/b/2"), Allowed),
        (Ask::PutPrevious("/w"), Denied),
        (Ask::PutUnder("/b/3", FOREIGN_LEASE), Denied),
        (Ask::Delete("/a/1"), Denied),
        (Ask::Delete("/b/2"), Allowed),
        (Ask::Delete("/c/1"), Denied),
        (Ask::DeletePrevious("/b/2"), Allowed),
        (Ask::DeletePrevious("/w"), Denied),
        (Ask::Scan("/a/"), Allowed),
        (Ask::Scan("/b/"), Allowed),
        (Ask::Scan("/"), Denied),
        (Ask::Scan("/c/"), Denied),
        (Ask::TxnCompare("/a/1", "/b/4"), Allowed),
        (Ask::TxnCompare("/c/1", "/b/4"), Denied),
        (Ask::TxnCompare("/a/1", "/a/2"), Denied),
        (Ask::TxnElse("/b/4", "/a/1"), Allowed),
        (Ask::TxnElse("/b/4", "/c/1"), Denied),
        (Ask::TxnNested("/b/4", "/a/1"), Allowed),
        (Ask::TxnNested("/b/4", "/c/1"), Denied),
        (Ask::TxnNested("/c/1", "/a/1"), Denied),
        (Ask::TxnNestedCompare("/a/1"), Allowed),
        (Ask::TxnNestedCompare("/c/1"), Denied),
        (Ask::TxnPrevious("/b/4"), Allowed),
        (Ask::TxnPrevious("/w"), Denied),
        (Ask::Watch("/a/"), Allowed),
        (Ask::Watch("/"), Denied),
        (Ask::Watch("/w"), Denied),
        (Ask::LeaseKeys(FOREIGN_LEASE), Denied),
        (Ask::Revoke(FOREIGN_LEASE), Denied),
        (Ask::Leases, Allowed),
    ] {
        everywhere(&doors, ask, &expected).await;
    }
    // Members are root's at our own doors; etcd's clients look for endpoints in the list, as every user may.
    for door in &doors {
        let etcds = door.name.starts_with("etcd") || door.name.starts_with("gateway");
        let expected = if etcds { Allowed } else { Denied };
        let verdict = door.ask(Ask::MemberList).await;
        assert_eq!(verdict, Some(expected), "{}", door.name);
    }
    for ask in ROOTS_OWN {
        everywhere(&doors, ask, &Denied).await;
    }
    for (id, door) in (1..).zip(&doors) {
        node.lease(id).await;
        for ask in [Ask::LeaseKeys(id), Ask::Revoke(id)] {
            assert_eq!(door.ask(ask).await, Some(Allowed), "{}: {ask:?}", door.name);
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn root_may_everything_at_every_door() {
    let node = Guarded::start().await;
    let doors = Door::of(&node, "root").await;
    for ask in [
        Ask::Get("/c/1"),
        Ask::Put("/c/1"),
        Ask::PutPrevious("/w"),
        Ask::PutUnder("/b/3", FOREIGN_LEASE),
        Ask::Delete("/c/2"),
        Ask::DeletePrevious("/c/2"),
        Ask::Scan("/"),
        Ask::TxnCompare("/c/1", "/d"),
        Ask::TxnNested("/d", "/c/1"),
        Ask::Watch("/"),
        Ask::LeaseKeys(FOREIGN_LEASE),
        Ask::Leases,
        Ask::Snapshot,
        Ask::MemberList,
        Ask::Users,
        Ask::Hash,
    ] {
        everywhere(&doors, ask, &Allowed).await;
    }
    for (revision, door) in (2..).zip(&doors) {
        assert_eq!(
            door.ask(Ask::Compact(revision)).await,
            Some(Allowed),
            "{}",
            door.name
        );
    }
    // These are let in; what is asked for cannot be done.
    for ask in [Ask::MemberAdd, Ask::Transfer] {
        for door in &doors {
            let verdict = door.ask(ask).await;
            assert!(
                matches!(verdict, Some(Failed(_))),
                "{}: {ask:?}: {verdict:?}",
                door.name
            );
        }
    }
    node.stop().await;
}

/// A certificate whose name is no user: let in by TLS, and without any right.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_no_user_may_nothing() {
    let node = Guarded::start().await;
    let doors = Door::by_certificate(&node, Some("mallory"));
    for ask in [
        Ask::Get("/a/1"),
        Ask::Put("/b/1"),
        Ask::Delete("/b/1"),
        Ask::Scan("/a/"),
        Ask::TxnCompare("/a/1", "/b/1"),
        Ask::Watch("/a/"),
        Ask::LeaseKeys(FOREIGN_LEASE),
        Ask::Revoke(FOREIGN_LEASE),
    ] {
        everywhere(&doors, ask, &Denied).await;
    }
    // As in etcd: whoever was let in may have leases, and see the ids of others.
    everywhere(&doors, Ask::Leases, &Allowed).await;
    LeaseClient::new(node.channel(Some("mallory")))
        .lease_grant(LeaseGrantRequest { id: 5, ttl: 600 })
        .await
        .unwrap();
    for ask in ROOTS_OWN {
        for door in &doors {
            match (door.name, door.ask(ask).await) {
                (_, None) => {}
                // etcd says that there is no such user.
                ("etcd by certificate", verdict) => assert_eq!(
                    verdict,
                    Some(Failed(
                        "FailedPrecondition: etcdserver: user name not found".to_owned()
                    )),
                    "{ask:?}"
                ),
                (name, verdict) => assert_eq!(verdict, Some(Denied), "{name}: {ask:?}"),
            }
        }
    }
    node.stop().await;
}

/// Without a certificate and a token; and, on the gateway, with only a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_nothing() {
    let node = Guarded::start().await;
    let mut doors = Door::by_certificate(&node, None);
    doors.push(Door::gateway_by_certificate(&node, None));
    doors.push(Door::gateway_by_certificate(&node, Some("root")));
    for ask in [
        Ask::Get("/a/1"),
        Ask::Put("/b/1"),
        Ask::Delete("/b/1"),
        Ask::Scan("/a/"),
        Ask::TxnCompare("/a/1", "/b/1"),
        Ask::TxnNested("/b/4", "/a/1"),
        Ask::Watch("/a/"),
        Ask::LeaseKeys(FOREIGN_LEASE),
        Ask::Revoke(FOREIGN_LEASE),
        Ask::Leases,
        Ask::MemberList,
    ]
    .into_iter()
    .chain(ROOTS_OWN)
    {
        everywhere(&doors, ask, &Nobody).await;
    }
    node.stop().await;
}

/// Before authentication is on, enforce mode lets in whoever shows a certificate of the authority.
#[tokio::test(flavor = "multi_thread")]
async fn before_authentication_is_on_a_certificate_is_all_it_takes() {
    let node = Guarded::open().await;
    let mut doors = Door::by_certificate(&node, Some("anybody"));
    doors.push(Door::gateway_by_certificate(&node, Some("anybody")));
    for ask in [
        Ask::Put("/c/1"),
        Ask::Get("/c/1"),
        Ask::Scan("/"),
        Ask::Watch("/"),
        Ask::Snapshot,
        Ask::MemberList,
        Ask::Users,
    ] {
        everywhere(&doors, ask, &Allowed).await;
    }
    let mut doors = Door::by_certificate(&node, None);
    doors.push(Door::gateway_by_certificate(&node, None));
    for ask in [
        Ask::Put("/c/1"),
        Ask::Get("/c/1"),
        Ask::Scan("/"),
        Ask::Watch("/"),
        Ask::MemberList,
    ]
    .into_iter()
    .chain(ROOTS_OWN)
    {
        everywhere(&doors, ask, &Nobody).await;
    }
    node.stop().await;
}

/// Every rpc of the client port but those that stay open, as paths.
static RPCS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(photon_proto::FILE_DESCRIPTOR_SET).unwrap();
    let served = chainfire::etcd::SERVICES
        .iter()
        .chain(&["photon.chainfire.v1.ChainFire"]);
    let mut paths = ["v1", "v1alpha"]
        .map(|version| format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"))
        .to_vec();
    for name in served {
        let service = pool.get_service_by_name(name).unwrap();
        let methods = service.methods();
        paths.extend(methods.map(|method| format!("{name}/{}", method.name())));
    }
    paths.retain(|path| path != "etcdserverpb.Auth/Authenticate");
    paths
});

/// Calls with an empty message; the status if it comes instead of an answer.
async fn call(
    http: &reqwest::Client,
    node: &Guarded,
    path: &str,
    token: Option<&str>,
) -> Option<(u16, String)> {
    let mut request = http
        .post(format!("{}/{path}", node.client_url()))
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .body(vec![0_u8; 5]);
    if let Some(token) = token {
        request = request.header("token", token);
    }
    let answer = request.send().await.unwrap();
    let header = |name| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
    let status = header("grpc-status")?.parse().unwrap();
    Some((status, header("grpc-message").unwrap_or_default()))
}

/// Without a certificate and a token, whether or not the store asks for users.
#[tokio::test(flavor = "multi_thread")]
async fn enforce_mode_answers_no_stranger() {
    for node in [Guarded::open().await, Guarded::start().await] {
        let http = node.http(None);
        assert!(RPCS.len() > 50, "{RPCS:?}");
        for path in RPCS.iter() {
            let expected = if path.starts_with("photon.") {
                (
                    16,
                    "a%20client%20certificate%20or%20a%20token%20is%20needed",
                )
            } else {
                (3, "etcdserver:%20user%20name%20is%20empty")
            };
            let refused = call(&http, &node, path, None).await;
            let refused = refused.as_ref().map(|(code, text)| (*code, text.as_str()));
            assert_eq!(refused, Some(expected), "{path}");
        }
        for path in ["maintenance/status", "maintenance/downgrade", "auth/status"] {
            let url = format!("{}/v3/{path}", node.client_url());
            let answer = http.post(url).json(&json!({})).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!(body["message"], "etcdserver: user name is empty", "{path}");
        }
        let get = async |path: &str| {
            let url = format!("{}{path}", node.client_url());
            http.get(url).send().await.unwrap().status()
        };
        assert_eq!(get("/metrics").await, StatusCode::UNAUTHORIZED);
        for path in ["/health", "/livez", "/readyz", "/version"] {
            assert_eq!(get(path).await, StatusCode::OK, "{path}");
        }
        assert_eq!(
            call(&http, &node, "grpc.health.v1.Health/Check", None).await,
            None
        );
        let login = node.login("nobody", "x").await.unwrap_err();
        assert!(!login.message().contains("is empty"), "{login}");
        node.stop().await;
    }
}

/// What needs no right needs one of the two, and either will do.
#[tokio::test(flavor = "multi_thread")]
async fn enforce_mode_takes_a_certificate_or_a_token() {
    let node = Guarded::start().await;
    let token = node.login("alice", PASSWORD).await.unwrap();
    for (who, token, welcome) in [
        (Some("mallory"), None, true),
        (None, Some(token.as_str()), true),
        (None, Some("abcdefghijklmnop.3"), false),
    ] {
        let http = node.http(who);
        for path in [
            "etcdserverpb.Maintenance/Status",
            "photon.chainfire.v1.ChainFire/Status",
        ] {
            let refused = call(&http, &node, path, token).await;
            assert_eq!(refused.is_none(), welcome, "{who:?}: {path}: {refused:?}");
        }
        let token = token.unwrap_or_default();
        let with_token = |request: reqwest::RequestBuilder| match token {
            "" => request,
            token => request.header("Authorization", token),
        };
        let metrics = http.get(format!("{}/metrics", node.client_url()));
        let metrics = with_token(metrics).send().await.unwrap();
        assert_eq!(metrics.status().is_success(), welcome, "{who:?}");
        let status = format!("{}/v3/maintenance/status", node.client_url());
        let status = with_token(http.post(status).json(&json!({})));
        let status = status.send().await.unwrap();
        assert_eq!(status.status().is_success(), welcome, "{who:?}");
    }
    node.stop().await;
}
