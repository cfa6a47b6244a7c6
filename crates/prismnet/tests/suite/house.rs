//! A PrismNET over a store, both in this process, and a client that speaks REST to it.

use std::{collections::BTreeMap, ops::Deref, time::Duration};

use photon_store::{Entry, Scan, Store};
use photon_testkit::{InProcessChainfire, in_process_chainfire, poll::eventually, rest};
use prismnet::{Config, Running, Sockets};
use serde_json::json;

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
    config
}

/// Starts a service, and waits until it is ready.
pub(crate) async fn over(config: Config) -> Running {
    let running = Box::pin(prismnet::start(config, Sockets::default()))
        .await
        .unwrap();
    Caller::of(&running).until_ready().await;
    running
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
}
