//! The guide's lines, as they stand in it, in a shell. Only the address is another; and where the guide writes an id that the
//! service gives, a variable that holds it.

use std::process::Command;

use serde_json::{Value, json};

use crate::house::House;

/// Section 7, and what other sections say of this service.
const SECTION: &str = r#"
curl -sS http://localhost:8087/health
curl -sS "http://localhost:8087/api/v1/vpcs?org_id=org-123&project_id=proj-456"
FIRST=$(curl -sS -X POST http://localhost:8087/api/v1/vpcs \
-H "Content-Type: application/json" \
-d '{
"name": "production-vpc",
"org_id": "org-123",
"project_id": "proj-456",
"cidr_block": "10.0.0.0/16"
}')
echo "$FIRST"
MADE=$(curl -sS -X POST http://localhost:8087/api/v1/vpcs \
-H "Content-Type: application/json" \
-d '{
"name": "staging-vpc",
"org_id": "org-123",
"project_id": "proj-456",
"cidr_block": "172.16.0.0/16",
"description": "Staging environment VPC"
}')
echo "$MADE"
VPC=$(echo "$MADE" | jq -r '.data.id')
curl -sS "http://localhost:8087/api/v1/vpcs/$VPC?org_id=org-123&project_id=proj-456"
curl -sS "http://localhost:8087/api/v1/vpcs?org_id=org-123&project_id=proj-456"
curl -sS -X DELETE "http://localhost:8087/api/v1/vpcs/$VPC?org_id=org-123&project_id=proj-456"
VPC=$(echo "$FIRST" | jq -r '.data.id')
SUB=$(curl -sS -X POST http://localhost:8087/api/v1/subnets \
-H "Content-Type: application/json" \
-d '{
"name": "app-subnet",
"vpc_id": "'$VPC'",
"cidr_block": "10.0.3.0/24",
"gateway_ip": "10.0.3.1",
"description": "Application tier subnet"
}')
echo "$SUB"
SUBNET=$(echo "$SUB" | jq -r '.data.id')
curl -sS "http://localhost:8087/api/v1/subnets?vpc_id=$VPC&org_id=org-123&project_id=proj-456"
curl -sS -X DELETE "http://localhost:8087/api/v1/subnets/$SUBNET?org_id=org-123&project_id=proj-456&vpc_id=$VPC"
curl -sS "http://localhost:8087/api/v1/subnets?vpc_id=vpc-001&org_id=org-123&project_id=proj-456"
curl -sS "http://localhost:8087/api/v1/vpcs/vpc-001?org_id=org-123&project_id=proj-456"
curl -sS -X POST http://localhost:8087/api/v1/vpcs \
-H "Content-Type: application/json" \
-d '{"name": "invalid"}'
curl http://localhost:8087/api/v1/vpcs | jq '.'
"#;

/// Example 1, as far as it is this service's.
const EXAMPLE: &str = r#"
# 1. Create VPC
VPC_ID=$(curl -s -X POST http://localhost:8087/api/v1/vpcs \
-H "Content-Type: application/json" \
-d '{
"name": "app-vpc",
"org_id": "org-123",
"project_id": "proj-456",
"cidr_block": "10.100.0.0/16"
}' | jq -r '.data.id')
# 2. Create Subnet
SUBNET_ID=$(curl -s -X POST http://localhost:8087/api/v1/subnets \
-H "Content-Type: application/json" \
-d "{
\"name\": \"app-subnet\",
\"vpc_id\": \"$VPC_ID\",
\"cidr_block\": \"10.100.1.0/24\",
\"gateway_ip\": \"10.100.1.1\"
}" | jq -r '.data.id')
curl -sS "http://localhost:8087/api/v1/subnets/$SUBNET_ID"
"#;

/// Runs lines of the guide; what they print, in order.
async fn shell(base: &str, lines: &str) -> Vec<Value> {
    let lines = format!("set -e\n{}", lines.replace("http://localhost:8087", base));
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

/// The members that the guide shows, which come first.
#[track_caller]
fn assert_shows(found: &Value, members: &[(&str, Value)]) {
    let names: Vec<&str> = found
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let wanted: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    assert_eq!(&names[..wanted.len()], wanted, "{found}");
    for (name, value) in members {
        assert_eq!(&found[*name], value, "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_guide_answer_as_it_says() {
    let house = House::dev().await;
    let answers = shell(&house.operator.base, SECTION).await;
    let [
        health,
        none,
        first,
        made,
        got,
        both,
        deleted,
        subnet,
        subnets,
        subnet_gone,
        no_subnets,
        no_vpc,
        invalid,
        left,
    ] = &answers[..]
    else {
        panic!("{answers:#?}");
    };
    assert_eq!(health["data"]["status"], "healthy");
    assert_eq!(none["data"], json!({ "vpcs": [] }));
    assert!(made["data"]["id"].as_str().unwrap().starts_with("vpc-"));
    assert_shows(
        &made["data"],
        &[
            ("id", made["data"]["id"].clone()),
            ("name", json!("staging-vpc")),
            ("org_id", json!("org-123")),
            ("project_id", json!("proj-456")),
            ("cidr_block", json!("172.16.0.0/16")),
            ("description", json!("Staging environment VPC")),
            ("status", json!("active")),
        ],
    );
    assert_eq!(got["data"], made["data"]);
    assert_eq!(
        both["data"],
        json!({ "vpcs": [first["data"], made["data"]] })
    );
    assert_eq!(deleted["data"]["deleted"], true);
    assert_shows(
        &subnet["data"],
        &[
            ("id", subnet["data"]["id"].clone()),
            ("name", json!("app-subnet")),
            ("vpc_id", first["data"]["id"].clone()),
            ("cidr_block", json!("10.0.3.0/24")),
            ("gateway_ip", json!("10.0.3.1")),
            ("description", json!("Application tier subnet")),
            ("status", json!("active")),
        ],
    );
    assert_eq!(subnets["data"], json!({ "subnets": [subnet["data"]] }));
    assert_eq!(subnet_gone["data"]["id"], subnet["data"]["id"]);
    // The guide's own ids are nobody's: a list of nothing, and nothing.
    assert_eq!(no_subnets["data"], json!({ "subnets": [] }));
    assert_eq!(no_vpc["error"]["code"], "NOT_FOUND");
    assert_eq!(
        invalid["error"],
        json!({
            "code": "VALIDATION_ERROR",
            "message": "cidr_block is required",
            "details": { "field": "cidr_block", "constraint": "required" },
        })
    );
    assert_eq!(left["data"], json!({ "vpcs": [first["data"]] }));
    for answer in &answers {
        assert_eq!(answer["meta"]["request_id"].as_str().unwrap().len(), 36);
        assert!(answer["meta"]["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_example_makes_a_network() {
    let house = House::dev().await;
    // It may be run again: names need not be unique, and blocks of different VPCs may be the same.
    for _ in 0..2 {
        let answers = shell(&house.operator.base, EXAMPLE).await;
        let subnet = &answers[0]["data"];
        assert_eq!(subnet["cidr_block"], "10.100.1.0/24");
        // Neither was said: they are the VPC's.
        assert_eq!(
            (&subnet["org_id"], &subnet["project_id"]),
            (&json!("org-123"), &json!("proj-456"))
        );
    }
    house.stop().await;
}
