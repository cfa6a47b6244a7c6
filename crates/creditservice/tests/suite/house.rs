//! A CreditService over a store, both in this process, and a client that speaks REST to it.

use std::{ops::Deref, time::Duration};

use creditservice::{Config, Running, Sockets};
use photon_store::Store;
use photon_testkit::{InProcessChainfire, in_process_chainfire, rest};
use serde_json::{Value, json};

pub(crate) use photon_testkit::rest::Answer;

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
    Caller::of(&running).until_ready().await;
    running
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
pub(crate) struct Caller(rest::Caller);

impl Deref for Caller {
    type Target = rest::Caller;

    fn deref(&self) -> &rest::Caller {
        &self.0
    }
}

impl Caller {
    /// Without a credential: in dev mode the operator.
    pub(crate) fn of(running: &Running) -> Self {
        Self::at(&format!("http://{}", running.rest_address()))
    }

    pub(crate) fn at(base: &str) -> Self {
        Self(rest::Caller::at(base))
    }

    pub(crate) fn with(&self, token: &str) -> Self {
        Self(self.0.with(token))
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
