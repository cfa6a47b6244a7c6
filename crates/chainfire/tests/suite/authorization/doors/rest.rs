//! REST.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Ask, Verdict};
use crate::authorization::{ask::NOBODY_THERE, guarded::Guarded};

pub(super) struct Rest {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Rest {
    pub(super) fn new(node: &Guarded, http: reqwest::Client, token: Option<&str>) -> Self {
        Self {
            http,
            base: node.rest_url(),
            token: token.map(str::to_owned),
        }
    }

    pub(super) async fn ask(&self, ask: Ask) -> Option<Verdict> {
        let kv = |key: &str, action: &str| format!("kv/{}{action}", escaped(key));
        let value = json!({"value": "x"});
        let put = |key: &str| json!({"put": {"key": key, "value": "x"}});
        let (method, path, body) = match ask {
            Ask::Get(key) => (Method::GET, kv(key, ""), None),
            Ask::Put(key) => (Method::POST, kv(key, "/put"), Some(value)),
            Ask::PutUnder(key, lease) => {
                let body = json!({"value": "x", "lease": lease});
                (Method::POST, kv(key, "/put"), Some(body))
            }
            Ask::Delete(key) => (Method::POST, kv(key, "/delete"), None),
            Ask::Scan(prefix) => {
                let path = format!("kv?prefix={}", escaped(prefix));
                (Method::GET, path, None)
            }
            Ask::TxnCompare(compare, key) => {
                let compare = json!([{"key": compare, "target": "version", "operator": "greater", "value": 0}]);
                let body = json!({"compare": compare, "success": [put(key)]});
                (Method::POST, "txn".to_owned(), Some(body))
            }
            Ask::TxnElse(key, read) => {
                let body = json!({"success": [put(key)], "failure": [{"get": {"key": read}}]});
                (Method::POST, "txn".to_owned(), Some(body))
            }
            Ask::Watch(prefix) => {
                let path = format!("watch?prefix={}", escaped(prefix));
                (Method::GET, path, None)
            }
            Ask::Revoke(id) => (Method::DELETE, format!("leases/{id}"), None),
            Ask::LeaseKeys(id) => (Method::GET, format!("leases/{id}"), None),
            Ask::Leases => (Method::GET, "leases".to_owned(), None),
            Ask::Compact(revision) => {
                let body = json!({"revision": revision});
                (Method::POST, "compact".to_owned(), Some(body))
            }
            Ask::Snapshot => (Method::GET, "snapshot".to_owned(), None),
            Ask::MemberAdd => {
                let body = json!({"node_id": 9, "address": NOBODY_THERE});
                (Method::POST, "cluster/members".to_owned(), Some(body))
            }
            Ask::MemberList => (Method::GET, "cluster/members".to_owned(), None),
            Ask::Transfer => {
                let body = json!({"node_id": 7});
                (Method::POST, "cluster/leader".to_owned(), Some(body))
            }
            Ask::PutPrevious(_)
            | Ask::DeletePrevious(_)
            | Ask::TxnNested(..)
            | Ask::TxnNestedCompare(_)
            | Ask::TxnPrevious(_)
            | Ask::Users
            | Ask::Hash => return None,
        };
        Some(self.send(method, &path, body).await)
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Verdict {
        let mut request = self
            .http
            .request(method, format!("{}/api/v1/{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        if status < 300 {
            return Verdict::Allowed;
        }
        let body: Value = answer.json().await.unwrap();
        match (status, body["error"]["code"].as_str().unwrap()) {
            (403, "FORBIDDEN") => Verdict::Denied,
            (401, "UNAUTHENTICATED") => Verdict::Nobody,
            _ => Verdict::Failed(body.to_string()),
        }
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
