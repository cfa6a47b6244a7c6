//! A caller of REST, for the tests of the resources.

use photon_testkit::InProcessIam;
use reqwest::{Method, header};
use serde_json::{Value, json};

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    pub(crate) base: String,
    token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    /// The content of a good answer; its envelope is checked on the way.
    pub(crate) fn data(&self) -> &Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.check_meta();
        &self.body["data"]
    }

    /// Status, code and, of validation errors, the field.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        self.check_meta();
        let error = &self.body["error"];
        let code = error["code"].as_str();
        let code = code.unwrap_or_else(|| panic!("no error: {self:?}"));
        let field = error["details"]["field"].as_str().unwrap_or_default();
        (self.status, code, field)
    }

    /// The ids of a list.
    pub(crate) fn ids(&self, plural: &str) -> Vec<String> {
        let rows = self.data()[plural].as_array().unwrap();
        let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
        rows.iter().map(id).collect()
    }

    pub(crate) fn revision(&self) -> i64 {
        self.data()["revision"].as_i64().unwrap()
    }

    fn check_meta(&self) {
        let meta = &self.body["meta"];
        let id = meta["request_id"].as_str().map(str::len);
        assert_eq!(id, Some(36), "{self:?}");
        let time = meta["timestamp"].as_str().unwrap();
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    }
}

impl Caller {
    /// Without a credential: in dev mode the operator.
    pub(crate) fn of(iam: &InProcessIam) -> Self {
        Self::at(&iam.rest_url())
    }

    pub(crate) fn at(base: &str) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: base.to_owned(),
            token: None,
        }
    }

    pub(crate) fn with(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The first admin of an IAM that enforces, with a token for the whole system.
    pub(crate) async fn admin(iam: &InProcessIam) -> Self {
        let anybody = Self::of(iam);
        let asked = json!({
            "principal_id": "admin", "scope_id": "system", "api_key": iam.admin_key().unwrap(),
        });
        let answer = anybody.post("/api/v1/auth/token", asked).await;
        anybody.with(answer.data()["token"].as_str().unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body), None).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.call(Method::PUT, path, None, None).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body), None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, None).await
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        if_match: Option<&str>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(if_match) = if_match {
            request = request.header(header::IF_MATCH, if_match);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let etag = answer.headers().get(header::ETAG);
        let etag = etag.map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let body = serde_json::from_str(&text);
        let body = body.unwrap_or_else(|error| panic!("{status} {text:?}: {error}"));
        Answer { status, etag, body }
    }

    /// A user with a role at a scope, by a token for a scope that this caller asks for.
    pub(crate) async fn somebody(&self, id: &str, role: &str, scope: &str) -> Self {
        self.user(id).await;
        self.bind(&format!("user:{id}"), role, scope).await.data();
        self.as_user(id, scope).await
    }

    pub(crate) async fn user(&self, id: &str) {
        let made = json!({ "id": id, "name": id });
        self.post("/api/v1/users", made).await.data();
    }

    pub(crate) async fn bind(&self, principal: &str, role: &str, scope: &str) -> Answer {
        let binding = json!({ "principal": principal, "role": role, "scope": scope });
        self.post("/api/v1/bindings", binding).await
    }

    /// That user, by a token for a scope that this caller asks for.
    pub(crate) async fn as_user(&self, id: &str, scope: &str) -> Self {
        let bare = scope.split_once(':').map_or(scope, |(_, id)| id);
        let asked = json!({ "principal_id": id, "scope_id": bare });
        let answer = self.post("/api/v1/auth/token", asked).await;
        self.with(answer.data()["token"].as_str().unwrap())
    }

    /// An org `<org>` with a project `<project>`.
    pub(crate) async fn tenant(&self, org: &str, project: &str) {
        let made = json!({ "id": org, "name": org });
        self.post("/api/v1/orgs", made).await.data();
        let made = json!({ "id": project, "name": project, "org_id": org });
        self.post("/api/v1/projects", made).await.data();
    }
}
