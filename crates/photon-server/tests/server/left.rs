//! Clients that leave before their answer.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::harness::{Service, service, until};

/// How many requests of a route were noted with a status.
async fn noted(service: &Service, method: &str, route: &str, status: u16) -> bool {
    let text = service.get("/metrics").await.text().await.unwrap();
    let labels =
        format!(r#"{{door="rest",method="{method}",route="{route}",status="{status}"}} 1"#);
    text.contains(&format!("photon_test_http_requests_total{labels}"))
}

#[tokio::test]
async fn who_leaves_is_not_noted_as_answered() {
    let service = service().await;
    // In the middle of a body, of a handler that takes what has come for all of it; and while the answer is made.
    for (head, method, route) in [
        (
            "POST /swallow HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"value\":",
            "POST",
            "/swallow",
        ),
        (
            "GET /hang HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "GET",
            "/hang",
        ),
    ] {
        let mut stream = TcpStream::connect(service.rest).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let working = "photon_test_http_requests_in_flight 2";
        until("it is being worked on", async || {
            let text = service.get("/metrics").await.text().await.unwrap();
            text.contains(working)
        })
        .await;
        drop(stream);
        until("it is noted that its client left", async || {
            noted(&service, method, route, 499).await
        })
        .await;
        assert!(!noted(&service, method, route, 200).await, "{route}");
    }
    // What is only nonsense is answered.
    let answer = service
        .raw(
            "POST /put/k HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    until("it is noted as it was answered", async || {
        noted(&service, "POST", "/put/{*key}", 400).await
    })
    .await;
}
