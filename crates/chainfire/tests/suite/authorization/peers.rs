//! The peer port is for members: a caller's certificate, though of the same authority, does not open it.

use std::time::Duration;

use chainfire::config::GROUP;
use photon_raft::{Error, PeerTls, identify};
use photon_testkit::{TestPki, pki::Files};
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
