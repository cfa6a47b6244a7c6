//! Stopping without losing a request.

use photon_server::LimitsConfig;
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Setup, json_of, service};

#[tokio::test]
async fn requests_in_flight_finish_and_no_new_ones_come() {
    let mut service = service().await;
    let (client, url) = (service.client.clone(), service.url("/slow"));
    let slow = tokio::spawn(async move { client.get(url).send().await.unwrap() });
    let metrics = service.url("/metrics");
    crate::harness::until("the request is in flight", async || {
        let text = service
            .client
            .get(&metrics)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        // The scrape itself is one.
        text.contains("photon_test_http_requests_in_flight 2")
    })
    .await;
    service.stop.cancel();
    let running = service.running.take().unwrap();
    tokio::time::timeout(PATIENCE, running.wait())
        .await
        .unwrap();
    assert_eq!(json_of(slow.await.unwrap()).await["data"], "finished");
    assert!(
        TcpStream::connect(service.rest).await.is_err(),
        "still listening"
    );
}

#[tokio::test]
async fn streams_are_told() {
    let mut service = service().await;
    let mut response = service.get("/stream").await;
    assert_eq!(response.chunk().await.unwrap().unwrap(), "hello\n");
    service.stop.cancel();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "goodbye\n");
    assert_eq!(response.chunk().await.unwrap(), None);
    tokio::time::timeout(PATIENCE, service.running.take().unwrap().wait())
        .await
        .unwrap();
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off() {
    let limits = LimitsConfig {
        drain_timeout_ms: 200,
        ..LimitsConfig::default()
    };
    let mut service = Setup {
        limits,
        ..Setup::default()
    }
    .start()
    .await;
    let (client, url) = (service.client.clone(), service.url("/hang"));
    let hanging = tokio::spawn(async move { client.get(url).send().await });
    let metrics = service.url("/metrics");
    crate::harness::until("the request is in flight", async || {
        let text = service
            .client
            .get(&metrics)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        text.contains("photon_test_http_requests_in_flight 2")
    })
    .await;
    service.stop.cancel();
    tokio::time::timeout(PATIENCE, service.running.take().unwrap().wait())
        .await
        .unwrap();
    assert!(hanging.await.unwrap().is_err());
}
