//! Credentials that are not ours, not theirs, or not any more.

use photon_testkit::TestPki;
use reqwest::StatusCode;
use serde_json::Value;

use super::{
    ask::{
        Ask,
        Verdict::{Allowed, Denied, Nobody},
    },
    doors::Door,
    guarded::Guarded,
};
use crate::local::Node;

/// The form of IAM's tokens.
const IAM_TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJyb290In0.c2lnbmF0dXJl";

/// Tokens that nobody issued: IAM's, one of etcd's form, an index far beyond the log, nothing.
const STRANGE_TOKENS: [&str; 5] = [
    IAM_TOKEN,
    "abcdefghijklmnop.3",
    "abcdefghijklmnop.18446744073709551615",
    "x",
    "0",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_token_is_refused_at_every_door_even_over_a_good_certificate() {
    let node = Guarded::start().await;
    for token in STRANGE_TOKENS {
        for shown in [None, Some("root")] {
            for door in Door::by_token(&node, token, shown) {
                for ask in [Ask::Get("/a/1"), Ask::Watch("/a/")] {
                    let verdict = door.ask(ask).await;
                    assert_eq!(
                        verdict,
                        Some(Nobody),
                        "{}: {ask:?} with {token} over {shown:?}",
                        door.name
                    );
                }
            }
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_more_than_the_certificate_it_comes_over() {
    let node = Guarded::start().await;
    let token = node.login("alice", super::guarded::PASSWORD).await.unwrap();
    for door in Door::by_token(&node, &token, Some("root")) {
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
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_ends_in_the_handshake() {
    let node = Guarded::start().await;
    let theirs = TestPki::new().unwrap().client("root").unwrap();
    // The files go with their authority: read at once.
    let channel = {
        let other = TestPki::new().unwrap();
        node.channel_with(Some(&other.client("root").unwrap()))
    };
    assert!(!theirs.certificate.exists());
    let mut kv = photon_proto::etcdserverpb::kv_client::KvClient::new(channel);
    let error = kv
        .range(photon_proto::etcdserverpb::RangeRequest {
            key: "/a/1".into(),
            ..Default::default()
        })
        .await
        .unwrap_err();
    assert!(!error.message().contains("etcdserver"), "{error}");

    let other = TestPki::new().unwrap();
    let http = node.http_with(Some(&other.client("root").unwrap()));
    let answer = http.get(format!("{}/health", node.rest_url())).send().await;
    assert!(answer.is_err(), "{answer:?}");
    // Ours is fine on the same listeners.
    let ours = node
        .http(Some("root"))
        .get(format!("{}/health", node.rest_url()));
    assert_eq!(ours.send().await.unwrap().status(), StatusCode::OK);
    node.stop().await;
}

/// A server's certificate of our own authority names a host, not a caller.
#[tokio::test(flavor = "multi_thread")]
async fn a_servers_certificate_is_not_a_callers() {
    let node = Guarded::start().await;
    let server = node.pki.server("root", &[]).unwrap();
    let http = node.http_with(Some(&server));
    let answer = http
        .get(format!("{}/api/v1/kv/x", node.rest_url()))
        .send()
        .await;
    assert!(answer.is_err(), "{answer:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_certificate_on_rest_is_401_in_the_guides_form() {
    let node = Guarded::open().await;
    let http = node.http(None);
    for path in ["kv/x", "kv", "cluster/status", "snapshot", "nothing-here"] {
        let answer = http
            .get(format!("{}/api/v1/{path}", node.rest_url()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "UNAUTHENTICATED");
        assert_eq!(body["meta"]["request_id"].as_str().unwrap().len(), 36);
    }
    let health = http.get(format!("{}/health", node.rest_url()));
    assert_eq!(health.send().await.unwrap().status(), StatusCode::OK);
    node.stop().await;
}

/// Whether or not authentication is on, and in dev mode too: a credential that cannot be checked is not passed over.
#[tokio::test(flavor = "multi_thread")]
async fn iams_tokens_are_401_on_rest_in_both_modes() {
    let refused = async |http: &reqwest::Client, url: String| {
        for authorization in [
            format!("Bearer {IAM_TOKEN}"),
            format!("bearer {IAM_TOKEN}"),
            "Basic cm9vdDpyb290".to_owned(),
            "Bearer".to_owned(),
            String::new(),
        ] {
            let request = http.get(&url).header("Authorization", &authorization);
            let answer = request.send().await.unwrap();
            assert_eq!(
                answer.status(),
                StatusCode::UNAUTHORIZED,
                "{authorization:?}"
            );
            let body: Value = answer.json().await.unwrap();
            assert_eq!(
                body["error"]["code"], "UNAUTHENTICATED",
                "{authorization:?}"
            );
        }
    };
    let dev = Node::alone().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    refused(
        &http,
        format!("http://{}/api/v1/cluster/status", dev.rest()),
    )
    .await;
    dev.stop().await;

    let open = Guarded::open().await;
    refused(
        &open.http(Some("root")),
        format!("{}/api/v1/kv", open.rest_url()),
    )
    .await;
    open.stop().await;

    let guarded = Guarded::start().await;
    refused(
        &guarded.http(Some("root")),
        format!("{}/api/v1/kv", guarded.rest_url()),
    )
    .await;
    guarded.stop().await;
}
