//! A CreditService over a store, both in this process, and a client that speaks REST to it.

use std::time::Duration;

use creditservice::{Config, Running, Sockets};
use photon_store::Store;
use photon_testkit::{InProcessChainfire, in_process_chainfire, poll::eventually};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A service in dev mode and its store.
pub(crate) struct House {
    pub(crate) chainfire: InProcessChainfire,
    pub(crate) running: Option<Running>,
    pub(crate) operator: Caller,
}

/// A configuration over a store, on free ports.
pub(crate) fn config(endpoint: &str) -> Config {
    let mut config = Config::default();
    config.store.endpoints = vec![endpoint.to_owned()];
    config.rest.address.set_port(0);
    config.grpc.address.set_port(0);
    // Tests register what they need: so the journals have what they did, and nothing else.
    config.quotas.defaults.clear();
    // So that the projects they use lie in different ones.
    config.shards.count = 8;
    config
}

/// Starts a service, and waits until it owns or knows the owners of all shards.
pub(crate) async fn over(endpoint: &str) -> Running {
    let running = Box::pin(creditservice::start(config(endpoint), Sockets::default()))
        .await
        .unwrap();
    ready(&Caller::of(&running)).await;
    running
}

/// Waits until a service is ready.
pub(crate) async fn ready(caller: &Caller) {
    eventually("creditservice is ready", PATIENCE, || async {
        let asked = caller.http.get(format!("{}/readyz", caller.base)).send();
        let answer = asked.await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await
    .unwrap();
}

impl House {
    pub(crate) async fn dev() -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let running = over(&chainfire.endpoint()).await;
        Self {
            operator: Caller::of(&running),
            running: Some(running),
            chainfire,
        }
    }

    pub(crate) async fn store(&self) -> Store {
        let options = photon_store::Options::new([self.chainfire.endpoint()]);
        Store::connect(options).await.unwrap()
    }

    /// Stops the service and starts it again on other ports.
    pub(crate) async fn restart(&mut self) {
        self.running.take().unwrap().stop().await;
        let running = over(&self.chainfire.endpoint()).await;
        self.operator = Caller::of(&running);
        self.running = Some(running);
    }

    pub(crate) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.chainfire.stop().await;
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    /// The content of a good answer; its envelope is checked on the way.
    #[track_caller]
    pub(crate) fn data(&self) -> &Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.check_meta();
        &self.body["data"]
    }

    /// Status, code and, of errors that name one, the field.
    #[track_caller]
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        self.check_meta();
        let error = &self.body["error"];
        let code = error["code"].as_str();
        let code = code.unwrap_or_else(|| panic!("no error: {self:?}"));
        let field = error["details"]["field"].as_str().unwrap_or_default();
        (self.status, code, field)
    }

    pub(crate) fn details(&self) -> &Value {
        &self.body["error"]["details"]
    }

    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.data()["id"].as_str().unwrap().to_owned()
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
    pub(crate) fn of(running: &Running) -> Self {
        Self::at(&format!("http://{}", running.rest_address()))
    }

    pub(crate) fn at(base: &str) -> Self {
        Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
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

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body), None)
            .await
            .unwrap()
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body), None)
            .await
            .unwrap()
    }

    pub(crate) async fn keyed(&self, key: &str, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body), Some(key))
            .await
            .unwrap()
    }

    /// A body as it is written.
    pub(crate) async fn raw(&self, path: &str, body: &str) -> Answer {
        let request = self
            .http
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .body(body.to_owned());
        answer(request).await.unwrap()
    }

    /// An error is one of the connection.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// A wallet with so much in it.
    pub(crate) async fn wallet(&self, project: &str, balance: i64) {
        let body = json!({ "project_id": project, "org_id": "acme", "initial_balance": balance });
        let made = self.post("/api/v1/wallets", body).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    /// Balance, reserved and available.
    pub(crate) async fn figures(&self, project: &str) -> [i64; 3] {
        let wallet = self.get(&format!("/api/v1/wallets/{project}")).await;
        ["balance", "reserved", "available"].map(|name| wallet.data()[name].as_i64().unwrap())
    }

    pub(crate) async fn reserve(&self, project: &str, amount: i64, ttl_seconds: i64) -> Answer {
        let body = json!({ "project_id": project, "amount": amount, "ttl_seconds": ttl_seconds });
        self.post("/api/v1/reservations", body).await
    }

    /// All transactions of a project, the oldest first, page by page.
    pub(crate) async fn transactions(&self, project: &str, types: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let path =
                format!("/api/v1/wallets/{project}/transactions?order=asc&limit=500{types}{token}");
            let page = self.get(&path).await;
            let rows = page.data()["transactions"].as_array().unwrap();
            all.extend(rows.iter().cloned());
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
        let value = answer.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let (replayed, retry_after) = (header("idempotency-replayed"), header("retry-after"));
    let text = answer.text().await?;
    let body = serde_json::from_str(&text);
    let body = body.unwrap_or_else(|error| panic!("{status} {text:?}: {error}"));
    Ok(Answer {
        status,
        replayed: replayed.as_deref() == Some("true"),
        retry_after,
        body,
    })
}
