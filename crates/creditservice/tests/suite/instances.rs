//! Several processes over one store are one service; what was answered stays.

use photon_testkit::{in_process_chainfire, poll::eventually};
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{Caller, House, PATIENCE, over};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let mut house = House::dev().await;
    let operator = house.operator.clone();
    for n in 0..20 {
        operator.wallet(&format!("p{n}"), 100 * n).await;
    }
    let held = operator.reserve("p5", 200, 600).await.id();
    let spent = operator.reserve("p6", 200, 600).await.id();
    let commit = format!("/api/v1/reservations/{spent}/commit");
    operator
        .post(&commit, json!({ "actual_amount": 150 }))
        .await
        .data();
    let before = operator.get("/api/v1/wallets").await;
    let history = operator.transactions("p6", "").await;
    assert_eq!(before.data()["wallets"].as_array().unwrap().len(), 20);
    for _ in 0..2 {
        house.restart().await;
        let operator = house.operator.clone();
        assert_eq!(operator.get("/api/v1/wallets").await.data(), before.data());
        assert_eq!(operator.transactions("p6", "").await, history);
        let again = operator.post(&commit, json!({})).await;
        assert_eq!(again.error(), (409, "RESERVATION_COMMITTED", ""));
    }
    let release = format!("/api/v1/reservations/{held}/release");
    house.operator.post(&release, json!({})).await.data();
    assert_eq!(house.operator.figures("p5").await, [500, 0, 500]);
    house.stop().await;
}

/// Both take requests for every project; each owns half of the shards; when one goes the other takes its part over.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_shards() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let endpoint = chainfire.endpoint();
    let one = over(&endpoint).await;
    let a = Caller::of(&one);
    let projects: Vec<String> = (0..24).map(|n| format!("p{n}")).collect();
    for project in &projects {
        a.wallet(project, 1_000).await;
    }
    let other = over(&endpoint).await;
    let b = Caller::of(&other);
    // While shards change hands requests wait for them, or are done at once; none is lost.
    let spend = |caller: &Caller, project: &str| {
        let (caller, path) = (caller.clone(), format!("/api/v1/wallets/{project}/charge"));
        async move {
            caller
                .post(&path, json!({ "amount": 1 }))
                .await
                .data()
                .clone()
        }
    };
    let store = photon_store::Store::connect(photon_store::Options::new([&endpoint]))
        .await
        .unwrap();
    let owners = async || {
        let scan = photon_store::Scan::below("/photon/creditservice/cluster/owner/", 100);
        let mut owners = std::collections::BTreeMap::<String, usize>::new();
        for entry in store.scan(&scan).await.unwrap().entries {
            let owner: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
            *owners.entry(owner["instance"].to_string()).or_default() += 1;
        }
        owners
    };
    let mut rounds = 0;
    eventually("each owns half", PATIENCE, || {
        rounds += 1;
        let spending: Vec<_> = projects
            .iter()
            .flat_map(|project| [spend(&a, project), spend(&b, project)])
            .collect();
        let owners = &owners;
        async move {
            let mut tasks = JoinSet::new();
            for one in spending {
                tasks.spawn(one);
            }
            tasks.join_all().await;
            let owners = owners().await;
            let halves = owners.len() == 2 && owners.values().all(|count| *count == 4);
            halves.then_some(())
        }
    })
    .await
    .unwrap();
    let left = 1_000 - 2 * rounds;
    for project in &projects {
        assert_eq!(a.figures(project).await, [left, 0, left]);
        assert_eq!(b.figures(project).await, [left, 0, left]);
    }
    // A reservation made at one is resolved at the other.
    let mut resolving = JoinSet::new();
    for project in projects.clone() {
        let (a, b) = (a.clone(), b.clone());
        resolving.spawn(async move {
            let id = a.reserve(&project, 100, 600).await.id();
            let path = format!("/api/v1/reservations/{id}/commit");
            b.post(&path, json!({ "actual_amount": 100 })).await.data();
        });
    }
    resolving.join_all().await;
    one.stop().await;
    for project in &projects {
        assert_eq!(b.figures(project).await[0], left - 100);
    }
    eventually("one owns all", PATIENCE, || async {
        let owners = owners().await;
        (owners.len() == 1 && owners.values().sum::<usize>() == 8).then_some(())
    })
    .await
    .unwrap();
    b.until_ready().await;
    other.stop().await;
    chainfire.stop().await;
}

/// Whoever raises a shard's epoch deposes its owner: what that has in memory does not get into the store.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_owner_cannot_write() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("shop", 100).await;
    let store = house.store().await;
    // As another process would, for every shard.
    for shard in 0..8 {
        let key = format!("/photon/creditservice/shard/{shard}/epoch");
        let before = store.get_raw(&key).await.unwrap().unwrap();
        let stolen = json!({ "v": 1, "epoch": 1_000, "instance": "thief" }).to_string();
        let mut transaction = store.transaction();
        transaction.at_revision(&key, before.revision).unwrap();
        transaction.put_raw(&key, stolen, 0).unwrap();
        transaction.commit().await.unwrap();
    }
    let head_of = async |shard: u16| {
        let key = format!("/photon/creditservice/shard/{shard}/head");
        store.get_raw(&key).await.unwrap()
    };
    // It finds out by its write, which did not happen; it reads everything anew, under a newer epoch, and does it then.
    let done = operator
        .keyed("k", "/api/v1/wallets/shop/topup", json!({ "amount": 1 }))
        .await;
    assert_eq!(done.data()["balance"], 101);
    assert_eq!(operator.figures("shop").await, [101, 0, 101]);
    let mut heads = Vec::new();
    for shard in 0..8 {
        heads.extend(head_of(shard).await);
    }
    assert_eq!(heads.len(), 1, "one project, one shard");
    let head: serde_json::Value = serde_json::from_slice(&heads[0].value).unwrap();
    assert_eq!((&head["epoch"], &head["block"]), (&json!(1_001), &json!(2)));
    house.stop().await;
}

/// A journal that was changed behind our back is not gone on from.
#[tokio::test(flavor = "multi_thread")]
async fn an_altered_journal_is_noticed() {
    let mut house = House::dev().await;
    house.operator.wallet("shop", 100).await;
    house.operator.wallet("lab", 100).await;
    house.running.take().unwrap().stop().await;
    let store = house.store().await;
    let scan = photon_store::Scan::below("/photon/creditservice/journal/", 10);
    let blocks = store.scan(&scan).await.unwrap().entries;
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let block = blocks
        .iter()
        .find(|block| text(&block.value).contains("\"shop\""))
        .unwrap();
    let altered = text(&block.value).replace("100", "900");
    let mut transaction = store.transaction();
    transaction.put_raw(&block.key, altered, 0).unwrap();
    transaction.commit().await.unwrap();
    let config = crate::house::config(&house.chainfire.endpoint());
    let running = Box::pin(creditservice::start(
        config,
        creditservice::Sockets::default(),
    ))
    .await
    .unwrap();
    let operator = Caller::of(&running);
    let there = operator.get("/api/v1/wallets/lab").await;
    assert_eq!(there.data()["balance"], 100);
    let refused = operator.get("/api/v1/wallets/shop").await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    assert!(refused.retry_after.is_some());
    running.stop().await;
    house.chainfire.stop().await;
}
