//! How much of everything a project may have; and the price book.

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{Answer, Caller, House};

async fn put(caller: &Caller, path: &str, body: Value) -> Answer {
    caller
        .call(Method::PUT, path, Some(body), None)
        .await
        .unwrap()
}

async fn vcpu(caller: &Caller, project: &str) -> Value {
    let path = format!("/api/v1/quotas?project_id={project}");
    let all = caller.get(&path).await;
    let quotas = all.data()["quotas"].as_array().unwrap();
    quotas
        .iter()
        .find(|quota| quota["kind"] == "vcpu")
        .unwrap()
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn units_and_credit_are_held_together_or_not_at_all() {
    let mut house = House::dev().await;
    let operator = house.operator.clone();
    operator.wallet("shop", 1_000).await;
    let reserve = async |operator: &Caller, amount: i64, vcpu: i64| {
        let body = json!({
            "project_id": "shop", "amount": amount, "units": { "vcpu": vcpu }, "resource_id": "vm-1",
        });
        operator.post("/api/v1/reservations", body).await
    };
    let unknown = reserve(&operator, 1, 1).await;
    assert_eq!(unknown.error(), (400, "VALIDATION_ERROR", "units"));
    for _ in 0..2 {
        let registered = put(&operator, "/api/v1/limits/vcpu", json!({ "default": 4 })).await;
        assert_eq!(registered.data(), &json!({ "kind": "vcpu", "default": 4 }));
    }
    let limits = operator.get("/api/v1/limits").await;
    assert_eq!(
        limits.data()["limits"],
        json!([{ "kind": "vcpu", "default": 4 }])
    );

    let held = reserve(&operator, 100, 3).await;
    assert_eq!(held.data()["units"], json!({ "vcpu": 3 }));
    let beyond = reserve(&operator, 100, 2).await;
    assert_eq!(beyond.error(), (409, "QUOTA_EXCEEDED", ""));
    assert_eq!(
        beyond.details()["lacking"],
        json!([{ "kind": "vcpu", "limit": 4, "used": 0, "reserved": 3, "requested": 2 }])
    );
    // Enough units and too little credit: nothing is held of either.
    assert_eq!(
        reserve(&operator, 901, 1).await.error().1,
        "INSUFFICIENT_CREDIT"
    );
    assert_eq!(operator.figures("shop").await, [1_000, 100, 900]);
    assert_eq!(
        vcpu(&operator, "shop").await,
        json!({ "kind": "vcpu", "limit": 4, "own": false, "used": 0, "reserved": 3, "available": 1 })
    );
    let commit = format!("/api/v1/reservations/{}/commit", held.id());
    operator.post(&commit, json!({})).await.data();
    let own = put(
        &operator,
        "/api/v1/quotas/shop/vcpu",
        json!({ "limit": "unlimited" }),
    )
    .await;
    let expected = json!({
        "kind": "vcpu", "limit": "unlimited", "own": true, "used": 3, "reserved": 0, "available": null,
    });
    assert_eq!(own.data(), &expected);
    let nothing = put(&operator, "/api/v1/quotas/shop/gpu", json!({ "limit": 1 })).await;
    assert_eq!(nothing.error().0, 404);
    for bad in [json!(-1), json!(1.5), json!("many"), json!(null)] {
        let refused = put(
            &operator,
            "/api/v1/quotas/shop/vcpu",
            json!({ "limit": bad }),
        )
        .await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "limit"), "{bad}");
    }

    // All of it is in the journal: a new owner knows it too.
    house.restart().await;
    let operator = house.operator.clone();
    assert_eq!(vcpu(&operator, "shop").await, expected);
    assert_eq!(vcpu(&operator, "other").await["limit"], 4);
    let unset = operator
        .call(Method::DELETE, "/api/v1/quotas/shop/vcpu", None, None)
        .await
        .unwrap();
    assert_eq!(unset.data()["limit"], 4);
    assert_eq!(unset.data()["available"], 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_prices_do_not_change() {
    let house = House::dev().await;
    let operator = &house.operator;
    let publish = async |body: Value| operator.post("/api/v1/prices", body).await;
    let first =
        publish(json!({ "sku": "vm.small", "nanos": 10_000_000_000_u64, "per_seconds": 60 })).await;
    assert_eq!(first.data()["effective_from"], "1970-01-01T00:00:00Z");
    let soon = publish(json!({
        "sku": "vm.small", "nanos": 1, "per_seconds": 60, "effective_from": "2024-01-01T00:00:00Z",
    }))
    .await;
    assert_eq!(soon.error(), (400, "VALIDATION_ERROR", "effective_from"));
    let mut later =
        json!({ "sku": "vm.small", "nanos": 1, "effective_from": "2999-01-01T00:00:00Z" });
    // A SKU is counted by time or it is not.
    assert_eq!(
        publish(later.clone()).await.error(),
        (400, "VALIDATION_ERROR", "per_seconds")
    );
    later["per_seconds"] = json!(1);
    publish(later.clone()).await.data();
    assert_eq!(publish(later.clone()).await.status, 201);
    let mut other = later;
    other["nanos"] = json!(2);
    assert_eq!(publish(other).await.error().1, "PRICE_FIXED");
    for (field, value) in [
        ("nanos", json!(-1)),
        ("per_quantity", json!(3)),
        ("per_seconds", json!(7)),
    ] {
        let mut body = json!({ "sku": "x", "nanos": 1 });
        body[field] = value;
        assert_eq!(
            publish(body).await.error(),
            (400, "VALIDATION_ERROR", field)
        );
    }
    let prices = operator.get("/api/v1/prices").await;
    assert_eq!(prices.data()["prices"].as_array().unwrap().len(), 2);
    house.stop().await;
}
