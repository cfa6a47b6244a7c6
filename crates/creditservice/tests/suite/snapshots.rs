//! Snapshots: a new owner begins with the newest one, and knows what the old one knew.

use creditservice::Sockets;
use photon_store::Scan;
use photon_testkit::{in_process_chainfire, poll::eventually};
use serde_json::json;

use crate::house::{Caller, PATIENCE, config};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_begins_with_the_newest_one() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let start = async || {
        let mut config = config(&endpoint);
        config.shards.snapshot_entries = 20;
        let running = Box::pin(creditservice::start(config, Sockets::default()))
            .await
            .unwrap();
        let operator = Caller::of(&running);
        operator.until_ready().await;
        (running, operator)
    };
    let options = photon_store::Options::new([&endpoint]);
    let store = photon_store::Store::connect(options).await.unwrap();
    let (running, operator) = start().await;
    operator.wallet("shop", 1_000).await;
    let held = operator.reserve("shop", 70, 600).await.id();
    let body = json!({ "amount": 5 });
    let path = "/api/v1/wallets/shop/topup";
    let first = operator.keyed("k", path, body.clone()).await;
    for n in 0..100 {
        let body = json!({ "amount": 1, "description": format!("n{n}") });
        operator.post(path, body).await.data();
    }
    let chunks = async || {
        let scan = Scan::below("/photon/creditservice/snapshot/", 100);
        let entries = store.scan(&scan).await.unwrap().entries;
        entries
            .into_iter()
            .map(|entry| entry.key)
            .collect::<Vec<_>>()
    };
    // The newest one stays, and what says so.
    eventually("old snapshots are removed", PATIENCE, || async {
        (chunks().await.len() == 2).then_some(())
    })
    .await
    .unwrap();
    for n in 100..110 {
        let body = json!({ "amount": 1, "description": format!("n{n}") });
        operator.post(path, body).await.data();
    }
    let history = operator.transactions("shop", "").await;
    assert_eq!(history.len(), 112);
    running.stop().await;

    let journal = Scan::below("/photon/creditservice/journal/", 1);
    let oldest = store.scan(&journal).await.unwrap().entries.remove(0);
    let (running, operator) = start().await;
    assert_eq!(operator.figures("shop").await, [1_115, 70, 1_045]);
    assert_eq!(operator.transactions("shop", "").await, history);
    let again = operator.keyed("k", path, body.clone()).await;
    assert!(again.replayed);
    assert_eq!(again.data(), first.data());
    let release = format!("/api/v1/reservations/{held}/release");
    operator.post(&release, json!({})).await.data();
    running.stop().await;

    // A snapshot that cannot be read is left out.
    let chunk = chunks()
        .await
        .into_iter()
        .find(|key| !key.ends_with("current"));
    let mut transaction = store.transaction();
    transaction.put_raw(&chunk.unwrap(), "{}\n", 0).unwrap();
    transaction.commit().await.unwrap();
    let (running, operator) = start().await;
    assert_eq!(operator.figures("shop").await, [1_115, 0, 1_115]);
    running.stop().await;

    // Without it and without the journal's beginning there is nothing to go on from: it says so, and serves nothing wrong.
    let mut transaction = store.transaction();
    transaction.delete_raw(&oldest.key).unwrap();
    transaction.commit().await.unwrap();
    let running = Box::pin(creditservice::start(config(&endpoint), Sockets::default()))
        .await
        .unwrap();
    let refused = Caller::of(&running).get("/api/v1/wallets/shop").await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    running.stop().await;
    chainfire.stop().await;
}
