//! Targets from an OpenAPI document.

use serde_json::Value;

use super::Target;

/// Every operation of a document. One is open if its `security` is there and empty.
#[must_use]
pub fn from_openapi(document: &Value) -> Vec<Target> {
    const METHODS: &[&str] = &["get", "put", "post", "delete", "patch", "head", "options"];
    let mut targets = Vec::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, item) in paths.into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let security = operation.get("security").and_then(Value::as_array);
                targets.push(Target {
                    name: format!("{} {path}", method.to_uppercase()),
                    open: security.is_some_and(Vec::is_empty),
                });
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operation_is_a_target() {
        let document = json!({
            "security": [],
            "paths": {
                "/a": {"get": {"security": []}, "post": {"security": [{"bearer": []}]}},
                "/b/{id}": {"delete": {}, "parameters": []},
            },
        });
        let found: Vec<(String, bool)> = from_openapi(&document)
            .into_iter()
            .map(|target| (target.name, target.open))
            .collect();
        let expected = [
            ("GET /a", true),
            ("POST /a", false),
            ("DELETE /b/{id}", false),
        ];
        assert_eq!(found, expected.map(|(name, open)| (name.to_owned(), open)));
    }
}
