//! A client of services in the guide's style: what is asked, and its answer with the envelope checked.

#![expect(
    clippy::expect_used,
    reason = "what goes wrong here is a test that fails"
)]

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::poll::eventually;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The connections.
    pub http: reqwest::Client,
    /// Where paths begin: `http://127.0.0.1:8087`.
    pub base: String,
    /// Who it is; none: nobody, in dev mode the operator.
    pub token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// Whether it is the answer to an earlier request with the same `Idempotency-Key`.
    pub replayed: bool,
    /// The header `ETag`.
    pub etag: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// All of it.
    pub body: Value,
}

impl Answer {
    /// The content of a good answer; its envelope is checked on the way.
    #[track_caller]
    pub fn data(&self) -> &Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.check_meta();
        &self.body["data"]
    }

    /// Status, code and, of errors that name one, the field.
    #[track_caller]
    pub fn error(&self) -> (u16, &str, &str) {
        self.check_meta();
        let error = &self.body["error"];
        let code = error["code"].as_str();
        let code = code.unwrap_or_else(|| panic!("no error: {self:?}"));
        let field = error["details"]["field"].as_str().unwrap_or_default();
        (self.status, code, field)
    }

    /// The details of an error.
    #[must_use]
    pub fn details(&self) -> &Value {
        &self.body["error"]["details"]
    }

    /// The id of what was made or found.
    #[track_caller]
    pub fn id(&self) -> String {
        self.text("id")
    }

    /// A member of the content that is a text.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        let text = self.data()[name].as_str();
        text.unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_owned()
    }

    #[track_caller]
    fn check_meta(&self) {
        let meta = &self.body["meta"];
        let id = meta["request_id"].as_str().map(str::len);
        assert_eq!(id, Some(36), "{self:?}");
        let time = meta["timestamp"].as_str();
        let is_second = |time: &str| time.len() == 20 && time.ends_with('Z');
        assert!(time.is_some_and(is_second), "{self:?}");
    }
}

impl Caller {
    /// Without a credential: in dev mode the operator.
    ///
    /// # Panics
    /// If there can be no client.
    #[must_use]
    pub fn at(base: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Self {
            http: http.build().expect("a client needs nothing"),
            base: base.to_owned(),
            token: None,
        }
    }

    /// The same with a token.
    #[must_use]
    pub fn with(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// `GET`; the connection must hold.
    pub async fn get(&self, path: &str) -> Answer {
        self.must(Method::GET, path, None, None).await
    }

    /// `DELETE`; the connection must hold.
    pub async fn delete(&self, path: &str) -> Answer {
        self.must(Method::DELETE, path, None, None).await
    }

    /// `POST`; the connection must hold.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.must(Method::POST, path, Some(body), None).await
    }

    /// `PATCH`; the connection must hold.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.must(Method::PATCH, path, Some(body), None).await
    }

    /// `POST` with an `Idempotency-Key`; the connection must hold.
    pub async fn keyed(&self, key: &str, path: &str, body: Value) -> Answer {
        let key = Some(("Idempotency-Key", key));
        self.must(Method::POST, path, Some(body), key).await
    }

    /// A change of what is at a revision; the connection must hold.
    pub async fn patch_if(&self, etag: &str, path: &str, body: Value) -> Answer {
        let etag = Some(("If-Match", etag));
        self.must(Method::PATCH, path, Some(body), etag).await
    }

    /// `POST` of a body as it is written; the connection must hold.
    ///
    /// # Panics
    /// On a failure of the connection, or an answer that is no JSON.
    pub async fn raw(&self, path: &str, body: &str) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/json")
            .body(body.to_owned());
        answer(request).await.expect("an answer")
    }

    async fn must(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        header: Option<(&str, &str)>,
    ) -> Answer {
        let shown = format!("{method} {path}");
        let answer = self.call(method, path, body, header).await;
        answer.unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// A request with a body and a header of its own.
    ///
    /// # Errors
    /// Of the connection.
    ///
    /// # Panics
    /// On an answer that is no JSON.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        header: Option<(&str, &str)>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.request(method, path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Waits until the service is ready.
    ///
    /// # Panics
    /// If it does not come to be.
    pub async fn until_ready(&self) {
        let ready = eventually("it is ready", PATIENCE, || async {
            let (status, _) = self.readiness().await?;
            (status == 200).then_some(())
        });
        ready.await.expect("ready");
    }

    /// Waits until the service is not ready for a reason with these words; what it says.
    ///
    /// # Panics
    /// If it does not come to be.
    pub async fn until_not_ready(&self, words: &str) -> String {
        let said = eventually("it says why it is not ready", PATIENCE, || async {
            let (status, text) = self.readiness().await?;
            (status == 503 && text.contains(words)).then_some(text)
        });
        said.await.expect("not ready")
    }

    async fn readiness(&self) -> Option<(u16, String)> {
        let asked = self.http.get(format!("{}/readyz", self.base)).send();
        let answer = asked.await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// One member of each row of a list, page by page.
    ///
    /// # Panics
    /// If the answers are no such list.
    pub async fn all(&self, path: &str, rows: &str, member: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut token = String::new();
        let glue = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{glue}limit=100{token}")).await;
            let found = page.data()[rows].as_array().expect("rows");
            let members = found.iter().map(|row| row[member].as_str());
            all.extend(members.map(|text| text.expect("a text").to_owned()));
            match page.data()["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => return all,
            }
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let replayed = header("idempotency-replayed").as_deref() == Some("true");
    let (etag, retry_after) = (header("etag"), header("retry-after"));
    let text = answer.text().await?;
    let body = serde_json::from_str(&text);
    let body = body.unwrap_or_else(|error| panic!("{status} {text:?}: {error}"));
    Ok(Answer {
        status,
        replayed,
        etag,
        retry_after,
        body,
    })
}
