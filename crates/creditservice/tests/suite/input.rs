//! Input that cannot be: 400 with the field, and nothing has changed.

use serde_json::json;

use crate::house::House;

/// Numbers that are no amounts, as they are written.
const NO_AMOUNTS: &[&str] = &[
    "-5",
    "0",
    "1.5",
    "1.0",
    "\"5\"",
    "true",
    "null",
    "[5]",
    "{}",
    "9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e3",
    "1e400",
    "-1e400",
    "123456789012345678901234567890",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_named_and_changes_nothing() {
    let house = House::dev().await;
    let operator = &house.operator;
    operator.wallet("shop", 1_000).await;
    let held = operator.reserve("shop", 400, 600).await.id();
    let before = operator.figures("shop").await;
    let commit = format!("/api/v1/reservations/{held}/commit");
    let extend = format!("/api/v1/reservations/{held}/extend");
    let refused = async |path: &str, body: String, field: &str| {
        let answer = operator.raw(path, &body).await;
        let shown: String = body.chars().take(200).collect();
        let expected = (400, "VALIDATION_ERROR", field);
        assert_eq!(answer.error(), expected, "{path} {shown}: {answer:?}");
        let constraint = answer.details()["constraint"].as_str().unwrap_or_default();
        assert!(!constraint.is_empty(), "{answer:?}");
        assert_eq!(operator.figures("shop").await, before, "{path} {shown}");
    };
    for number in NO_AMOUNTS {
        for (path, body) in [
            (
                "/api/v1/wallets/shop/topup",
                format!(r#"{{"amount": {number}}}"#),
            ),
            (
                "/api/v1/wallets/shop/charge",
                format!(r#"{{"amount": {number}}}"#),
            ),
            (
                "/api/v1/reservations",
                format!(r#"{{"project_id": "shop", "amount": {number}, "ttl_seconds": 60}}"#),
            ),
        ] {
            refused(path, body, "amount").await;
        }
        if !["0", "null"].contains(number) {
            refused(
                &commit,
                format!(r#"{{"actual_amount": {number}}}"#),
                "actual_amount",
            )
            .await;
            let body = format!(
                r#"{{"project_id": "new", "org_id": "acme", "initial_balance": {number}}}"#
            );
            refused("/api/v1/wallets", body, "initial_balance").await;
        }
    }
    for ttl in [
        "0",
        "-1",
        "315360000",
        "2678401",
        "1.5",
        "\"60\"",
        "1e400",
        "9223372036854775808",
    ] {
        let body = format!(r#"{{"project_id": "shop", "amount": 5, "ttl_seconds": {ttl}}}"#);
        refused("/api/v1/reservations", body, "ttl_seconds").await;
        refused(
            &extend,
            format!(r#"{{"ttl_seconds": {ttl}}}"#),
            "ttl_seconds",
        )
        .await;
    }
    let long = "x".repeat(1_025);
    let huge = "x".repeat(1_000_000);
    for (path, body, field) in [
        ("/api/v1/wallets/shop/topup", json!({}), "amount"),
        (
            "/api/v1/wallets/shop/topup",
            json!({ "amount": 5, "description": long }),
            "description",
        ),
        (
            "/api/v1/wallets/shop/topup",
            json!({ "amount": 5, "description": huge }),
            "description",
        ),
        (
            "/api/v1/wallets/shop/topup",
            json!({ "amount": 5, "description": "" }),
            "description",
        ),
        (
            "/api/v1/wallets/shop/topup",
            json!({ "amount": 5, "description": "a\nb" }),
            "description",
        ),
        (
            "/api/v1/wallets/shop/topup",
            json!({ "amount": 5, "currency": "USD" }),
            "currency",
        ),
        (
            "/api/v1/wallets/shop/topup",
            json!({ "amount": 5, "amuont": 6 }),
            "amuont",
        ),
        (
            "/api/v1/reservations",
            json!({ "project_id": "nobody", "amount": 5 }),
            "project_id",
        ),
        (
            "/api/v1/reservations",
            json!({ "project_id": "No/Name", "amount": 5 }),
            "project_id",
        ),
        ("/api/v1/reservations", json!({}), "amount"),
        ("/api/v1/reservations", json!({ "amount": 5 }), "project_id"),
        (
            "/api/v1/reservations",
            json!({ "amount": 5, "project_id": "shop", "currency": "EUR" }),
            "currency",
        ),
        ("/api/v1/wallets", json!({ "org_id": "acme" }), "project_id"),
        ("/api/v1/wallets", json!({ "project_id": "new" }), "org_id"),
        (
            "/api/v1/wallets",
            json!({ "project_id": "new", "org_id": "acme", "billing_mode": "free" }),
            "billing_mode",
        ),
        (
            "/api/v1/wallets",
            json!({ "project_id": "new", "org_id": "acme", "low_balance": [-1] }),
            "low_balance",
        ),
        (
            "/api/v1/wallets/shop/adjust",
            json!({ "amount": 0, "reason": "x" }),
            "amount",
        ),
        (
            "/api/v1/wallets/shop/adjust",
            json!({ "amount": 5 }),
            "reason",
        ),
        (
            "/api/v1/wallets/shop/refund",
            json!({ "amount": 5, "transaction_id": "txn-001" }),
            "transaction_id",
        ),
    ] {
        refused(path, body.to_string(), field).await;
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=many", "limit"),
        ("order=up", "order"),
        ("types=gift", "types"),
        ("from=yesterday", "from"),
        ("page_token=x", "page_token"),
        ("lmit=1", "lmit"),
    ] {
        let path = format!("/api/v1/wallets/shop/transactions?{query}");
        let answer = operator.get(&path).await;
        assert_eq!(answer.error(), (400, "VALIDATION_ERROR", field), "{query}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let house = House::dev().await;
    let operator = &house.operator;
    for path in [
        "/api/v1/wallets/nobody",
        "/api/v1/wallets/nobody/transactions",
        "/api/v1/wallets/No%2FName",
    ] {
        assert_eq!(
            operator.get(path).await.error(),
            (404, "NOT_FOUND", ""),
            "{path}"
        );
    }
    let top_up = operator
        .post("/api/v1/wallets/nobody/topup", json!({ "amount": 5 }))
        .await;
    assert_eq!(top_up.error(), (404, "NOT_FOUND", ""));
    let some = "rsv-019ac8e5-3c00-7001-8c00-000000000006";
    let foreign = "rsv-8e03978e-40d5-43e8-bc93-6894a57f9324";
    for id in [some, foreign] {
        let shown = operator.get(&format!("/api/v1/reservations/{id}")).await;
        assert_eq!(shown.error(), (404, "RESERVATION_NOT_FOUND", ""));
        let path = format!("/api/v1/reservations/{id}/commit");
        let refused = operator.post(&path, json!({ "actual_amount": 1 })).await;
        assert_eq!(refused.error(), (404, "RESERVATION_NOT_FOUND", ""));
    }
    let no_id = operator.get("/api/v1/reservations/rsv-001").await;
    assert_eq!(no_id.error(), (404, "NOT_FOUND", ""));
    house.stop().await;
}
