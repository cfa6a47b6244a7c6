//! Asking REST.

use std::collections::BTreeMap;

use http::{Method, StatusCode, header};
use serde_json::Value;

use super::{ANY_ID, Answer, Credential, Kind, PATIENCE, SweepError};

/// The path with something for each parameter.
pub(super) fn fill(path: &str, values: &BTreeMap<String, String>) -> String {
    let segments = path.split('/').map(|segment| {
        let parameter = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match parameter {
            Some(name) => values
                .get(name.trim_start_matches('*'))
                .map_or(ANY_ID, String::as_str),
            None => segment,
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

pub(super) async fn ask(
    client: &reqwest::Client,
    method: Method,
    url: &str,
    body: Option<Value>,
    credential: &Credential,
) -> Result<Answer, SweepError> {
    let failed = |error: reqwest::Error| SweepError::because(format!("{method} {url}"), error);
    let mut request = client.request(method.clone(), url).timeout(PATIENCE);
    if let Some(authorization) = &credential.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if let Some(body) = &body {
        request = request.json(body);
    }
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let text = response.text().await.map_err(failed)?;
    Ok(Answer {
        kind: kind(status, &text),
        text: format!("{status} {}", text.chars().take(300).collect::<String>()),
    })
}

fn kind(status: StatusCode, text: &str) -> Kind {
    match status {
        // Not offered yet is not a defect, and shows nothing.
        StatusCode::NOT_IMPLEMENTED => Kind::Refused,
        status if status.is_server_error() => Kind::Broken,
        StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Kind::Refused,
        status if status.is_success() && shows_nothing(text) => Kind::Nothing,
        status if status.is_success() => Kind::Something,
        _ => Kind::Other,
    }
}

/// A list without items, and nothing beside it.
fn shows_nothing(text: &str) -> bool {
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let data = answer.get("data").unwrap_or(&answer);
    let Value::Object(fields) = data else {
        return data.as_array().is_some_and(Vec::is_empty);
    };
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    fields.values().any(empty) && fields.values().all(|value| empty(value) || value.is_null())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn parameters_get_values() {
        let values = BTreeMap::from([("id".to_owned(), "shop".to_owned())]);
        assert_eq!(fill("/a/{id}/b/{other}", &values), "/a/shop/b/sweep-0");
        assert_eq!(fill("/{*id}", &values), "/shop");
        assert_eq!(fill("/plain", &values), "/plain");
    }

    #[test]
    fn only_an_empty_list_shows_nothing() {
        for nothing in [
            r#"{"data":{"orgs":[]},"meta":{"request_id":"x"}}"#,
            r#"{"data":{"orgs":[],"next_page_token":null}}"#,
            r#"{"data":[]}"#,
            "[]",
        ] {
            assert!(shows_nothing(nothing), "{nothing}");
        }
        for something in [
            r#"{"data":{"orgs":["a"]}}"#,
            r#"{"data":{"orgs":[],"total":3}}"#,
            r#"{"data":{}}"#,
            r#"{"data":"x"}"#,
            "",
            "<html>",
        ] {
            assert!(!shows_nothing(something), "{something}");
        }
    }
}
