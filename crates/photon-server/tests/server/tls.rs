//! Certificates: who the peer is, who is not let in, and new files without a restart.

use std::path::Path;

use axum::Router;
use photon_pki::{Authority, LeafRequest};
use photon_server::{Daemon, Listen, Mode, TlsConfig};
use reqwest::{Certificate, Client, Identity};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, error_of, json_of, loopback, until};

struct Pki {
    directory: TempDir,
    authority: Authority,
}

impl Pki {
    fn new() -> Self {
        photon_server::main_with::install_crypto();
        let pki = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::create("test root").unwrap(),
        };
        pki.authority.save(pki.path()).unwrap();
        pki.authority
            .server("server", Vec::new())
            .unwrap()
            .save(pki.path(), "server")
            .unwrap();
        pki
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn tls(&self, require_client_certificate: bool) -> TlsConfig {
        TlsConfig {
            certificate: self.path().join("server.crt"),
            key: self.path().join("server.key"),
            client_ca: Some(self.path().join("ca.crt")),
            require_client_certificate,
        }
    }

    fn client(&self, issuer: Option<(&Authority, &str)>) -> Client {
        let root = Certificate::from_pem(self.authority.certificate_pem().as_bytes()).unwrap();
        let mut builder = Client::builder()
            .tls_certs_only([root])
            .pool_max_idle_per_host(0);
        if let Some((authority, name)) = issuer {
            let leaf = authority.client(name).unwrap();
            let pem = format!("{}{}", leaf.certificate_pem, leaf.key_pem);
            builder = builder.identity(Identity::from_pem(pem.as_bytes()).unwrap());
        }
        builder.build().unwrap()
    }
}

#[tokio::test]
async fn the_certificate_is_who_the_caller_is() {
    let pki = Pki::new();
    let service = Setup {
        mode: Mode::Enforce,
        tls: Some(pki.tls(false)),
        ..Setup::default()
    }
    .start()
    .await;
    let url = |path: &str| format!("https://localhost:{}{path}", service.rest.port());

    let alice = pki.client(Some((&pki.authority, "alice")));
    let response = alice.get(url("/who")).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    let body = json_of(response).await;
    assert_eq!(body["data"]["common_name"], "alice");
    assert_eq!(body["data"]["identity"], "cert:alice");
    assert_eq!(body["data"]["fingerprint"].as_str().unwrap().len(), 64);

    let nobody = pki.client(None);
    error_of(
        nobody.get(url("/who")).send().await.unwrap(),
        401,
        "UNAUTHENTICATED",
    )
    .await;
    assert_eq!(
        nobody.get(url("/health")).send().await.unwrap().status(),
        200
    );

    // Another root's certificate does not get past the handshake, even with the same names.
    let stranger = Authority::create("test root").unwrap();
    assert!(
        pki.client(Some((&stranger, "alice")))
            .get(url("/who"))
            .send()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_listener_can_require_certificates() {
    let pki = Pki::new();
    let service = Setup {
        mode: Mode::Enforce,
        tls: Some(pki.tls(true)),
        ..Setup::default()
    }
    .start()
    .await;
    let url = format!("https://localhost:{}/health", service.rest.port());
    assert!(pki.client(None).get(&url).send().await.is_err());
    assert_eq!(
        pki.client(Some((&pki.authority, "a")))
            .get(&url)
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn new_certificates_are_taken_without_a_restart() {
    let pki = Pki::new();
    let service = Setup {
        tls: Some(pki.tls(false)),
        ..Setup::default()
    }
    .start()
    .await;
    let url = format!("https://localhost:{}/health", service.rest.port());
    assert_eq!(
        pki.client(None).get(&url).send().await.unwrap().status(),
        200
    );

    // A bad file changes nothing.
    std::fs::write(pki.path().join("server.crt"), "broken").unwrap();
    assert_eq!(
        pki.client(None).get(&url).send().await.unwrap().status(),
        200
    );

    // Another root's leaf is what clients of that root wait for.
    let next = Authority::create("next root").unwrap();
    next.server("server", Vec::new())
        .unwrap()
        .save(pki.path(), "server")
        .unwrap();
    let root = Certificate::from_pem(next.certificate_pem().as_bytes()).unwrap();
    let client = Client::builder()
        .tls_certs_only([root])
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    until("the new certificate", async || {
        client.get(&url).send().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn bad_files_are_named_at_start() {
    let pki = Pki::new();
    let other = Authority::create("other")
        .unwrap()
        .server("x", Vec::new())
        .unwrap();
    other.save(pki.path(), "other").unwrap();
    std::fs::write(pki.path().join("empty.crt"), "").unwrap();
    let mut tls = pki.tls(false);
    for (certificate, key, named) in [
        ("missing.crt", "server.key", "missing.crt"),
        ("empty.crt", "server.key", "empty.crt"),
        ("server.crt", "missing.key", "missing.key"),
        ("server.crt", "other.key", "other.key"),
    ] {
        tls.certificate = pki.path().join(certificate);
        tls.key = pki.path().join(key);
        let listen = Listen::bound(loopback().await, Some(tls.clone()));
        let error = Daemon::new("t", "1")
            .rest(listen, Router::new())
            .start(CancellationToken::new())
            .unwrap_err();
        let text = format!("{:#}", anyhow::Error::from(error));
        assert!(text.contains(named), "{text}");
    }
}

#[test]
fn a_certificate_that_is_not_valid_now_is_found_before_the_start() {
    use photon_server::listen::{TlsError, check_tls};

    let pki = Pki::new();
    check_tls(&pki.tls(true)).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 365 * 86_400);
    let request = LeafRequest::server("server", Vec::new());
    let expired = pki.authority.issue_at(&request, long_ago).unwrap();
    expired.save(pki.path(), "server").unwrap();
    let error = check_tls(&pki.tls(true)).unwrap_err();
    assert!(matches!(error, TlsError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("server.crt"), "{error}");
}

/// What rustls would load, and no caller or no other member would take.
#[tokio::test]
async fn certificates_for_something_else_are_found() {
    use photon_server::listen::{TlsError, Usage, check_member, check_tls};
    let pki = Pki::new();
    let file = |stem: &str| pki.path().join(format!("{stem}.crt"));
    let requests = [
        ("client", LeafRequest::client("client")),
        (
            "peer",
            LeafRequest::peer("peer", ["peer.test".parse().unwrap()]),
        ),
    ];
    for (stem, request) in requests {
        let leaf = pki.authority.issue(&request).unwrap();
        leaf.save(pki.path(), stem).unwrap();
    }
    let as_listener = |stem: &str| {
        check_tls(&TlsConfig {
            certificate: file(stem),
            key: pki.path().join(format!("{stem}.key")),
            ..pki.tls(false)
        })
    };
    as_listener("server").unwrap();
    as_listener("peer").unwrap();
    let error = as_listener("client").unwrap_err();
    assert!(
        matches!(&error, TlsError::Usage { usage: Usage::Server, path } if *path == file("client")),
        "{error}"
    );
    assert!(error.to_string().contains("lacks serverAuth"), "{error}");

    let as_member = |stem: &str, name| check_member(&file(stem), &file("ca"), name);
    as_member("peer", None).unwrap();
    as_member("peer", Some("peer.test")).unwrap();
    for (stem, lacks) in [("client", Usage::Server), ("server", Usage::Client)] {
        let error = as_member(stem, None).unwrap_err();
        assert!(
            matches!(error, TlsError::Usage { usage, .. } if usage == lacks),
            "{stem}: {error}"
        );
    }
    for name in ["test", "other.test", "not a name"] {
        let error = as_member("peer", Some(name)).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{name:?}")) && error.contains("peer.test, localhost"),
            "{error}"
        );
    }
    let other = Pki::new();
    let error = check_member(&file("peer"), &other.path().join("ca.crt"), None).unwrap_err();
    assert!(matches!(error, TlsError::Stranger { .. }), "{error}");
}
