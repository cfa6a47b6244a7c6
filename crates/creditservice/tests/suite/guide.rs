//! The guide's lines, as they stand in it, in a shell. Only the address is another; and where the guide writes an id that the
//! service gives, a variable that holds it.

use std::process::Command;

use serde_json::{Value, json};

use crate::house::House;

const SECTION: &str = r#"
curl -sS http://localhost:8086/health
curl -sS -X POST http://localhost:8086/api/v1/wallets \
-H "Content-Type: application/json" \
-d '{
"project_id": "proj-456",
"org_id": "org-123",
"initial_balance": 10000
}'
curl -sS http://localhost:8086/api/v1/wallets/proj-456
curl -sS -X POST http://localhost:8086/api/v1/wallets/proj-456/topup \
-H "Content-Type: application/json" \
-d '{
"amount": 5000,
"description": "Monthly credit purchase"
}'
RESERVED=$(curl -sS -X POST http://localhost:8086/api/v1/reservations \
-H "Content-Type: application/json" \
-d '{
"project_id": "proj-456",
"amount": 2000,
"description": "VM creation reservation",
"resource_type": "vm",
"resource_id": "vm-004",
"ttl_seconds": 3600
}')
echo "$RESERVED"
RSV=$(echo "$RESERVED" | jq -r '.data.id')
curl -sS http://localhost:8086/api/v1/wallets/proj-456
curl -sS -X POST http://localhost:8086/api/v1/reservations/$RSV/commit \
-H "Content-Type: application/json" \
-d '{
"actual_amount": 1800,
"resource_id": "vm-004"
}'
OTHER=$(curl -sS -X POST http://localhost:8086/api/v1/reservations \
-H "Content-Type: application/json" \
-d '{"project_id": "proj-456", "amount": 100, "ttl_seconds": 60}' | jq -r '.data.id')
curl -sS -X POST http://localhost:8086/api/v1/reservations/$OTHER/release \
-H "Content-Type: application/json" \
-d '{
"reason": "VM creation failed"
}'
curl -sS "http://localhost:8086/api/v1/wallets/proj-456/transactions?limit=10"
curl -sS "http://localhost:8086/api/v1/wallets/proj-456/transactions?limit=10&order=asc"
"#;

/// Runs lines of the guide; what they print, in order.
async fn shell(base: &str, lines: &str) -> Vec<Value> {
    let lines = format!("set -e\n{}", lines.replace("http://localhost:8086", base));
    let output = tokio::task::spawn_blocking(move || {
        Command::new("bash").args(["-c", &lines]).output().unwrap()
    })
    .await
    .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    let values = serde_json::Deserializer::from_str(&printed).into_iter();
    values.map(|value| value.unwrap()).collect()
}

fn members(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_guide_answer_as_it_says() {
    let house = House::dev().await;
    let answers = shell(&house.operator.base, SECTION).await;
    let [
        health,
        made,
        wallet,
        topped_up,
        reserved,
        held,
        committed,
        released,
        newest,
        oldest,
    ] = &answers[..]
    else {
        panic!("{answers:#?}");
    };
    assert_eq!(health["data"]["status"], "healthy");
    assert_eq!(health["data"]["service"], "creditservice");
    assert_eq!(made["data"], wallet["data"]);
    for (name, value) in [
        ("project_id", json!("proj-456")),
        ("org_id", json!("org-123")),
        ("balance", json!(10_000)),
        ("reserved", json!(0)),
        ("available", json!(10_000)),
        ("currency", json!("JPY")),
        ("status", json!("active")),
    ] {
        assert_eq!(wallet["data"][name], value, "{wallet}");
    }
    assert_eq!(topped_up["data"]["balance"], 15_000);
    assert_eq!(topped_up["data"]["amount"], 5_000);
    let reservation = &reserved["data"];
    assert!(reservation["id"].as_str().unwrap().starts_with("rsv-"));
    for (name, value) in [
        ("project_id", json!("proj-456")),
        ("amount", json!(2_000)),
        ("status", json!("active")),
    ] {
        assert_eq!(reservation[name], value, "{reserved}");
    }
    let expires_at = reservation["expires_at"].as_str().unwrap();
    assert!(
        expires_at.len() == 20 && expires_at.ends_with('Z'),
        "{expires_at}"
    );
    let figures = |wallet: &Value| {
        ["balance", "reserved", "available"].map(|name| wallet["data"][name].as_i64().unwrap())
    };
    assert_eq!(figures(held), [15_000, 2_000, 13_000]);
    assert_eq!(committed["data"]["status"], "committed");
    assert_eq!(committed["data"]["actual_amount"], 1_800);
    assert_eq!(released["data"]["status"], "released");

    let oldest = oldest["data"]["transactions"].as_array().unwrap();
    let newest = newest["data"]["transactions"].as_array().unwrap();
    let backwards: Vec<&Value> = newest.iter().rev().collect();
    assert_eq!(oldest.iter().collect::<Vec<_>>(), backwards);
    let [first, deposit, charge] = &oldest[..] else {
        panic!("{oldest:#?}");
    };
    assert_eq!(
        (&first["type"], &first["amount"]),
        (&json!("deposit"), &json!(10_000))
    );
    assert_eq!(
        members(deposit),
        [
            "id",
            "project_id",
            "amount",
            "type",
            "description",
            "timestamp"
        ]
    );
    assert_eq!(deposit["type"], "deposit");
    assert_eq!(deposit["amount"], 5_000);
    assert_eq!(deposit["description"], "Monthly credit purchase");
    assert_eq!(deposit["id"], topped_up["data"]["id"]);
    assert_eq!(charge["type"], "charge");
    assert_eq!(charge["amount"], -1_800);
    assert_eq!(charge["resource_id"], "vm-004");
    for answer in &answers {
        assert_eq!(answer["meta"]["request_id"].as_str().unwrap().len(), 36);
        assert!(answer["meta"]["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    house.stop().await;
}
