//! The suite's own tests: etcd agrees with itself, so a difference is one of ours; and differences are seen.

use bytes::Bytes;
use photon_proto::etcdserverpb::PutRequest;
use photon_testkit::{EtcdProcess, Seed};

use super::compare::{Tally, difference};
use super::generate;
use super::op::Op;
use super::server::Server;
use super::session;
use super::shrink;

async fn two_etcds() -> (EtcdProcess, EtcdProcess, Server, Server) {
    let (a, b) = (
        EtcdProcess::start_with(&["--log-level=error"])
            .await
            .unwrap(),
        EtcdProcess::start_with(&["--log-level=error"])
            .await
            .unwrap(),
    );
    let first = Server::connect("etcd", a.endpoint()).await.unwrap();
    let second = Server::connect("other etcd", b.endpoint()).await.unwrap();
    (a, b, first, second)
}

#[tokio::test]
async fn etcd_agrees_with_itself() {
    let seed = Seed::for_test("etcd_agrees_with_itself");
    let (_a, _b, first, second) = two_etcds().await;
    for number in 0..25 {
        let ops = generate::sequence(&mut seed.rng(number));
        let difference = shrink::differs(&first, &second, &ops, &mut Tally::new())
            .await
            .unwrap();
        assert_eq!(difference, None, "sequence {number}");
    }
}

/// Sequences of one seed are the same, or a printed seed would be worth nothing.
#[test]
fn a_seed_gives_the_same_sequence() {
    let sequence = |number| generate::sequence(&mut Seed(7).rng(number));
    assert_eq!(sequence(1), sequence(1));
    assert_ne!(sequence(1), sequence(2));
}

/// A server that answers one put differently must be caught.
#[tokio::test]
async fn a_difference_is_seen_in_answers_and_events() {
    let (_a, _b, first, second) = two_etcds().await;
    let put = |value: &'static [u8]| {
        Op::Put(PutRequest {
            key: Bytes::from_static(b"a"),
            value: Bytes::from_static(value),
            prev_kv: true,
            ..PutRequest::default()
        })
    };
    let watch = Op::Watch(photon_proto::etcdserverpb::WatchCreateRequest {
        key: Bytes::from_static(b"a"),
        ..Default::default()
    });
    let honest = [put(b"1"), put(b"2")];
    let lying = [put(b"x"), put(b"2")];
    let theirs = session::run(&first, &honest).await.unwrap();
    let mine = session::run(&second, &lying).await.unwrap();
    let found = difference(&honest, &theirs, &mine, &mut Tally::new()).unwrap();
    assert!(found.starts_with("operation 1"), "{found}");

    let honest = [watch.clone(), put(b"1")];
    let lying = [watch, put(b"x")];
    let theirs = session::run(&first, &honest).await.unwrap();
    let mine = session::run(&second, &lying).await.unwrap();
    let found = difference(&honest, &theirs, &mine, &mut Tally::new()).unwrap();
    assert!(found.starts_with("watcher 0"), "{found}");
}

/// Shrinking ends with the operations that matter. Two etcds that disagree: a quota lets one refuse large values.
#[tokio::test]
async fn a_failing_sequence_is_shrunk() {
    let strict = EtcdProcess::start_with(&["--max-request-bytes", "1024"])
        .await
        .unwrap();
    let usual = EtcdProcess::start_with(&["--log-level=error"])
        .await
        .unwrap();
    let strict = (
        Server::connect("strict", strict.endpoint()).await.unwrap(),
        strict,
    );
    let usual = (
        Server::connect("usual", usual.endpoint()).await.unwrap(),
        usual,
    );
    let large = Op::Put(PutRequest {
        key: Bytes::from_static(b"a"),
        value: vec![b'x'; 4096].into(),
        ..PutRequest::default()
    });
    let mut ops = generate::sequence(&mut Seed(11).rng(0));
    ops.insert(ops.len() / 2, large.clone());
    let shortest = shrink::shrink(&usual.0, &strict.0, &ops).await.unwrap();
    assert_eq!(shortest, [large]);
}
