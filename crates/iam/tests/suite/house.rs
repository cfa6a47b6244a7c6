//! An IAM over a store, both in this process, and a client that speaks REST to it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use iam::{Config, Running, Sockets, init, start};
use photon_server::{Mode, config::ListenConfig};
use photon_store::{FeedEvent, Options, Store};
use photon_testkit::{InProcessChainfire, in_process_chainfire};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

pub(crate) struct House {
    pub(crate) chainfire: InProcessChainfire,
    pub(crate) running: Option<Running>,
    pub(crate) config: Config,
    pub(crate) rest: String,
    /// What `iam init` printed, in enforce mode.
    pub(crate) admin_key: String,
    pub(crate) http: reqwest::Client,
    _dir: tempfile::TempDir,
}

/// An answer of REST.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Its content; it must have this status.
    #[track_caller]
    pub(crate) fn data(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body["data"].clone()
    }

    /// The code of its error; it must have this status.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body["error"]["code"].as_str().unwrap()
    }

    /// The field that is wrong; it must be 400.
    #[track_caller]
    pub(crate) fn field(&self) -> &str {
        assert_eq!(self.error(400), "VALIDATION_ERROR");
        self.body["error"]["details"]["field"].as_str().unwrap()
    }
}

impl House {
    pub(crate) async fn dev() -> Self {
        Self::of(Mode::Dev, |_| {}).await
    }

    pub(crate) async fn enforce() -> Self {
        Self::of(Mode::Enforce, |_| {}).await
    }

    /// With other settings.
    pub(crate) async fn of(mode: Mode, change: impl FnOnce(&mut Config)) -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let any = ListenConfig::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let mut config = Config {
            rest: any.clone(),
            grpc: any,
            ..Config::default()
        };
        config.store.endpoints = vec![chainfire.endpoint()];
        config.auth.mode = mode;
        config.signing.wrapping_key_file = Some(dir.path().join("wrapping.key"));
        change(&mut config);
        let mut house = Self {
            chainfire,
            running: None,
            config,
            rest: String::new(),
            admin_key: String::new(),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(60))
                .build()
                .unwrap(),
            _dir: dir,
        };
        if mode == Mode::Enforce {
            let store = house.store().await;
            let told = init::found(&house.config, &store).await.unwrap();
            house.admin_key = told.api_key.expose().to_owned();
        }
        house.start().await;
        house
    }

    pub(crate) fn wrapping_key_file(&self) -> PathBuf {
        self.config.signing.wrapping_key_file.clone().unwrap()
    }

    pub(crate) async fn store(&self) -> Store {
        Store::connect(Options::new([self.chainfire.endpoint()]))
            .await
            .unwrap()
    }

    /// Starts IAM again, after [`House::stop`].
    pub(crate) async fn start(&mut self) {
        let running = Box::pin(start(self.config.clone(), Sockets::default()))
            .await
            .unwrap();
        let address = running.rest_address();
        self.rest = match &self.config.rest.tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        self.running = Some(running);
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// A request with a body, as the bearer of a token.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.rest));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text:?}"));
        Answer {
            status,
            headers,
            body,
        }
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.call(Method::POST, path, token, body).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.call(Method::GET, path, token, Value::Null).await
    }

    /// The answer to a request for a token.
    pub(crate) async fn ask_token(&self, body: Value) -> Answer {
        self.post("/api/v1/auth/token", "", body).await
    }

    /// A token for somebody by an API key or password.
    pub(crate) async fn token(&self, id: &str, scope: &str, proof: (&str, &str)) -> String {
        let (kind, secret) = proof;
        let mut body = json!({"principal_id": id, "scope_id": scope});
        body[kind] = json!(secret);
        let data = self.ask_token(body).await.data(200);
        data["token"].as_str().unwrap().to_owned()
    }

    /// A token of the first admin for everything.
    pub(crate) async fn admin(&self) -> String {
        self.token("admin", "system", ("api_key", &self.admin_key))
            .await
    }

    /// Makes a project in an org, and a user with a password and, if one is named, a role there.
    pub(crate) async fn furnish(&self, admin: &str, user: &str, role: &str, project: &str) {
        let made = self
            .post("/api/v1/orgs", admin, json!({"id": "acme", "name": "Acme"}))
            .await;
        assert!([201, 409].contains(&made.status.as_u16()), "{made:?}");
        let body = json!({"id": project, "name": project, "org_id": "acme"});
        let made = self.post("/api/v1/projects", admin, body).await;
        assert!([201, 409].contains(&made.status.as_u16()), "{made:?}");
        let body = json!({"id": user, "name": user, "email": "", "type": "user"});
        let made = self.post("/api/v1/users", admin, body).await;
        assert!([201, 409].contains(&made.status.as_u16()), "{made:?}");
        let path = format!("/api/v1/users/{user}/password");
        let body = json!({"password": password_of(user)});
        self.call(Method::PUT, &path, admin, body).await.data(200);
        if !role.is_empty() {
            self.bind(
                admin,
                &format!("user:{user}"),
                role,
                &format!("project:{project}"),
            )
            .await;
        }
    }

    pub(crate) async fn bind(&self, admin: &str, principal: &str, role: &str, scope: &str) {
        let body = json!({"principal": principal, "role": role, "scope": scope});
        self.post("/api/v1/bindings", admin, body).await.data(201);
    }

    /// Everything that is stored, keys and values.
    pub(crate) async fn everything_stored(&self) -> Vec<(String, String)> {
        let store = self.store().await;
        let FeedEvent::Snapshot { entries, .. } = store.feed("/").next().await.unwrap() else {
            panic!("a feed begins with a snapshot");
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        entries
            .into_iter()
            .map(|entry| (entry.key, text(&entry.value)))
            .collect()
    }
}

/// The password of a user made by [`House::furnish`].
pub(crate) fn password_of(user: &str) -> String {
    format!("{user} has a password")
}
