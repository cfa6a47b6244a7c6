//! Many clients that want nothing, and one that takes nothing.

use std::{net::SocketAddr, time::Duration};

use etcd_client::{Client, WatchOptions, WatchStream};
use futures::{StreamExt as _, stream};
use photon_proto::etcdserverpb::{
    WatchCreateRequest, WatchRequest, watch_client::WatchClient, watch_request::RequestUnion,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Channel;

use super::{
    process::{Node, PATIENCE, long, raise_descriptor_limit},
    wire::PREFACE,
};

/// Connections or watchers.
fn crowd() -> usize {
    if long() { 10_000 } else { 1_000 }
}

/// Puts go through, each within its deadline.
async fn puts_are_served(client: &mut Client, puts: usize) {
    for round in 0..puts {
        let put = client.put("crowd/key", round.to_string(), None);
        timeout(PATIENCE, put)
            .await
            .expect("a put in time")
            .unwrap();
    }
}

/// A connection that has been of use once and then idles: HTTP/1 on REST, HTTP/2 on the client port.
async fn idle(rest: SocketAddr, grpc: SocketAddr, number: usize) -> TcpStream {
    let open = async {
        if number.is_multiple_of(2) {
            let mut stream = TcpStream::connect(rest).await.unwrap();
            stream
                .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await
                .unwrap();
            let mut answer = [0; 16];
            stream.read_exact(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            stream
        } else {
            let mut stream = TcpStream::connect(grpc).await.unwrap();
            stream.write_all(PREFACE).await.unwrap();
            let mut settings = [0; 9];
            stream.read_exact(&mut settings).await.unwrap();
            stream
        }
    };
    timeout(PATIENCE, open).await.expect("a connection in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections() {
    assert!(raise_descriptor_limit() as usize > crowd() + 100);
    let mut node = Node::start().await;
    let mut client = node.client().await;
    puts_are_served(&mut client, 20).await;
    let before = node.resident_mib();
    let (rest, grpc) = (node.rest(), node.grpc());
    let connections: Vec<TcpStream> = stream::iter(0..crowd())
        .map(|number| idle(rest, grpc, number))
        .buffer_unordered(64)
        .collect()
        .await;
    assert_eq!(connections.len(), crowd());
    puts_are_served(&mut client, 50).await;
    node.serves().await;
    // 64 KiB for each would already be much.
    let grown = node.resident_mib().saturating_sub(before);
    let limit = 64 + crowd() as u64 / 16;
    eprintln!("{grown} MiB for {} idle connections", crowd());
    assert!(
        grown < limit,
        "{grown} MiB for {} idle connections",
        crowd()
    );
    drop(connections);
    puts_are_served(&mut client, 5).await;
}

/// A watcher on a connection of ten, heard once.
struct Watcher {
    stream: WatchStream,
}

impl Watcher {
    async fn begin(mut client: Client) -> Self {
        let options = WatchOptions::new().with_prefix();
        let begin = async {
            let mut stream = client.watch("crowd/", Some(options)).await.unwrap();
            assert!(stream.message().await.unwrap().unwrap().created());
            stream
        };
        let stream = timeout(PATIENCE, begin).await.expect("a watch in time");
        Self { stream }
    }

    /// Reads until this value arrives.
    async fn sees(&mut self, value: &[u8]) {
        let look = async {
            loop {
                let answer = self.stream.message().await.unwrap().unwrap();
                let events = answer.events();
                if events
                    .iter()
                    .any(|event| event.kv().unwrap().value() == value)
                {
                    return;
                }
            }
        };
        timeout(PATIENCE * 3, look)
            .await
            .expect("the event arrives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers() {
    raise_descriptor_limit();
    let mut node = Node::start().await;
    let mut client = node.client().await;
    puts_are_served(&mut client, 20).await;
    let before = node.resident_mib();
    let clients: Vec<Client> = stream::iter(0..crowd() / 10)
        .then(|_| node.client())
        .collect()
        .await;
    let mut watchers: Vec<Watcher> = stream::iter(0..crowd())
        .map(|number| Watcher::begin(clients[number / 10].clone()))
        .buffer_unordered(64)
        .collect()
        .await;
    puts_are_served(&mut client, 20).await;
    client.put("crowd/key", "last", None).await.unwrap();
    stream::iter(&mut watchers)
        .for_each_concurrent(64, |watcher| watcher.sees(b"last"))
        .await;
    let grown = node.resident_mib().saturating_sub(before);
    let limit = 96 + crowd() as u64 / 8;
    eprintln!("{grown} MiB for {} watchers", crowd());
    assert!(grown < limit, "{grown} MiB for {} watchers", crowd());
}

/// A client that watches and never reads, while 100 MB of events pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader() {
    const EVENTS: usize = 200;
    const BYTES: usize = 512 << 10;
    let mut node = Node::start().await;
    let mut client = node.client().await;

    // Flow control lets through what the windows hold; the rest stays with the server.
    let endpoint = Channel::from_shared(node.process.endpoint()).unwrap();
    let channel = endpoint
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .connect()
        .await
        .unwrap();
    let create = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: "slow/".into(),
            range_end: "slow0".into(),
            prev_kv: true,
            ..WatchCreateRequest::default()
        })),
    };
    let requests = stream::iter([create]).chain(stream::pending());
    let mut unread = WatchClient::new(channel)
        .watch(requests)
        .await
        .unwrap()
        .into_inner();
    assert!(unread.message().await.unwrap().unwrap().created);

    let options = WatchOptions::new().with_prefix();
    let mut reader = node
        .client()
        .await
        .watch("slow/", Some(options))
        .await
        .unwrap();
    let reading = tokio::spawn(async move {
        let mut seen = 0;
        while seen < EVENTS {
            let next = timeout(Duration::from_secs(60), reader.message()).await;
            seen += next.expect("events go on").unwrap().unwrap().events().len();
        }
        seen
    });
    let value = vec![b'x'; BYTES];
    for _ in 0..EVENTS {
        let put = client.put("slow/key", value.clone(), None);
        timeout(PATIENCE, put)
            .await
            .expect("a put in time")
            .unwrap();
    }
    assert_eq!(reading.await.unwrap(), EVENTS);
    // The caches for the log, the newest events and the store are most of it: 64, 64, 48 and 64 MiB.
    let resident = node.resident_mib();
    eprintln!("{resident} MiB with a reader that does not read");
    assert!(
        resident < 600,
        "{resident} MiB with a reader that does not read"
    );
    node.serves().await;
    drop(unread);
}
