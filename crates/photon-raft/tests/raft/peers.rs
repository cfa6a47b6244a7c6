//! The peer port.

use std::time::Duration;

use photon_raft::{ClusterId, Error, identify};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::cluster::{Cluster, GROUP, soon, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_who_it_is() {
    let mut cluster = Cluster::one(|_| {}).await;
    let address = cluster.node(1).address.to_string();
    let found = identify(GROUP, &address, None, soon()).await.unwrap();
    assert!(found.joined);
    assert_eq!(
        (found.member.node_id, found.member.name.as_str()),
        (1, "node-1")
    );
    assert_eq!(found.member.peer_address, address);
    assert_eq!(found.member.client_addresses, ["http://127.0.0.1:1"]);

    let waiting = cluster.add(2).await.address.to_string();
    assert!(
        !identify(GROUP, &waiting, None, soon())
            .await
            .unwrap()
            .joined
    );

    assert!(matches!(
        identify("other", &address, None, soon()).await.unwrap_err(),
        Error::Unreachable { .. }
    ));
    // An address that does not answer costs the deadline, no more.
    let short = Instant::now() + Duration::from_millis(300);
    assert!(matches!(
        identify(GROUP, "192.0.2.1:1", None, short)
            .await
            .unwrap_err(),
        Error::Unreachable { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_harms_nobody() {
    let cluster = Cluster::three(|_| {}).await;
    let leader = cluster.leader().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for seed in 0..60u32 {
        let mut stream = TcpStream::connect(leader.address).await.unwrap();
        let mut garbage: Vec<u8> = (0..2000u32)
            .map(|i| {
                (i.wrapping_mul(2_654_435_761)
                    .wrapping_add(seed.wrapping_mul(40_503))
                    >> 13) as u8
            })
            .collect();
        match seed % 3 {
            0 => {}
            1 => garbage.splice(0..0, preface.iter().copied()).for_each(drop),
            _ => garbage = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        }
        // The listener may close before everything is written.
        let _ = stream.write_all(&garbage).await;
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0; 64])).await;
    }
    leader.propose("alive").await.unwrap();
    assert_eq!(cluster.agreed().await, ["alive"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_refused() {
    let mut cluster = Cluster::three(|config| config.cluster = ClusterId::new(|| 7)).await;
    cluster.leader().await.propose("one").await.unwrap();
    let id = cluster.follower().await.id;
    let (dir, address) = cluster.kill(id).await;
    cluster.leader().await.propose("two").await.unwrap();

    let foreign = |config: &mut photon_raft::Config| config.cluster = ClusterId::new(|| 8);
    let stranger = start(id, &dir, &address.to_string(), foreign)
        .await
        .unwrap();
    // It neither hears the leader nor can it ask it, although everything else about it is right.
    let short = Instant::now() + Duration::from_secs(3);
    let refused = stranger.group.read_index(short).await.unwrap_err();
    assert!(
        matches!(refused, Error::NoLeader | Error::NoQuorum),
        "{refused}"
    );
    let refused = stranger
        .group
        .propose("x".into(), Instant::now() + Duration::from_secs(1))
        .await;
    assert!(refused.is_err());
    assert!(!stranger.records.commands().contains(&"two".to_owned()));
    cluster.nodes.insert(id, stranger);
    cluster.kill(id).await;

    // One that knows no cluster yet is taken, and so is the member itself.
    let fresh = start(id, &dir, &address.to_string(), |_| {}).await.unwrap();
    fresh.group.read_index(soon()).await.unwrap();
    assert!(fresh.records.commands().contains(&"two".to_owned()));
    cluster.nodes.insert(id, fresh);
    let files = cluster.kill(id).await;
    cluster.revive(id, files).await;
    assert_eq!(cluster.agreed().await, ["one", "two"]);
}
