//! Peers with certificates.

use std::{sync::Arc, time::Duration};

use photon_raft::{Config, Error, Group, Member, NoService, PeerTls, Role, Transport, identify};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::time::Instant;

use crate::{
    cluster::{GROUP, listen, soon, until},
    records::Records,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate that carries `name`, and trusts whoever `ca` signed.
fn tls(ca: &Authority, name: &str) -> PeerTls {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()])
        .unwrap()
        .signed_by(&key, ca)
        .unwrap();
    PeerTls {
        certificate: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
        ca: ca.pem().into_bytes(),
        peer_name: Some("peer.test".to_owned()),
        files: None,
    }
}

async fn node(id: u64, tls: PeerTls) -> (tempfile::TempDir, Arc<Records>, Group<Records>, String) {
    let dir = tempfile::tempdir().unwrap();
    let transport = Transport::bind(listen("127.0.0.1:0").await, Some(tls)).unwrap();
    let address = transport.local_addr().to_string();
    let records = Arc::new(Records::open(&dir.path().join("state")));
    let config = Config::new(GROUP, id, dir.path(), address.clone());
    let group = Group::start(config, records.clone(), transport, Arc::new(NoService))
        .await
        .unwrap();
    (dir, records, group, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_verify_each_other() {
    let ca = authority();
    let (_one, _, first, address) = node(1, tls(&ca, "peer.test")).await;
    let (_two, records, second, other) = node(2, tls(&ca, "peer.test")).await;
    first.bootstrap().await.unwrap();
    until("it leads", || first.status().role == Role::Leader).await;
    first
        .add_learner(
            Member {
                peer_address: other,
                ..Member::default()
            },
            soon(),
        )
        .await
        .unwrap();
    second.propose("through tls".into(), soon()).await.unwrap();
    assert_eq!(records.commands(), ["through tls"]);

    let refused = async |who: Option<PeerTls>| {
        let short = Instant::now() + Duration::from_secs(2);
        let error = identify(GROUP, &address, who.as_ref(), short)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    };
    assert_eq!(
        identify(GROUP, &address, Some(&tls(&ca, "peer.test")), soon())
            .await
            .unwrap()
            .member
            .node_id,
        1
    );
    // In the clear; a client's certificate of the same authority; another authority.
    refused(None).await;
    refused(Some(tls(&ca, "client.test"))).await;
    refused(Some(tls(&authority(), "peer.test"))).await;
    first.propose("still fine".into(), soon()).await.unwrap();
    first.shutdown().await;
    second.shutdown().await;
}

/// Puts a node's certificates into files, as a renewal does: all of it at once.
fn write(dir: &std::path::Path, tls: &PeerTls) {
    for (name, pem) in [
        ("crt", &tls.certificate),
        ("key", &tls.key),
        ("ca", &tls.ca),
    ] {
        let new = dir.join(format!("{name}.new"));
        std::fs::write(&new, pem).unwrap();
        std::fs::rename(new, dir.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_up_without_a_restart() {
    let (old, new) = (authority(), authority());
    let dir = tempfile::tempdir().unwrap();
    let from = |file| dir.path().join(file);
    write(dir.path(), &tls(&old, "peer.test"));
    let read = || {
        let name = Some("peer.test".to_owned());
        PeerTls::from_files(&from("crt"), &from("key"), &from("ca"), name).unwrap()
    };
    let (_one, _, first, address) = node(1, read()).await;
    let (_two, records, second, other) = node(2, read()).await;
    first.bootstrap().await.unwrap();
    until("it leads", || first.status().role == Role::Leader).await;
    let learner = Member {
        peer_address: other,
        ..Member::default()
    };
    first.add_learner(learner, soon()).await.unwrap();

    // Another authority, so that neither side's old certificate would do any more.
    write(dir.path(), &tls(&new, "peer.test"));
    let stranger = tls(&new, "peer.test");
    let deadline = soon();
    while let Err(error) = identify(GROUP, &address, Some(&stranger), soon()).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let outdated = Instant::now() + Duration::from_secs(2);
    let refused = identify(GROUP, &address, Some(&tls(&old, "peer.test")), outdated).await;
    assert!(refused.is_err());
    // Both go on, over connections made with the new ones.
    second.propose("renewed".into(), soon()).await.unwrap();
    assert_eq!(records.commands(), ["renewed"]);

    // Half of a renewal changes nothing.
    std::fs::write(from("key"), "no key").unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    identify(GROUP, &address, Some(&stranger), soon())
        .await
        .unwrap();
    first.shutdown().await;
    second.shutdown().await;
}
