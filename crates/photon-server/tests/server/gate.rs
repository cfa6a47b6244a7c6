//! Dev mode against browsers, enforce mode against everybody without a credential.

use photon_server::Mode;
use reqwest::Method;

use crate::harness::{Setup, error_of, json_of, service};

#[tokio::test]
async fn dev_mode_takes_requests_without_a_credential() {
    let service = service().await;
    let body = json_of(service.get("/who").await).await;
    assert_eq!(body["data"]["identity"], "dev-operator");
    assert_eq!(body["data"]["loopback"], true);
}

#[tokio::test]
async fn dev_mode_refuses_what_a_browser_could_be_tricked_into() {
    let service = service().await;
    let own = format!("http://{}", service.rest);
    for headers in [
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("origin", "http://localhost:3000")],
        [("sec-fetch-site", "cross-site")],
        [("sec-fetch-site", "same-site")],
        [("host", "evil.example")],
    ] {
        let response = service.send(Method::POST, "/delete", &headers, None).await;
        error_of(response, 403, "FORBIDDEN").await;
        // A preflight is answered the same way, so the browser does not even send the request.
        let response = service
            .send(Method::OPTIONS, "/delete", &headers, None)
            .await;
        assert_eq!(response.status(), 403, "{headers:?}");
    }
    for headers in [
        [("origin", own.as_str())],
        [("sec-fetch-site", "none")],
        [("host", "localhost:1")],
    ] {
        let response = service.send(Method::POST, "/delete", &headers, None).await;
        assert_eq!(response.status(), 200, "{headers:?}");
    }
}

#[tokio::test]
async fn the_gateway_port_has_the_same_gate() {
    let service = service().await;
    let url = format!("http://{}/version", service.grpc);
    assert_eq!(service.client.get(&url).send().await.unwrap().status(), 200);
    let response = service
        .client
        .get(&url)
        .header("host", "evil.example")
        .send()
        .await
        .unwrap();
    error_of(response, 403, "FORBIDDEN").await;
}

#[tokio::test]
async fn a_bad_credential_is_refused_in_either_mode() {
    for mode in [Mode::Dev, Mode::Enforce] {
        let service = Setup {
            mode,
            ..Setup::default()
        }
        .start()
        .await;
        let response = service
            .send(Method::GET, "/ok", &[("authorization", "Bearer x")], None)
            .await;
        error_of(response, 401, "UNAUTHENTICATED").await;
    }
}

#[tokio::test]
async fn enforce_mode_takes_nothing_but_health_without_a_credential() {
    let service = Setup {
        mode: Mode::Enforce,
        ..Setup::default()
    }
    .start()
    .await;
    for path in ["/ok", "/metrics", "/no/such/path"] {
        error_of(service.get(path).await, 401, "UNAUTHENTICATED").await;
    }
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(service.get(path).await.status(), 200, "{path}");
    }
}
