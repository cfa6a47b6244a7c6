//! OpenAPI documents: they are the ones that are kept, and describe every route there is.

#![expect(
    clippy::expect_used,
    reason = "what goes wrong here is a test that fails"
)]

use std::{collections::BTreeSet, fs, path::Path};

use photon_auth::rest::Declared;
use serde_json::Value;
use utoipa::openapi::OpenApi;

/// Set to write the files instead of comparing them.
const WRITE: &str = "UPDATE_OPENAPI";
/// What every daemon answers, and no service declares.
const BUILT_IN: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// What a document describes.
#[derive(Debug)]
pub struct Operation {
    /// `POST`.
    pub method: String,
    /// Parameters in braces.
    pub path: String,
    /// As the document has it.
    pub said: Value,
}

impl Operation {
    /// Whether it takes an `Idempotency-Key`.
    #[must_use]
    pub fn takes_key(&self) -> bool {
        let parameters = self.said["parameters"].to_string();
        parameters.contains("Idempotency-Key")
    }
}

/// Everything that a document describes.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn operations(document: &OpenApi) -> Vec<Operation> {
    let document = serde_json::to_value(document).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, operations) in paths {
        let operations = operations.as_object().expect("operations");
        all.extend(operations.iter().map(|(method, said)| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
            said: said.clone(),
        }));
    }
    all
}

/// The document is the one in `docs/api/openapi`; with `UPDATE_OPENAPI` in the environment it is made so.
///
/// # Panics
/// If it is another one.
pub fn is_kept(service: &str, document: &OpenApi) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi");
    let file = Path::new(directory).join(format!("{service}.yaml"));
    let document = document.to_yaml().expect("YAML");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&file, &document).expect("it is written");
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == document,
        "docs/api/openapi/{service}.yaml is not that of the code: run this test with {WRITE}=1"
    );
}

/// Every route that is declared is described, and those that are there `also`; no other, and none twice.
///
/// # Panics
/// If it is not so.
pub fn describes(document: &OpenApi, declared: &[Declared], also: &[&str]) {
    let operations = operations(document);
    let described: BTreeSet<String> = operations
        .iter()
        .filter(|operation| !BUILT_IN.contains(&operation.path.as_str()))
        .map(|operation| format!("{} {}", operation.method, operation.path))
        .collect();
    let declared: BTreeSet<String> = declared
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .chain(also.iter().map(|&route| route.to_owned()))
        .collect();
    assert_eq!(described, declared);
    let mut ids = BTreeSet::new();
    for operation in &operations {
        let id = operation.said["operationId"].as_str().expect("an id");
        assert!(ids.insert(id.to_owned()), "{id} twice: {operation:?}");
    }
}

/// The routes that heed an `Idempotency-Key` say so, and no others.
///
/// # Panics
/// If it is not so.
pub fn says_what_takes_keys(document: &OpenApi, declared: &[Declared]) {
    let heeding = declared.iter().filter(|route| route.creates);
    let heeding: BTreeSet<_> = heeding
        .map(|route| (route.method.to_string(), route.path.clone()))
        .collect();
    let says = operations(document).into_iter();
    let says: BTreeSet<_> = says
        .filter(Operation::takes_key)
        .map(|operation| (operation.method, operation.path))
        .collect();
    assert_eq!(says, heeding);
}
