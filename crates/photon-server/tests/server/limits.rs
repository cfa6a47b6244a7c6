//! Too large, too slow, too many.

use std::time::Duration;

use photon_server::LimitsConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{PATIENCE, Service, Setup, error_of, json_of, read_to_close};

async fn limited(limits: LimitsConfig) -> Service {
    Setup {
        limits,
        ..Setup::default()
    }
    .start()
    .await
}

#[tokio::test]
async fn bodies() {
    let service = limited(LimitsConfig {
        body_bytes: 1000,
        ..LimitsConfig::default()
    })
    .await;
    let body = |size: usize| format!(r#"{{"value":"{}"}}"#, "x".repeat(size));
    assert_eq!(service.post("/put/k", &body(900)).await.status(), 200);
    error_of(
        service.post("/put/k", &body(1000)).await,
        413,
        "PAYLOAD_TOO_LARGE",
    )
    .await;
    // Without a length it is found out on the way.
    let chunk = body(5000);
    let answer = service
        .raw(&format!(
            "POST /put/k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
            chunk.len()
        ))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("PAYLOAD_TOO_LARGE"),
        "{answer}"
    );
}

/// An answer is read by a client that first sends all it has, however much that is: the rest of a refused body is
/// read and thrown away, or the connection would break under the client's hands.
#[tokio::test]
async fn a_refused_body_does_not_break_the_connection() {
    let service = limited(LimitsConfig {
        body_bytes: 1000,
        ..LimitsConfig::default()
    })
    .await;
    // Far more than the sockets' buffers hold.
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    for (head, status, code) in [
        (
            "POST /put/k HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n",
            413,
            "PAYLOAD_TOO_LARGE",
        ),
        (
            "POST /put/k HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            "POST /none HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n",
            404,
            "NOT_FOUND",
        ),
    ] {
        let mut stream = TcpStream::connect(service.rest).await.unwrap();
        let head = format!("{head}connection: close\r\ntransfer-encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..256 {
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        // Not a reset: the connection ends cleanly.
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], code);
    }
}

#[tokio::test]
async fn heads() {
    let service = limited(LimitsConfig::default()).await;
    let path = format!("/{}", "x".repeat(40_000));
    error_of(service.get(&path).await, 414, "URI_TOO_LONG").await;
    let query = format!("/ok?{}", "x".repeat(40_000));
    error_of(service.get(&query).await, 414, "URI_TOO_LONG").await;
    let value = "x".repeat(70_000);
    let headers = [("x-long", value.as_str())];
    let response = service
        .send(reqwest::Method::GET, "/ok", &headers, None)
        .await;
    error_of(response, 431, "HEADERS_TOO_LARGE").await;
    assert_eq!(service.get("/ok").await.status(), 200);
}

#[tokio::test]
async fn time_of_a_request() {
    let service = limited(LimitsConfig {
        request_timeout_ms: 100,
        ..LimitsConfig::default()
    })
    .await;
    error_of(service.get("/hang").await, 503, "DEADLINE_EXCEEDED").await;
    // A body that does not come is the same.
    let mut stream = TcpStream::connect(service.rest).await.unwrap();
    stream
        .write_all(b"POST /put/k HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{")
        .await
        .unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("DEADLINE_EXCEEDED"),
        "{answer}"
    );
}

#[tokio::test]
async fn requests_in_flight() {
    let service = limited(LimitsConfig {
        max_in_flight: 1,
        ..LimitsConfig::default()
    })
    .await;
    let url = service.url("/hang");
    let client = service.client.clone();
    let hanging = tokio::spawn(async move { client.get(url).send().await });
    crate::harness::until("load is shed", async || {
        service.get("/ok").await.status() == 503
    })
    .await;
    error_of(service.get("/ok").await, 503, "OVERLOADED").await;
    // Probes are not shed.
    assert_eq!(service.get("/health").await.status(), 200);
    hanging.abort();
    crate::harness::until("the slot is free again", async || {
        service.get("/ok").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_head_that_does_not_end() {
    let limits = LimitsConfig {
        header_timeout_ms: 200,
        idle_timeout_ms: 2_000,
        ..LimitsConfig::default()
    };
    let service = limited(limits).await;
    // Nothing at all, a part of the first head, and a part of a later one.
    let mut silent = TcpStream::connect(service.rest).await.unwrap();
    assert_eq!(read_to_close(&mut silent).await, "");
    let mut slow = TcpStream::connect(service.rest).await.unwrap();
    slow.write_all(b"GET /ok HTTP/1.1\r\nhost: local")
        .await
        .unwrap();
    assert_eq!(read_to_close(&mut slow).await, "");
    let mut later = TcpStream::connect(service.rest).await.unwrap();
    later
        .write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        tokio::time::timeout(PATIENCE, later.read_u8())
            .await
            .unwrap()
            .unwrap(),
        b'H'
    );
    later.write_all(b"GET /ok HT").await.unwrap();
    let answer = read_to_close(&mut later).await;
    assert_eq!(answer.matches("200 OK").count(), 1, "{answer}");
    // A part that came with the request before it counts as idle time.
    let mut pipelined = TcpStream::connect(service.rest).await.unwrap();
    pipelined
        .write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\nGET /ok HT")
        .await
        .unwrap();
    let answer = read_to_close(&mut pipelined).await;
    assert_eq!(answer.matches("200 OK").count(), 1, "{answer}");
    // h2 that begins and does not go on.
    let mut h2 = TcpStream::connect(service.rest).await.unwrap();
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    read_to_close(&mut h2).await;
}

#[tokio::test]
async fn an_idle_connection() {
    let limits = LimitsConfig {
        header_timeout_ms: 5_000,
        idle_timeout_ms: 200,
        ..LimitsConfig::default()
    };
    let service = limited(limits).await;
    let mut stream = TcpStream::connect(service.rest).await.unwrap();
    stream
        .write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let answer = read_to_close(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // A request that takes longer than the idle time is not idle.
    assert_eq!(
        json_of(service.get("/slow").await).await["data"],
        "finished"
    );
}

#[tokio::test]
async fn connections() {
    let service = limited(LimitsConfig {
        max_connections: 2,
        ..LimitsConfig::default()
    })
    .await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(service.rest).await.unwrap();
        stream
            .write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        assert!(
            tokio::time::timeout(PATIENCE, stream.read_u8())
                .await
                .unwrap()
                .is_ok()
        );
        kept.push(stream);
    }
    let mut refused = TcpStream::connect(service.rest).await.unwrap();
    assert_eq!(read_to_close(&mut refused).await, "");
    kept.pop();
    crate::harness::until("a slot is free", async || {
        service
            .client
            .get(service.url("/ok"))
            .timeout(Duration::from_secs(1))
            .send()
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test]
async fn garbage_does_not_disturb_others() {
    let service = limited(LimitsConfig::default()).await;
    for garbage in [
        "\0\0\0\0",
        "GET\r\n\r\n",
        "\u{16}\u{3}\u{1}\0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxx",
        "GET /ok HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
    ] {
        let answer = service.raw(garbage).await;
        assert!(!answer.contains("200 OK"), "{garbage:?}: {answer}");
    }
    assert_eq!(service.get("/ok").await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_nobody_takes() {
    let limits = LimitsConfig {
        idle_timeout_ms: 300,
        ..LimitsConfig::default()
    };
    let service = limited(limits).await;
    let mut stream = TcpStream::connect(service.rest).await.unwrap();
    stream
        .write_all(b"GET /flood HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    // Not reading: the flood fills the sockets' buffers, and then the server gives the connection up.
    crate::harness::until("the connection is given up", async || {
        let text = service.get("/metrics").await.text().await.unwrap();
        text.contains("photon_test_connections_open{listener=\"rest\"} 1")
    })
    .await;
}
