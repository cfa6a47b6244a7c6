//! `kill -9` right after an answer: what was acknowledged is there when the node comes back.

use std::collections::BTreeMap;

use etcd_client::GetOptions;
use photon_testkit::Seed;
use rand::Rng as _;

use super::process::{Node, long};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    let rounds = if long() { 300 } else { 30 };
    let mut rng = Seed::for_test("nothing_acknowledged_is_lost").rng(0);
    let mut node = Node::start().await;
    let mut acknowledged: BTreeMap<String, (String, i64)> = BTreeMap::new();
    let mut highest = 0;
    for round in 0..rounds {
        let mut client = node.client().await;
        for put in 0..rng.random_range(1..4) {
            let (key, value) = (
                format!("key{:03}", rng.random_range(0..40)),
                format!("{round}.{put}"),
            );
            let done = client.put(key.clone(), value.clone(), None).await.unwrap();
            highest = done.header().unwrap().revision();
            acknowledged.insert(key, (value, highest));
        }
        // Others are under way and may or may not be there afterwards; their keys tell them apart.
        let mut other = client.clone();
        let under_way = tokio::spawn(async move {
            for unacknowledged in 0..50 {
                let key = format!("other{unacknowledged}");
                if other.put(key, round.to_string(), None).await.is_err() {
                    return;
                }
            }
        });
        if rng.random_bool(0.5) {
            tokio::task::yield_now().await;
        }
        node.process.kill().unwrap();
        under_way.await.unwrap();
        node.process.restart().await.unwrap();

        let mut client = node.client().await;
        let all = GetOptions::new().with_prefix();
        let found = client.get("key", Some(all)).await.unwrap();
        assert!(
            found.header().unwrap().revision() >= highest,
            "round {round}"
        );
        let found: BTreeMap<String, (String, i64)> = found
            .kvs()
            .iter()
            .map(|kv| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (text(kv.key()), (text(kv.value()), kv.mod_revision()))
            })
            .collect();
        assert_eq!(found, acknowledged, "round {round}");
    }
}
