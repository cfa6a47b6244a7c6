//! The store was restored from an older snapshot, or replaced: what a running process does.

use creditservice::{Config, Running, Sockets, export::command::verify_journal};
use photon_testkit::{InProcessChainfire, in_process_chainfire};
use serde_json::json;

use crate::house::{Caller, config};

/// A store, and a process over it with one kind of units and so many shards.
async fn house(shards: u16) -> (InProcessChainfire, Config, Running) {
    let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let config = with_shards(&chainfire, shards);
    let running = started(&config).await;
    (chainfire, config, running)
}

fn with_shards(chainfire: &InProcessChainfire, shards: u16) -> Config {
    let mut config = config(&chainfire.endpoint());
    config.shards.count = shards;
    let limit = serde_json::from_value(json!(5)).unwrap();
    let kind = serde_json::from_value(json!("vm")).unwrap();
    config.quotas.defaults.insert(kind, limit);
    config
}

async fn started(config: &Config) -> Running {
    let running = Box::pin(creditservice::start(config.clone(), Sockets::default())).await;
    let running = running.unwrap();
    Caller::of(&running).until_ready().await;
    running
}

/// The limit of a project for virtual machines.
async fn limit(operator: &Caller, project: &str) -> i64 {
    let answer = operator
        .get(&format!("/api/v1/quotas?project_id={project}"))
        .await;
    answer.data()["quotas"][0]["limit"].as_i64().unwrap()
}

/// Refuses, says why, and goes on when an operator has said that the store is meant; without being started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_process_goes_on_when_the_changed_store_is_accepted() {
    let (mut chainfire, config, running) = house(8).await;
    let operator = Caller::of(&running);
    operator.wallet("shop", 100).await;
    operator.reserve("shop", 40, 600).await.data();
    Box::pin(chainfire.replace_by_empty()).await.unwrap();
    let said = operator.until_not_ready("creditservice accept-store").await;
    assert!(said.contains("restored or replaced"), "{said}");
    assert_eq!(operator.reserve("shop", 1, 600).await.status, 503);
    // What is read is not told from memory either.
    assert_eq!(operator.get("/api/v1/wallets/shop").await.status, 503);

    creditservice::accept_store(&config).await.unwrap();
    operator.until_ready().await;
    // What it knew is gone with the store that had it.
    assert_eq!(operator.get("/api/v1/wallets/shop").await.status, 404);
    operator.wallet("shop", 7).await;
    assert_eq!(operator.figures("shop").await, [7, 0, 7]);
    operator.reserve("shop", 2, 600).await.data();
    assert_eq!(operator.figures("shop").await, [7, 2, 5]);
    // The configuration's kinds of units are known there, too.
    assert_eq!(limit(&operator, "shop").await, 5);
    let mut said = Vec::new();
    let verified = verify_journal(&config, &[], &mut said).await;
    assert!(verified.is_ok(), "{}", String::from_utf8_lossy(&said));
    running.stop().await;
    chainfire.stop().await;
}

/// The store that was accepted says something else of which shard a project is in: nothing is done by what was known before.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_spread_differently_is_not_served_until_the_process_starts_again() {
    let (mut chainfire, config, running) = house(8).await;
    let operator = Caller::of(&running);
    operator.wallet("shop", 100).await;
    Box::pin(chainfire.replace_by_empty()).await.unwrap();
    let other = started(&with_shards(&chainfire, 3)).await;
    let of_other = Caller::of(&other);
    of_other.wallet("shop", 7).await;
    operator.until_not_ready("creditservice accept-store").await;
    creditservice::accept_store(&config).await.unwrap();
    operator
        .until_not_ready("not every shard of the ledger has an owner")
        .await;
    assert_eq!(operator.get("/api/v1/wallets/shop").await.status, 503);
    assert_eq!(operator.reserve("shop", 1, 600).await.status, 503);
    running.stop().await;
    let again = started(&config).await;
    assert_eq!(Caller::of(&again).figures("shop").await, [7, 0, 7]);
    again.stop().await;
    other.stop().await;
    chainfire.stop().await;
}
