//! What others may follow of wallets.

use serde_json::{Value, json};

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn it_says_which_wallets_there_are_and_which_have_nothing_left() {
    let house = House::dev().await;
    let operator = &house.operator;
    let store = house.store().await;
    let record = async |project: &str| -> Option<(Value, i64)> {
        let key = format!("/photon/creditservice/public/wallets/{project}");
        let entry = store.get_raw(&key).await.unwrap()?;
        let value: Value = serde_json::from_slice(&entry.value).unwrap();
        Some((value, entry.revision))
    };
    assert!(record("shop").await.is_none());
    let body = json!({
        "project_id": "shop", "org_id": "acme", "initial_balance": 100, "low_balance": [20, 50],
    });
    operator.post("/api/v1/wallets", body).await.data();
    let (made, first) = record("shop").await.unwrap();
    assert_eq!(
        made,
        json!({
            "v": 1, "org": "acme", "status": "active", "mode": "manual",
            "low": false, "exhausted": false, "owed": false,
        })
    );
    let flags = async |answer: crate::house::Answer| {
        answer.data();
        let (value, revision) = record("shop").await.unwrap();
        ((value["low"].clone(), value["exhausted"].clone()), revision)
    };
    let hold = operator.reserve("shop", 40, 600).await;
    let id = hold.id();
    // Nothing changes for others: nothing is written.
    assert_eq!(flags(hold).await, ((json!(false), json!(false)), first));
    let (low, second) = flags(operator.reserve("shop", 10, 600).await).await;
    assert_eq!(low, (json!(true), json!(false)));
    assert!(second > first);
    let (at_fifty, _) = record("shop").await.unwrap();
    assert_eq!(at_fifty["threshold"], 50);
    // The next threshold is another event.
    let (_, third) = flags(operator.reserve("shop", 30, 600).await).await;
    assert!(third > second);
    let (at_twenty, _) = record("shop").await.unwrap();
    assert_eq!(at_twenty["threshold"], 20);
    let (exhausted, _) = flags(operator.reserve("shop", 20, 600).await).await;
    assert_eq!(exhausted, (json!(true), json!(true)));
    let release = format!("/api/v1/reservations/{id}/release");
    let (back, _) = flags(operator.post(&release, json!({})).await).await;
    assert_eq!(back, (json!(true), json!(false)));
    let top_up = operator
        .post("/api/v1/wallets/shop/topup", json!({ "amount": 500 }))
        .await;
    assert_eq!(flags(top_up).await.0, (json!(false), json!(false)));
    let changed = json!({ "status": "suspended", "billing_mode": "metered" });
    operator.patch("/api/v1/wallets/shop", changed).await.data();
    let (value, _) = record("shop").await.unwrap();
    assert_eq!(
        (&value["status"], &value["mode"]),
        (&json!("suspended"), &json!("metered"))
    );
    house.stop().await;
}
