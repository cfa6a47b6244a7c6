//! Bytes that are no protocol, handshakes that do not end, connections that break: to every port.

use std::{net::SocketAddr, time::Duration};

use photon_testkit::{Seed, TestPki, chainfire_process::NodeTls};
use rand::{Rng as _, RngCore as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    process::{Node, PATIENCE, long},
    wire::{self, PREFACE, frame, status_of},
};

fn rounds() -> usize {
    if long() { 3000 } else { 150 }
}

fn noise(rng: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..most)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Sends, and goes away: in order, or with a reset.
async fn throw(to: SocketAddr, bytes: &[u8], reset: bool) {
    let throw = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        // The server may have closed already.
        let _sent = stream.write_all(bytes).await;
        if reset {
            stream.set_zero_linger().unwrap();
        }
    };
    timeout(PATIENCE, throw).await.expect("sending ends");
}

/// A first flight of TLS 1.3 that never goes on: a record header and the beginning of a ClientHello.
const HALF_HELLO: &[u8] = &[
    0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x5a, 0x5a, 0x5a, 0x5a,
];

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_to_every_port() {
    let seed = Seed::for_test("random_bytes_to_every_port");
    let mut rng = seed.rng(0);
    let mut node = Node::start().await;
    let before = node.resident_mib();
    for round in 0..rounds() {
        let port = node.ports()[round % 3];
        let mut bytes = match rng.random_range(0..4) {
            0 => PREFACE.to_vec(),
            1 => b"POST /api/v1/kv/k/put HTTP/1.1\r\nHost: localhost\r\n".to_vec(),
            2 => HALF_HELLO.to_vec(),
            _ => Vec::new(),
        };
        bytes.extend(noise(&mut rng, 5000));
        throw(port, &bytes, rng.random_bool(0.5)).await;
    }
    node.serves().await;
    let grown = node.resident_mib().saturating_sub(before);
    assert!(grown < 200, "{grown} MiB after noise");
}

/// Frames that HTTP/2 does not allow, after a beginning that it does.
#[tokio::test(flavor = "multi_thread")]
async fn http2_frames_that_make_no_sense() {
    let seed = Seed::for_test("http2_frames_that_make_no_sense");
    let mut rng = seed.rng(0);
    let mut node = Node::start().await;
    let before = node.resident_mib();
    let headers = frame(1, 0, 1, &[0x82; 20]);
    let cases: Vec<Vec<u8>> = vec![
        // DATA without a stream; SETTINGS of a wrong length; a window that overflows; a frame too large.
        frame(0, 0, 1, b"data"),
        frame(4, 0, 0, b"12345"),
        [frame(8, 0, 0, &[0x7f; 4]), frame(8, 0, 0, &[0x7f; 4])].concat(),
        frame(0, 0, 1, &[0; 20_000]),
        // Headers that never end.
        [headers.clone(), frame(9, 0, 1, &[0x82; 16_000]).repeat(100)].concat(),
        // Streams that are opened and reset.
        (0..2000u32)
            .flat_map(|n| {
                let stream = 2 * n + 1;
                [
                    frame(1, 4, stream, &[0x82, 0x84, 0x86]),
                    frame(3, 0, stream, &[0, 0, 0, 8]),
                ]
                .concat()
            })
            .collect(),
        // Pings and settings that want an answer nobody reads.
        frame(6, 0, 0, &[7; 8]).repeat(20_000),
        frame(4, 0, 0, &[]).repeat(20_000),
        // A header table bomb.
        [
            frame(4, 0, 0, &[0, 1, 0xff, 0xff, 0xff, 0xff]),
            frame(1, 4, 1, &[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x0f]),
        ]
        .concat(),
    ];
    for port in [node.grpc(), node.rest(), node.process.spec().peer] {
        for case in &cases {
            throw(port, &[PREFACE, case].concat(), rng.random_bool(0.5)).await;
        }
        for _ in 0..rounds() / 3 {
            let (kind, flags, stream) = (
                rng.random_range(0..12),
                rng.random(),
                rng.random_range(0..9),
            );
            let payload = noise(&mut rng, 300);
            let bytes = [PREFACE, &frame(kind, flags, stream, &payload)].concat();
            throw(port, &bytes, rng.random_bool(0.5)).await;
        }
    }
    node.serves().await;
    let grown = node.resident_mib().saturating_sub(before);
    assert!(grown < 250, "{grown} MiB after frames");
}

/// A body announced and broken off, by reset and by end, on connections that carry other requests.
#[tokio::test(flavor = "multi_thread")]
async fn resets_in_the_middle_of_bodies() {
    let node = Node::start().await;
    for round in 0..rounds() {
        let key = format!("broken{round}");
        let head = format!(
            "POST /api/v1/kv/{key}/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: 1000\r\n\r\n{{\"value\":\"half"
        );
        throw(node.rest(), head.as_bytes(), round % 2 == 0).await;
    }
    let mut client = node.client().await;
    let options = etcd_client::GetOptions::new().with_prefix();
    let found = client.get("broken", Some(options)).await.unwrap();
    assert!(found.kvs().is_empty(), "half a body wrote something");
    node.serves().await;
}

/// Slow heads, slow bodies and handshakes that stop: each is ended by the server, and nobody waits for them.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_forever() {
    let node = Node::start_with(|spec| {
        spec.extra = "[http]\nheader_timeout_ms = 700\nrequest_timeout_ms = 2000\n".to_owned();
    })
    .await;
    let body = b"POST /api/v1/kv/k/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{".as_slice();
    for (what, port, start) in [
        ("silence", node.rest(), b"".as_slice()),
        ("silence", node.grpc(), b""),
        (
            "a head",
            node.rest(),
            b"GET /api/v1/kv/k HTTP/1.1\r\nHost: loc",
        ),
        ("half a preface", node.grpc(), &PREFACE[..10]),
        ("a preface and no request", node.grpc(), PREFACE),
    ] {
        let answer = wire::exchange(port, start).await;
        assert!(!matches!(status_of(&answer), Some(200..=299)), "{what}");
    }
    // One byte at a time does not help.
    let slow = async {
        let mut stream = TcpStream::connect(node.rest()).await.unwrap();
        let mut answer = [0; 64];
        loop {
            if stream.write_all(b"x").await.is_err() {
                return;
            }
            let wait = Duration::from_millis(100);
            if let Ok(Ok(0) | Err(_)) = timeout(wait, stream.read(&mut answer)).await {
                return;
            }
        }
    };
    timeout(PATIENCE, slow).await.expect("a slow head is ended");
    let half = async {
        let mut stream = TcpStream::connect(node.rest()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    };
    let answer = timeout(PATIENCE, half)
        .await
        .expect("a slow body is answered");
    assert_eq!(&answer, b"HTTP/1.1 503");
    node.serves().await;
}

fn tls(pki: &TestPki) -> NodeTls {
    NodeTls {
        server: pki.server("chainfire", &[]).unwrap(),
        peer: pki.peer("node-1", &[]).unwrap(),
        client: pki.client("root").unwrap(),
    }
}

/// The same ports with TLS: noise, plain text, and handshakes that stop.
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_do_not_end() {
    let seed = Seed::for_test("handshakes_that_do_not_end");
    let mut rng = seed.rng(0);
    let pki = TestPki::new().unwrap();
    let mut node = Node::start_encrypted(tls(&pki)).await;
    let mut held = Vec::new();
    for round in 0..rounds() {
        let port = node.ports()[round % 3];
        let bytes = match rng.random_range(0..3) {
            0 => [HALF_HELLO, &noise(&mut rng, 400)].concat(),
            1 => [PREFACE, &noise(&mut rng, 400)].concat(),
            _ => noise(&mut rng, 2000),
        };
        throw(port, &bytes, rng.random_bool(0.5)).await;
        let mut open = TcpStream::connect(port).await.unwrap();
        open.write_all(HALF_HELLO).await.unwrap();
        held.push(open);
    }
    // It serves beside the handshakes that hang.
    node.process.wait().await.unwrap();
    let resident = node.resident_mib();
    assert!(resident < 400, "{resident} MiB");
    drop(held);
    node.process.wait().await.unwrap();
}
