//! The store was restored from an older snapshot, or replaced: what a running process does.

use photon_server::Mode;
use photon_store::audit::Trails;
use photon_testkit::{poll::eventually, rest::Caller};
use serde_json::json;

use crate::house::House;

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

async fn make_org(operator: &Caller) -> u16 {
    let body = json!({ "id": "acme", "name": "Acme" });
    operator.post("/api/v1/orgs", body).await.status
}

/// Refuses, says why, and goes on when an operator has said that the store is meant; without being started again. What lay in
/// the store is not taken there from memory: not even the key that wraps the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_process_goes_on_when_the_changed_store_is_accepted() {
    let without_file = |config: &mut iam::Config| config.signing.wrapping_key_file = None;
    let mut house = House::of(Mode::Dev, without_file).await;
    let operator = Caller::at(&house.rest);
    assert_eq!(make_org(&operator).await, 201);
    let login = json!({ "principal_id": "alice", "scope_id": "shop" });
    let old = operator.post("/api/v1/auth/token", login.clone()).await;
    let old = old.text("token");
    Box::pin(house.chainfire.replace_by_empty()).await.unwrap();
    let said = operator.until_not_ready("iam accept-store").await;
    assert!(said.contains("restored or replaced"), "{said}");
    assert_eq!(make_org(&operator).await, 503);

    iam::accept_store(&house.config).await.unwrap();
    operator.until_ready().await;
    // What it knew is gone with the store that had it.
    assert_eq!(operator.get("/api/v1/orgs/acme").await.status, 404);
    let new = eventually("there is a key to sign with", SOON, || async {
        let answer = operator.post("/api/v1/auth/token", login.clone()).await;
        (answer.status == 200).then(|| answer.text("token"))
    });
    let new = new.await.unwrap();
    assert_eq!(make_org(&operator).await, 201);
    let trails = Trails::new(house.store().await, "iam");
    let verdict = trails.verify("org-acme", 1, u64::MAX).await.unwrap();
    assert!(verdict.records > 0 && verdict.complete && verdict.fault.is_none());
    // One that begins with this store knows the key that signed, can sign with it, and knows none of before.
    house.stop().await;
    house.start().await;
    let again = Caller::at(&house.rest);
    again.post("/api/v1/auth/token", login).await.data();
    let path = "/api/v1/auth/verify";
    let valid = async |token: &str| {
        let answer = again.post(path, json!({ "token": token })).await;
        answer.data()["valid"].as_bool().unwrap()
    };
    assert!(valid(&new).await);
    assert!(!valid(&old).await);
    house.stop().await;
    house.chainfire.stop().await;
}
