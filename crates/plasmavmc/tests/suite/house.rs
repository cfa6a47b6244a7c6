//! A PlasmaVMC over a store, both in this process, and a client that speaks REST to it.

use std::time::Duration;

use photon_store::{Entry, Scan, Store};
use photon_testkit::{
    InProcessChainfire,
    fake_host::{FakeHost, Habits},
    in_process_chainfire,
    poll::eventually,
};
use plasmavmc::{Config, Running, Sockets};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const VMS: &str = "/api/v1/vms";

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
    config
}

/// Starts a service, and waits until it is ready.
pub(crate) async fn over(config: Config) -> Running {
    let running = Box::pin(plasmavmc::start(config, Sockets::default()))
        .await
        .unwrap();
    ready(&Caller::of(&running)).await;
    running
}

/// Waits until a service is ready.
pub(crate) async fn ready(caller: &Caller) {
    eventually("plasmavmc is ready", PATIENCE, || async {
        let asked = caller.http.get(format!("{}/readyz", caller.base)).send();
        let answer = asked.await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await
    .unwrap();
}

/// A client of the store.
pub(crate) async fn store_at(endpoint: &str) -> Store {
    Store::connect(photon_store::Options::new([endpoint]))
        .await
        .unwrap()
}

/// All keys that begin with a prefix.
pub(crate) async fn keys_below(store: &Store, prefix: &str) -> Vec<String> {
    let entries = entries_below(store, prefix).await;
    entries.into_iter().map(|entry| entry.key).collect()
}

async fn entries_below(store: &Store, prefix: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut scan = Scan::below(prefix, 1_000);
    loop {
        let page = store.scan(&scan).await.unwrap();
        entries.extend(page.entries);
        match entries.last() {
            // Sorts right behind it, and before whatever else begins with it.
            Some(last) if page.more => scan.from = Some(format!("{}!", last.key)),
            _ => return entries,
        }
    }
}

/// Keys that something made leaves for good: what was done, and by which request.
pub(crate) fn is_history(key: &str) -> bool {
    [
        "/audit",
        "/idempotency",
        "/operation",
        "/id/operation",
        "/leader",
    ]
    .iter()
    .any(|part| key.starts_with(&format!("/photon/plasmavmc{part}")))
}

/// Keys that are a host's own.
fn is_of_host(key: &str) -> bool {
    let host = key.strip_prefix("/photon/plasmavmc/host/");
    let rest = host
        .and_then(|key| key.split_once('/'))
        .map(|(_, rest)| rest);
    matches!(rest, Some("alive" | "observed/agent"))
}

impl House {
    pub(crate) async fn dev() -> Self {
        Self::dev_with(|_| {}).await
    }

    /// With other settings.
    pub(crate) async fn dev_with(change: impl FnOnce(&mut Config)) -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let mut config = config(&chainfire.endpoint());
        change(&mut config);
        let running = over(config).await;
        Self {
            operator: Caller::of(&running),
            running: Some(running),
            chainfire,
        }
    }

    pub(crate) async fn store(&self) -> Store {
        store_at(&self.chainfire.endpoint()).await
    }

    /// A host that works, which the service has heard of.
    pub(crate) async fn host(&self, name: &str) -> FakeHost {
        self.host_with(name, Habits::default()).await
    }

    pub(crate) async fn host_with(&self, name: &str, habits: Habits) -> FakeHost {
        let host = FakeHost::start_with(self.store().await, name, habits).await;
        self.operator.until_host(name, "up").await;
        host
    }

    /// What is in the store of VMs, besides history and what hosts say of themselves.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys = keys_below(&self.store().await, "/photon/plasmavmc/").await;
        keys.retain(|key| !is_history(key) && !is_of_host(key));
        keys
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
    token: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) etag: Option<String>,
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

    /// What an error says to people.
    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.text("id")
    }

    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let text = self.data()[name].as_str();
        text.unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_owned()
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

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, None).await.unwrap()
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
        self.call(
            Method::POST,
            path,
            Some(body),
            Some(("Idempotency-Key", key)),
        )
        .await
        .unwrap()
    }

    /// A change of what is at a revision.
    pub(crate) async fn patch_if(&self, etag: &str, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(body), Some(("If-Match", etag)))
            .await
            .unwrap()
    }

    /// Bytes as they are, and where they are in a whole.
    pub(crate) async fn bytes(
        &self,
        method: Method,
        path: &str,
        range: Option<&str>,
        bytes: Vec<u8>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(range) = range {
            request = request.header("Content-Range", range);
        }
        answer(request.body(bytes)).await.unwrap()
    }

    /// An error is one of the connection.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        header: Option<(&str, &str)>,
    ) -> Result<Answer, reqwest::Error> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Waits until a host is seen in a state.
    pub(crate) async fn until_host(&self, host: &str, state: &str) {
        let what = format!("{host} is {state}");
        let seen = eventually(&what, PATIENCE, || async {
            let answer = self.get("/api/v1/hosts").await;
            let hosts = answer.data()["hosts"].as_array().unwrap().clone();
            let found = hosts.into_iter().find(|one| one["id"] == host);
            let found = found.filter(|one| one["state"] == state && !one["agent"].is_null());
            found.map(|_| ())
        });
        seen.await.unwrap();
    }

    /// A VM of acme's project shop that every host has room for.
    pub(crate) async fn vm(&self, more: Value) -> Answer {
        let mut body = json!({
            "name": "web", "org_id": "acme", "project_id": "shop", "vcpus": 1, "memory_mib": 128,
        });
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        self.post(VMS, body).await
    }

    /// A VM that is stopped.
    pub(crate) async fn made(&self) -> String {
        let vm = self.vm(json!({})).await.id();
        self.until(&vm, "Stopped").await;
        vm
    }

    /// A VM that runs.
    pub(crate) async fn started(&self) -> String {
        let vm = self.vm(json!({ "start": true })).await.id();
        self.until(&vm, "Running").await;
        vm
    }

    /// Waits until a VM is in a state, and returns it as it is then.
    pub(crate) async fn until(&self, vm: &str, state: &str) -> Value {
        self.until_it(vm, state, |vm| vm["state"] == state).await
    }

    /// Waits until a VM is such, and returns it as it is then.
    pub(crate) async fn until_it(
        &self,
        vm: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let found = eventually(&format!("{vm} is {what}"), PATIENCE, || async {
            let answer = self.get(&format!("{VMS}/{vm}")).await;
            Some(answer.data().clone()).filter(|vm| is_so(vm))
        })
        .await;
        match found {
            Ok(found) => found,
            Err(error) => panic!("{error}: {:?}", self.get(&format!("{VMS}/{vm}")).await),
        }
    }

    /// Waits until a VM is gone.
    pub(crate) async fn until_gone(&self, vm: &str) {
        let what = format!("{vm} is gone");
        let gone = eventually(&what, PATIENCE, || async {
            let answer = self.get(&format!("{VMS}/{vm}")).await;
            (answer.status == 404).then_some(())
        });
        gone.await.unwrap();
    }

    /// Deletes a VM, and waits until it is gone.
    pub(crate) async fn delete_vm(&self, vm: &str) {
        self.delete(&format!("{VMS}/{vm}")).await.data();
        self.until_gone(vm).await;
    }

    /// Asks something of a VM.
    pub(crate) async fn ask(&self, vm: &str, what: &str, body: Value) -> Answer {
        self.post(&format!("{VMS}/{vm}/{what}"), body).await
    }

    /// Waits until an operation is over, and returns it as it is then.
    pub(crate) async fn until_over(&self, operation: &str) -> Value {
        eventually(&format!("{operation} is over"), PATIENCE, || async {
            let answer = self.get(&format!("/api/v1/operations/{operation}")).await;
            Some(answer.data().clone()).filter(|found| !found["ended_at"].is_null())
        })
        .await
        .unwrap()
    }

    /// One member of each row of a list, page by page.
    pub(crate) async fn all(&self, path: &str, rows: &str, member: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut token = String::new();
        let glue = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{glue}limit=100{token}")).await;
            let found = page.data()[rows].as_array().unwrap();
            all.extend(
                found
                    .iter()
                    .map(|row| row[member].as_str().unwrap().to_owned()),
            );
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
    let (replayed, etag) = (header("idempotency-replayed"), header("etag"));
    let text = answer.text().await?;
    let body = serde_json::from_str(&text);
    let body = body.unwrap_or_else(|error| panic!("{status} {text:?}: {error}"));
    Ok(Answer {
        status,
        replayed: replayed.as_deref() == Some("true"),
        etag,
        body,
    })
}
