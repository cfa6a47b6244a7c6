//! The peer port is for members: a caller's certificate, though of the same authority, does not open it.

use std::time::Duration;

use chainfire::config::GROUP;
use photon_raft::{Error, PeerTls, identify};
use photon_testkit::{TestPki, pki::Files};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::guarded::Guarded;

fn tls(files: &Files, peer_name: Option<&str>) -> PeerTls {
    let peer_name = peer_name.map(str::to_owned);
    PeerTls::from_files(&files.certificate, &files.key, &files.authority, peer_name).unwrap()
}

async fn knock(node: &Guarded, tls: Option<PeerTls>) -> Result<u64, Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let address = node.peer_address().to_string();
    let identity = identify(GROUP, &address, tls.as_ref(), deadline).await?;
    Ok(identity.member.node_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_members_certificate_opens_the_peer_port() {
    let node = Guarded::open().await;
    let member = node.pki.peer("node-2", &[]).unwrap();
    assert_eq!(knock(&node, Some(tls(&member, None))).await.unwrap(), 1);

    let elsewhere = TestPki::new().unwrap();
    let mut stranger = elsewhere.peer("node-2", &[]).unwrap();
    // Trusts our authority, which does not trust it.
    stranger.authority = member.authority.clone();
    for (who, tls) in [
        (
            "a client",
            Some(tls(&node.pki.client("root").unwrap(), None)),
        ),
        (
            "a server",
            Some(tls(&node.pki.server("node-2", &[]).unwrap(), None)),
        ),
        ("another authority's member", Some(tls(&stranger, None))),
        ("nobody", None),
    ] {
        let outcome = knock(&node, tls).await;
        assert!(
            matches!(outcome, Err(Error::Unreachable { .. })),
            "{who}: {outcome:?}"
        );
    }
    // Refusing them disturbed nothing.
    assert_eq!(knock(&node, Some(tls(&member, None))).await.unwrap(), 1);
    node.stop().await;
}

/// A node in enforce mode tells who it is only to those who show a certificate, and the others show their peers'.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_added_by_its_client_port_with_the_peers_certificate() {
    let node = Guarded::open().await;
    let deaf = |config: &mut chainfire::config::Config| {
        config.grpc.tls.as_mut().unwrap().client_ca = None;
    };
    let deaf = node.joining(2, deaf).await;
    let good = node.joining(3, |_| ()).await;
    let add = async |node_id: u64, other: &chainfire::run::Running| {
        let url = format!("{}/api/v1/cluster/members", node.rest_url());
        let body = json!({ "node_id": node_id, "address": other.grpc_address().to_string() });
        let add = node.http(Some("root")).post(url).json(&body);
        let answer = add.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let (status, refused) = add(2, &deaf).await;
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(status, 409, "{refused}");
    assert!(message.contains("client_ca"), "{refused}");
    let (status, added) = add(3, &good).await;
    assert_eq!(status, 201, "{added}");
    for other in [deaf, good] {
        other.stop().await;
    }
    node.stop().await;
}
