//! The conformance suite against Debian's etcd, and what only a plain etcd shows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use photon_store::conformance::{self, Server};
use photon_store::{Change, Error, Options, Store, Tls, TlsFiles};
use photon_testkit::{EtcdProcess, TestPki};

struct Etcd(EtcdProcess);

impl Etcd {
    async fn start() -> Self {
        Self(EtcdProcess::start().await.unwrap())
    }
}

impl Server for Etcd {
    fn endpoint(&self) -> String {
        self.0.endpoint().to_owned()
    }

    async fn stop(&mut self) -> Result<(), String> {
        self.0.kill().map_err(|error| format!("{error:#}"))
    }

    async fn start(&mut self) -> Result<(), String> {
        self.0.restart().await.map_err(|error| format!("{error:#}"))
    }

    async fn replace_by_empty(&mut self) -> Result<(), String> {
        let replaced = self.0.replace_by_empty().await;
        replaced.map_err(|error| format!("{error:#}"))
    }
}

#[tokio::test]
async fn records() {
    conformance::records(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn indexes() {
    conformance::indexes(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn lists() {
    conformance::lists(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn transactions() {
    conformance::transactions(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn audits() {
    conformance::audits(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn audits_together() {
    conformance::audits_together(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn audits_of_processes() {
    conformance::audits_of_processes(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn audits_left_alone() {
    conformance::audits_left_alone(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn audits_over_an_outage() {
    conformance::audits_over_an_outage(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn idempotency() {
    conformance::idempotency(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn registry() {
    conformance::registry(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn versions() {
    conformance::versions(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn contention() {
    conformance::contention(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn watches() {
    conformance::watches(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn progress() {
    conformance::progress(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn watch_over_restarts() {
    conformance::watch_over_restarts(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn watch_after_compaction() {
    conformance::watch_after_compaction(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn leases() {
    conformance::leases(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn lease_without_server() {
    conformance::lease_without_server(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn elections() {
    conformance::elections(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn outages() {
    conformance::outages(&mut Etcd::start().await).await;
}

#[tokio::test]
async fn replaced_store() {
    conformance::replaced_store(&mut Etcd::start().await).await;
}

/// The same addresses and token make the same cluster id: only the revision tells that the data is gone.
#[tokio::test]
async fn lost_data_is_seen_by_the_revision_alone() {
    let mut etcd = EtcdProcess::start().await.unwrap();
    let store = Store::connect(Options::new([etcd.endpoint()]))
        .await
        .unwrap();
    for _ in 0..3 {
        let mut write = store.transaction();
        write.put_raw("/a", "1", 0).unwrap();
        write.commit().await.unwrap();
    }
    let before = store.seen().unwrap();
    assert_eq!((before.incarnation.as_ref(), before.revision), (None, 4));
    etcd.lose_data().await.unwrap();
    let read = store.get_raw("/a").await;
    let change = Change::Revision { before: 4, now: 1 };
    assert!(matches!(read, Err(Error::StoreChanged(found)) if found == change));

    let remembering = Options {
        seen: Some(before),
        ..Options::new([etcd.endpoint()])
    };
    let restarted = Store::connect(remembering).await.unwrap();
    assert_eq!(restarted.change(), Some(change));
}

/// Over TLS the certificate's common name is the etcd user, and what it may not do is `Denied`.
#[tokio::test]
async fn certificates_are_users() {
    let pki = TestPki::new().unwrap();
    let server = pki.server("etcd", &[]).unwrap();
    let root = pki.client("root").unwrap();
    let flags = [
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", server.authority.display()),
        format!("--cert-file={}", server.certificate.display()),
        format!("--key-file={}", server.key.display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let etcd = EtcdProcess::start_tls(&flags, root.clone()).await.unwrap();
    let options = |files: &photon_testkit::pki::Files| Options {
        tls: Some(Tls {
            authority: pki.authority_pem().into(),
            identity: Some((
                std::fs::read(&files.certificate).unwrap(),
                std::fs::read(&files.key).unwrap(),
            )),
            server_name: None,
        }),
        ..Options::new([etcd.endpoint()])
    };
    let put = async |store: &Store, key| {
        let mut write = store.transaction();
        write.put_raw(key, "1", 0).unwrap();
        write.commit().await
    };
    let operator = Store::connect(options(&root)).await.unwrap();
    put(&operator, "/theirs").await.unwrap();

    let probe = photon_testkit::etcd::connect_options(&root).unwrap();
    let mut etcd_client = etcd_client::Client::connect([etcd.endpoint()], Some(probe))
        .await
        .unwrap();
    etcd_client.user_add("root", "x", None).await.unwrap();
    etcd_client.role_add("root").await.unwrap();
    etcd_client.user_grant_role("root", "root").await.unwrap();
    etcd_client.user_add("svc", "x", None).await.unwrap();
    etcd_client.role_add("svc").await.unwrap();
    let own = etcd_client::Permission::read_write("/own/").with_prefix();
    etcd_client.role_grant_permission("svc", own).await.unwrap();
    etcd_client.user_grant_role("svc", "svc").await.unwrap();
    etcd_client.auth_enable().await.unwrap();

    let service = Store::connect(options(&pki.client("svc").unwrap()))
        .await
        .unwrap();
    assert!(service.is_guarded().await.unwrap());
    assert!(!operator.is_guarded().await.unwrap());
    put(&service, "/own/a").await.unwrap();
    assert!(service.get_raw("/own/a").await.unwrap().is_some());
    let read = service.get_raw("/theirs").await;
    assert!(matches!(read, Err(Error::Denied { .. })), "{read:?}");
    let write = put(&service, "/theirs").await;
    assert!(matches!(write, Err(Error::Denied { .. })), "{write:?}");
    let watch = service.feed("/theirs").next().await;
    assert!(matches!(watch, Err(Error::Denied { .. })), "{watch:?}");
    put(&operator, "/theirs").await.unwrap();

    // Files that change are read again: the same process is somebody else once they are another's.
    let dir = photon_testkit::scratch::Scratch::new("store-tls").unwrap();
    let followed = TlsFiles {
        authority: pki.authority().to_owned(),
        certificate: dir.path().join("svc.crt"),
        key: dir.path().join("svc.key"),
        server_name: None,
    };
    let svc = pki.client("svc").unwrap();
    std::fs::copy(&svc.certificate, &followed.certificate).unwrap();
    std::fs::copy(&svc.key, &followed.key).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let follower = tokio::spawn(service.clone().follow_tls(followed.clone(), stop.clone()));
    let as_root = || async { service.get_raw("/theirs").await.is_ok() };
    // What does not belong together changes nothing.
    let mismatched = Tls {
        identity: Some((
            std::fs::read(&root.certificate).unwrap(),
            std::fs::read(&svc.key).unwrap(),
        )),
        ..followed.read().unwrap()
    };
    service.replace_tls(&mismatched).await.unwrap_err();
    put(&service, "/own/b").await.unwrap();
    assert!(!as_root().await);
    // The key first, as a renewal writes them.
    std::fs::copy(&root.key, &followed.key).unwrap();
    std::fs::copy(&root.certificate, &followed.certificate).unwrap();
    let patience = std::time::Duration::from_secs(60);
    photon_testkit::poll::eventually_true("the new certificate is used", patience, as_root)
        .await
        .unwrap();
    stop.cancel();
    follower.await.unwrap();
}
