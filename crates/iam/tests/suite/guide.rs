//! The guide's lines, as they stand in it, in a shell. Only the address is another.

use std::process::Command;

use photon_testkit::in_process_iam;
use serde_json::{Value, json};

/// Section 3, then example 3, of the guide. What a line needs of the one before is in a shell variable, as there.
const SECTION: &str = r#"
curl -sS http://localhost:8083/health
curl -sS -X POST http://localhost:8083/api/v1/auth/token \
-H "Content-Type: application/json" \
-d '{
"principal_id": "user-alice",
"principal_type": "user",
"scope_id": "project-prod",
"ttl_seconds": 3600
}'
curl -sS -X POST http://localhost:8083/api/v1/auth/verify \
-H "Content-Type: application/json" \
-d '{
"token": "eyJhbGciOiJIUzI1NiIs..."
}'
curl -sS -X POST http://localhost:8083/api/v1/users \
-H "Content-Type: application/json" \
-d '{
"id": "user-bob",
"name": "Bob Smith",
"email": "bob@example.com",
"type": "user"
}'
curl -sS "http://localhost:8083/api/v1/users?scope_id=project-prod"
curl -sS http://localhost:8083/api/v1/projects
curl -sS -X POST http://localhost:8083/api/v1/projects \
-H "Content-Type: application/json" \
-d '{"name": "production", "org_id": "org-123"}'
"#;

const EXAMPLE: &str = r#"
curl -sS -X POST http://localhost:8083/api/v1/users \
-H "Content-Type: application/json" \
-d '{
"id": "user-charlie",
"name": "Charlie Brown",
"email": "charlie@example.com",
"type": "user"
}'
TOKEN=$(curl -s -X POST http://localhost:8083/api/v1/auth/token \
-H "Content-Type: application/json" \
-d '{
"principal_id": "user-charlie",
"scope_id": "project-prod",
"ttl_seconds": 7200
}' | jq -r '.data.token')
curl -sS -X POST http://localhost:8083/api/v1/auth/verify \
-H "Content-Type: application/json" \
-d "{\"token\": \"$TOKEN\"}"
curl -sS -H "Authorization: Bearer $TOKEN" http://localhost:8083/api/v1/whoami
"#;

/// Runs lines of the guide; what they print, in order.
async fn shell(base: &str, lines: &str) -> Vec<Value> {
    let lines = format!("set -e\n{}", lines.replace("http://localhost:8083", base));
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

#[tokio::test]
async fn the_lines_of_the_guide_answer_as_it_says() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let answers = shell(&iam.rest_url(), SECTION).await;
    let [health, token, verified, bob, users, none, project] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(health["data"]["status"], "healthy");
    assert_eq!(health["data"]["service"], "iam");
    assert!(token["data"]["token"].as_str().unwrap().starts_with("ey"));
    assert!(token["data"]["expires_at"].as_str().unwrap().ends_with('Z'));
    // The token that is printed there is none.
    assert_eq!(verified["data"], json!({ "valid": false }));
    for (field, value) in [
        ("id", "user-bob"),
        ("name", "Bob Smith"),
        ("email", "bob@example.com"),
        ("type", "user"),
    ] {
        assert_eq!(bob["data"][field], value, "{bob}");
    }
    let listed = users["data"]["users"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{users}");
    assert_eq!(listed[0]["id"], "user-bob");
    // The token's scope became a project on first use.
    let implicit = &none["data"]["projects"][0];
    assert_eq!(
        (&implicit["id"], &implicit["org_id"], &implicit["implicit"]),
        (&json!("project-prod"), &json!("default"), &json!(true)),
        "{none}"
    );
    assert_eq!(project["data"]["name"], "production");
    assert_eq!(project["data"]["org_id"], "org-123");
    assert_eq!(project["data"]["implicit"], false);
    for answer in &answers {
        assert_eq!(answer["meta"]["request_id"].as_str().unwrap().len(), 36);
        assert!(answer["meta"]["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    let answers = shell(&iam.rest_url(), EXAMPLE).await;
    let [charlie, verified, me] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(charlie["data"]["id"], "user-charlie");
    for (field, value) in [
        ("valid", json!(true)),
        ("principal_id", json!("user-charlie")),
        ("scope_id", json!("project-prod")),
    ] {
        assert_eq!(verified["data"][field], value, "{verified}");
    }
    assert!(
        verified["data"]["expires_at"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(me["data"]["principal"], "user:user-charlie");
    iam.stop().await;
}

/// `/health` has the members of the guide's services, and no others.
#[tokio::test]
async fn health_has_the_shape_of_the_guide() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let answers = shell(&iam.rest_url(), "curl -sS http://localhost:8083/health").await;
    let members =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(members(&answers[0]), ["data", "meta"]);
    assert_eq!(
        members(&answers[0]["data"]),
        ["status", "service", "version"]
    );
    assert_eq!(members(&answers[0]["meta"]), ["request_id", "timestamp"]);
    iam.stop().await;
}
