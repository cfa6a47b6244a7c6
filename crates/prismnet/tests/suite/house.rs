//! A PrismNET over a store, both in this process, and a client that speaks REST to it.

use std::{collections::BTreeMap, time::Duration};

use photon_store::{Entry, Scan, Store};
use photon_testkit::{InProcessChainfire, in_process_chainfire, poll::eventually};
use prismnet::{Config, Running, Sockets};
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
    config
}

/// Starts a service, and waits until it is ready.
pub(crate) async fn over(config: Config) -> Running {
    let running = Box::pin(prismnet::start(config, Sockets::default()))
        .await
        .unwrap();
    ready(&Caller::of(&running)).await;
    running
}

/// Waits until a service is ready.
pub(crate) async fn ready(caller: &Caller) {
    eventually("prismnet is ready", PATIENCE, || async {
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

/// Everything of networks that was in the store at one moment: what two reads, one after the other, both found. What is written
/// at present, by a process that was killed too, is waited for.
pub(crate) async fn snapshot(endpoint: &str) -> BTreeMap<String, String> {
    let store = &store_at(endpoint).await;
    let text = |entry: Entry| (entry.key, String::from_utf8(entry.value.to_vec()).unwrap());
    let read = async || {
        let entries = entries_below(store, "/photon/prismnet/").await.into_iter();
        entries
            .filter(|entry| !is_history(&entry.key))
            .map(text)
            .collect::<BTreeMap<_, _>>()
    };
    eventually("nothing is written any more", PATIENCE, || async {
        let found = read().await;
        (read().await == found).then_some(found)
    })
    .await
    .unwrap()
}

/// Keys that something made leaves for good: what was done, and by which request.
pub(crate) fn is_history(key: &str) -> bool {
    ["/audit", "/idempotency"]
        .iter()
        .any(|part| key.starts_with(&format!("/photon/prismnet{part}")))
}

impl House {
    pub(crate) async fn dev() -> Self {
        let chainfire = Box::pin(in_process_chainfire()).await.unwrap();
        let running = over(config(&chainfire.endpoint())).await;
        Self {
            operator: Caller::of(&running),
            running: Some(running),
            chainfire,
        }
    }

    pub(crate) async fn store(&self) -> Store {
        store_at(&self.chainfire.endpoint()).await
    }

    /// What is in the store of networks, besides history.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys = keys_below(&self.store().await, "/photon/prismnet/").await;
        keys.retain(|key| !is_history(key));
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

    /// A VPC of acme's project shop.
    pub(crate) async fn vpc(&self, cidr_block: &str) -> String {
        self.vpc_of("acme", "shop", cidr_block).await
    }

    pub(crate) async fn vpc_of(&self, org: &str, project: &str, cidr_block: &str) -> String {
        let body = json!({
            "name": "net", "org_id": org, "project_id": project, "cidr_block": cidr_block,
        });
        self.post("/api/v1/vpcs", body).await.id()
    }

    pub(crate) async fn subnet(&self, vpc: &str, cidr_block: &str) -> String {
        let body = json!({ "name": "sub", "vpc_id": vpc, "cidr_block": cidr_block });
        self.post("/api/v1/subnets", body).await.id()
    }

    pub(crate) async fn port(&self, subnet: &str) -> Answer {
        self.post("/api/v1/ports", json!({ "subnet_id": subnet }))
            .await
    }

    /// An external network with everything in its pool but the first address, which is the gateway's.
    pub(crate) async fn outside(&self, cidr_block: &str) -> String {
        let block: prismnet_model::Block = cidr_block.parse().unwrap();
        let gateway = std::net::Ipv4Addr::from_bits(block.network().to_bits() + 1);
        let body = json!({ "name": "outside", "cidr_block": cidr_block, "gateway_ip": gateway });
        self.post("/api/v1/external-networks", body).await.id()
    }

    /// A floating IP of acme's project shop.
    pub(crate) async fn floating(&self, network: &str) -> Answer {
        let body =
            json!({ "external_network_id": network, "org_id": "acme", "project_id": "shop" });
        self.post("/api/v1/floating-ips", body).await
    }

    pub(crate) async fn group(&self, name: &str) -> String {
        let body = json!({ "name": name, "org_id": "acme", "project_id": "shop" });
        self.post("/api/v1/security-groups", body).await.id()
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
