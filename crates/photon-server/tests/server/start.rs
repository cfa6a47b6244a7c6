//! What must not start, and readiness.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use photon_server::{Daemon, Listen, ListenConfig, Mode, Readiness};
use tokio_util::sync::CancellationToken;

use crate::harness::{Setup, json_of, until};

#[tokio::test]
async fn dev_mode_needs_loopback() {
    let open = || async {
        Listen::bind(&ListenConfig::plain("0.0.0.0:0".parse().unwrap()))
            .await
            .unwrap()
    };
    let start = |daemon: Daemon| daemon.start(CancellationToken::new()).map(|_| ());

    let error = start(
        Daemon::new("t", "1")
            .mode(Mode::Dev)
            .rest(open().await, Router::new()),
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("REST listener is on 0.0.0.0:") && text.contains("auth.mode"),
        "{text}"
    );

    let error = start(
        Daemon::new("t", "1")
            .mode(Mode::Dev)
            .grpc(open().await, tonic::service::Routes::default()),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("gRPC listener is on 0.0.0.0:")
    );

    let peer = "192.0.2.1:2380".parse().unwrap();
    let error = start(
        Daemon::new("t", "1")
            .mode(Mode::Dev)
            .also_listens("peer", peer),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the peer listener is on 192.0.2.1:2380"),
        "{error}"
    );

    let loopback = "[::ffff:127.0.0.1]:2380".parse().unwrap();
    start(
        Daemon::new("t", "1")
            .mode(Mode::Dev)
            .also_listens("peer", loopback),
    )
    .unwrap();
    start(Daemon::new("t", "1").rest(open().await, Router::new())).unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = Listen::bind(&ListenConfig::plain("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap();
    let address = first.address().unwrap();
    let error = Listen::bind(&ListenConfig::plain(address))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("cannot listen on {address}")),
        "{error}"
    );
}

static READY: AtomicBool = AtomicBool::new(false);

#[tokio::test]
async fn readiness_follows_the_service() {
    let change = |daemon: Daemon| {
        daemon.readiness(|| {
            Box::pin(async {
                if READY.load(Ordering::Relaxed) {
                    Readiness::Ready
                } else {
                    Readiness::NotReady("no leader".to_owned())
                }
            })
        })
    };
    let service = Setup {
        change,
        ..Setup::default()
    }
    .start()
    .await;
    let response = service.get("/health").await;
    assert_eq!(response.status(), 503);
    let body = json_of(response).await;
    assert_eq!(body["data"]["status"], "unhealthy");
    assert_eq!(body["data"]["reason"], "no leader");
    assert_eq!(service.get("/readyz").await.status(), 503);
    assert_eq!(service.get("/livez").await.status(), 200);
    READY.store(true, Ordering::Relaxed);
    until("healthy", async || {
        service.get("/health").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_an_operator_is_said_by_a_healthy_service() {
    let change = |daemon: Daemon| {
        let but = || Readiness::ReadyBut("an alarm".to_owned());
        daemon.readiness(move || Box::pin(async move { but() }))
    };
    let service = Setup {
        change,
        ..Setup::default()
    }
    .start()
    .await;
    for path in ["/health", "/readyz"] {
        let response = service.get(path).await;
        assert_eq!(response.status(), 200);
        let body = json_of(response).await;
        assert_eq!(body["data"]["status"], "healthy");
        assert_eq!(body["data"]["reason"], "an alarm");
    }
}
