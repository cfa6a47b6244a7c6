//! Statements: opening, what happened, closing.

use serde_json::json;

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_what_happened_are_closing() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("shop", 1_000).await;
    operator.wallet("other", 77).await;
    let wallet = "/api/v1/wallets/shop";
    let body = json!({ "amount": 500, "description": "paid, \"in cash\"" });
    operator.post(&format!("{wallet}/topup"), body).await.data();
    let id = operator.reserve("shop", 300, 600).await.id();
    let commit = format!("/api/v1/reservations/{id}/commit");
    let body = json!({ "actual_amount": 250, "resource_id": "vm-1" });
    operator.post(&commit, body).await.data();
    let all = operator
        .get(&format!(
            "{wallet}/statement?from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z"
        ))
        .await;
    let data = all.data();
    assert_eq!(
        (&data["opening"], &data["closing"]),
        (&json!(0), &json!(1_250))
    );
    let amounts: Vec<i64> = data["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["amount"].as_i64().unwrap())
        .collect();
    assert_eq!(amounts, [1_000, 500, -250]);
    // The past is opening and closing at once, the future as well.
    let before = operator
        .get(&format!("{wallet}/statement?month=2020-01"))
        .await;
    assert_eq!(before.data()["closing"], 0);
    let after = operator
        .get(&format!("{wallet}/statement?month=2999-01"))
        .await;
    assert_eq!(after.data()["opening"], 1_250);
    assert_eq!(after.data()["closing"], 1_250);
    assert_eq!(after.data()["transactions"], json!([]));

    let path = format!(
        "{}{wallet}/statement?from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z&format=csv",
        operator.base
    );
    let answer = operator.http.get(path).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    let text = answer.text().await.unwrap();
    let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[0].starts_with("BillingAccountId,SubAccountId,BillingPeriodStart,"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("acme,shop,2020-01-01T00:00:00Z,2999-01-01T00:00:00Z,"),
        "{text}"
    );
    assert!(lines[2].contains(",Credit,,-500,-500,JPY,"), "{text}");
    assert!(lines[2].contains(",\"paid, \"\"in cash\"\"\","), "{text}");
    assert!(lines[3].contains(",Usage,,250,250,JPY,,,vm-1,"), "{text}");
    for (query, field) in [
        ("", "month"),
        ("?month=2026", "month"),
        ("?from=2026-01-01T00:00:00Z", "to"),
        ("?month=2026-01&format=pdf", "format"),
    ] {
        let refused = operator.get(&format!("{wallet}/statement{query}")).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field), "{query}");
    }
    house.stop().await;
}
