//! `Idempotency-Key`: asked twice, made once.

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::house::House;

const TOP_UP: &str = "/api/v1/wallets/shop/topup";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_answered_as_at_first() {
    let mut house = House::dev().await;
    let operator = house.operator.clone();
    operator.wallet("shop", 0).await;
    operator.wallet("lab", 0).await;
    let first = operator.keyed("k1", TOP_UP, json!({ "amount": 5 })).await;
    assert!(!first.replayed);
    // The same meant, otherwise written.
    let again = operator
        .keyed("k1", TOP_UP, json!({ "description": null, "amount": 5 }))
        .await;
    assert!(again.replayed);
    assert_eq!((again.status, again.data()), (200, first.data()));
    assert_ne!(
        again.body["meta"]["request_id"],
        first.body["meta"]["request_id"]
    );
    let other = operator.keyed("k1", TOP_UP, json!({ "amount": 6 })).await;
    assert_eq!(other.error(), (422, "UNPROCESSABLE", "Idempotency-Key"));
    // Of another project it is another key.
    let lab = operator
        .keyed("k1", "/api/v1/wallets/lab/topup", json!({ "amount": 6 }))
        .await;
    assert!(!lab.replayed && lab.status == 200);
    // Refusals are not kept: what failed may succeed.
    let body = json!({ "project_id": "shop", "amount": 50 });
    let refused = operator
        .keyed("k2", "/api/v1/reservations", body.clone())
        .await;
    assert_eq!(refused.error().1, "INSUFFICIENT_CREDIT");
    operator.post(TOP_UP, json!({ "amount": 100 })).await.data();
    let held = operator
        .keyed("k2", "/api/v1/reservations", body.clone())
        .await;
    assert_eq!(held.status, 201);

    // Also of a service that was started again.
    house.restart().await;
    let operator = house.operator.clone();
    let again = operator.keyed("k2", "/api/v1/reservations", body).await;
    assert!(again.replayed);
    assert_eq!((again.status, again.id()), (201, held.id()));
    let commit = format!("/api/v1/reservations/{}/commit", held.id());
    let first = operator
        .keyed("k3", &commit, json!({ "actual_amount": 20 }))
        .await;
    let again = operator
        .keyed("k3", &commit, json!({ "actual_amount": 20 }))
        .await;
    assert!(again.replayed);
    assert_eq!(first.data(), again.data());
    assert_eq!(operator.figures("shop").await, [85, 0, 85]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_parallel_it_is_made_once() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("shop", 1_000).await;
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let caller = operator.clone();
        asking.spawn(async move {
            let body = json!({ "project_id": "shop", "amount": 100 });
            caller.keyed("once", "/api/v1/reservations", body).await
        });
    }
    let answers = asking.join_all().await;
    let id = answers[0].id();
    assert!(
        answers
            .iter()
            .all(|one| one.status == 201 && one.id() == id)
    );
    let made = answers.iter().filter(|one| !one.replayed).count();
    assert_eq!(made, 1);
    assert_eq!(operator.figures("shop").await, [1_000, 100, 900]);
    let mut making = JoinSet::new();
    for _ in 0..10 {
        let caller = operator.clone();
        making.spawn(async move {
            let body = json!({ "project_id": "lab", "org_id": "acme", "initial_balance": 7 });
            caller.keyed("w", "/api/v1/wallets", body).await
        });
    }
    for answer in making.join_all().await {
        assert_eq!((answer.status, &answer.data()["balance"]), (201, &json!(7)));
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_none_are_refused() {
    let house = House::dev().await;
    house.operator.wallet("shop", 0).await;
    for bad in ["", "a b", &"x".repeat(256)] {
        let refused = house
            .operator
            .keyed(bad, TOP_UP, json!({ "amount": 5 }))
            .await;
        let expected = (400, "VALIDATION_ERROR", "Idempotency-Key");
        assert_eq!(refused.error(), expected, "{bad:?}");
    }
    assert_eq!(house.operator.figures("shop").await, [0, 0, 0]);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_heed_a_key_too() {
    let house = House::dev().await;
    let ask = async |key: &str, method: Method, path: &str, body: Value| {
        let answer = house
            .operator
            .call(method, path, Some(body), Some(("Idempotency-Key", key)));
        answer.await.unwrap()
    };
    let settings = [
        (
            Method::PUT,
            "/api/v1/limits/gpu",
            json!({ "default": 4 }),
            json!({ "default": 5 }),
        ),
        (
            Method::POST,
            "/api/v1/prices",
            json!({ "sku": "gpu", "nanos": 7, "per_seconds": 60 }),
            json!({ "sku": "gpu", "nanos": 8, "per_seconds": 60 }),
        ),
        (
            Method::PUT,
            "/api/v1/billing/acme",
            json!({ "required": true }),
            json!({ "required": false }),
        ),
    ];
    for (method, path, body, other) in settings {
        let first = ask("k", method.clone(), path, body.clone()).await;
        assert!(!first.replayed && first.status < 300, "{first:?}");
        let again = ask("k", method.clone(), path, body).await;
        assert!(again.replayed, "{again:?}");
        assert_eq!((again.status, again.data()), (first.status, first.data()));
        let refused = ask("k", method, path, other).await;
        assert_eq!(refused.error(), (422, "UNPROCESSABLE", "Idempotency-Key"));
    }

    // What was said under the key is not said again: it is the last word that stands.
    let limit = "/api/v1/limits/gpu";
    let last = ask("k2", Method::PUT, limit, json!({ "default": 9 })).await;
    assert_eq!(last.status, 200);
    let again = ask("k", Method::PUT, limit, json!({ "default": 4 })).await;
    assert!(again.replayed);
    let limits = house.operator.get("/api/v1/limits").await;
    let limits = limits.data()["limits"].as_array().unwrap();
    let gpu = limits.iter().find(|one| one["kind"] == "gpu").unwrap();
    assert_eq!(gpu["default"], 9);
    let prices = house.operator.get("/api/v1/prices").await;
    let prices = prices.data()["prices"].as_array().unwrap().clone();
    let of_gpu = prices.iter().filter(|one| one["sku"] == "gpu");
    assert_eq!(of_gpu.count(), 1);

    let unset = ask("k", Method::DELETE, "/api/v1/billing/acme", json!({})).await;
    assert!(!unset.replayed && unset.status < 300, "{unset:?}");
    let again = ask("k", Method::DELETE, "/api/v1/billing/acme", json!({})).await;
    assert!(again.replayed, "{again:?}");
    house.stop().await;
}
