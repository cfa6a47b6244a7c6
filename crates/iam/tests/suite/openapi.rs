//! The document: it is the one that is kept, says who may ask, and describes every route there is.

use std::collections::BTreeSet;

use photon_testkit::in_process_iam;
use serde_json::Value;

use crate::local::Caller;

const KEPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/api/openapi/iam.yaml"
);

/// Set to write the file instead of comparing it.
const WRITE: &str = "UPDATE_OPENAPI";

#[test]
fn the_kept_document_is_that_of_the_code() {
    let document = iam::rest::openapi().to_yaml().unwrap();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(KEPT, &document).unwrap();
    }
    let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
    assert!(
        kept == document,
        "docs/api/openapi/iam.yaml is not that of the code: run this test with {WRITE}=1"
    );
}

#[test]
fn every_declared_route_is_described_and_no_other() {
    let document = serde_json::to_value(iam::rest::openapi()).unwrap();
    let described: BTreeSet<String> = operations(&document)
        .filter(|(_, path, _)| {
            !["/health", "/livez", "/readyz", "/metrics"].contains(&path.as_str())
        })
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    // Forms, with a door of their own.
    let oauth = ["token", "introspect", "revoke"].map(|end| format!("POST /oauth2/{end}"));
    let declared: BTreeSet<String> = iam::rest::declared()
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .chain(oauth)
        .collect();
    assert_eq!(described, declared);
}

#[test]
fn the_document_says_what_credentials_there_are() {
    let document = serde_json::to_value(iam::rest::openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["certificate"]["type"], "mutualTLS");
    assert_eq!(document["security"].as_array().unwrap().len(), 2);
    for route in iam::rest::declared() {
        let method = route.method.as_str().to_lowercase();
        let security = &document["paths"][&route.path][method]["security"];
        // What is for everybody says so; what is not leaves it at the document's word.
        assert_eq!(
            security.is_array(),
            route.permission.is_none(),
            "{} {}: {security}",
            route.method,
            route.path
        );
    }
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} twice: {method} {path}");
    }
}

fn operations(document: &Value) -> impl Iterator<Item = (String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation))
    })
}

#[tokio::test]
async fn it_is_served() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let answer = Caller::of(&iam).get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        serde_json::to_value(iam::rest::openapi()).unwrap()
    );
    iam.stop().await;
}
