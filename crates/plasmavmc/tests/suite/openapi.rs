//! The OpenAPI document is that of the code.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::house::House;

const KEPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/api/openapi/plasmavmc.yaml"
);

/// Set to write the file instead of comparing it.
const WRITE: &str = "UPDATE_OPENAPI";

#[test]
fn the_kept_document_is_that_of_the_code() {
    let document = plasmavmc::rest::openapi().to_yaml().unwrap();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(KEPT, &document).unwrap();
    }
    let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
    assert!(
        kept == document,
        "docs/api/openapi/plasmavmc.yaml is not that of the code: run this test with {WRITE}=1"
    );
}

#[test]
fn every_declared_route_is_described_and_no_other() {
    let document = serde_json::to_value(plasmavmc::rest::openapi()).unwrap();
    let described: BTreeSet<String> = operations(&document)
        .filter(|(_, path, _)| {
            !["/health", "/livez", "/readyz", "/metrics"].contains(&path.as_str())
        })
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let declared: BTreeSet<String> = plasmavmc::rest::declared()
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(described, declared);
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} twice: {method} {path}");
        let parameters = operation["parameters"].to_string();
        let has_key = parameters.contains("Idempotency-Key");
        let creates = ["vms", "images", "snapshots", "volumes"]
            .iter()
            .any(|of| *path == format!("/api/v1/{of}"));
        assert_eq!(has_key, method == "POST" && creates, "{method} {path}");
    }
}

fn operations(document: &Value) -> impl Iterator<Item = (String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_served() {
    let house = House::dev().await;
    let answer = house.operator.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        serde_json::to_value(plasmavmc::rest::openapi()).unwrap()
    );
    house.stop().await;
}

#[test]
fn what_is_referred_to_is_there() {
    fn refer<'a>(value: &'a Value, all: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                all.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|member| refer(member, all));
            }
            Value::Array(items) => items.iter().for_each(|item| refer(item, all)),
            _ => {}
        }
    }
    let document = serde_json::to_value(plasmavmc::rest::openapi()).unwrap();
    let mut all = BTreeSet::new();
    refer(&document, &mut all);
    let missing = all
        .iter()
        .filter(|name| document.pointer(name.trim_start_matches('#')).is_none());
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(all.len() > 10, "{all:?}");
}
