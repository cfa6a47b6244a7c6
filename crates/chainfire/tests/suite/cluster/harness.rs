//! A cluster of `chainfire` processes, one in each namespace of a lab.

use std::{net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use photon_testkit::{
    ChainfireProcess, ChainfireSpec, NetLab,
    chainfire_process::NodeTls,
    pki::{Files, TestPki},
    poll::{eventually, eventually_true},
    process::Process,
    scratch::Scratch,
};
use serde_json::{Value, json};

const REST: u16 = 8081;
const GRPC: u16 = 50051;

/// How long the cluster may take to serve writes again after a fault ended.
pub(super) const HEALING: Duration = Duration::from_secs(5);
/// How long anything that has no promise of its own may take; only there so that no test hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a test changes about a node's configuration, in TOML.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    /// Lines of the section `[raft]`.
    pub(super) raft: String,
    /// Variables for the processes.
    pub(super) environment: Vec<(String, String)>,
}

/// The cluster. Everything ends when it is dropped.
pub(super) struct Cluster {
    pub(super) lab: NetLab,
    root: Files,
    nodes: Vec<ChainfireProcess>,
    running: Vec<bool>,
    pub(super) pki: TestPki,
    _scratch: Scratch,
}

impl Cluster {
    /// `size` nodes of which the first `members` form the cluster; `None` when the machine cannot make namespaces.
    pub(super) async fn start(
        test: &str,
        size: usize,
        members: usize,
        settings: &Settings,
    ) -> anyhow::Result<Option<Self>> {
        let Some(lab) = NetLab::or_skip(test, size)? else {
            return Ok(None);
        };
        let scratch = Scratch::new(test)?;
        let pki = TestPki::new()?;
        let root = pki.client("root")?;
        let mut nodes = Vec::new();
        for node in 0..size {
            let name = format!("node-{}", node + 1);
            let addresses = [lab.address(node).into()];
            let tls = NodeTls {
                server: pki.server(&name, &addresses)?,
                peer: pki.peer(&name, &addresses)?,
                client: root.clone(),
            };
            let dir = scratch.path().join(&name);
            let mut spec =
                ChainfireSpec::in_lab(&lab, node, env!("CARGO_BIN_EXE_chainfire"), dir, tls);
            spec.extra = format!("\n[raft]\n{}\n", settings.raft);
            spec.environment.clone_from(&settings.environment);
            nodes.push(ChainfireProcess::launch(spec)?);
        }
        let cluster = Self {
            lab,
            root,
            running: vec![true; nodes.len()],
            nodes,
            pki,
            _scratch: scratch,
        };
        cluster.serving(0, PATIENCE).await?;
        for node in 1..members {
            cluster.add(node).await?;
        }
        Ok(Some(cluster))
    }

    /// How many nodes there are, members or not.
    pub(super) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The data directory of a node.
    pub(super) fn data(&self, node: usize) -> PathBuf {
        self.nodes[node].data()
    }

    /// Starts a node that was killed, on the data it has.
    pub(super) fn launch(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].relaunch()?;
        self.running[node] = true;
        Ok(())
    }

    /// The process of a running node.
    pub(super) fn process(&mut self, node: usize) -> anyhow::Result<&mut Process> {
        self.nodes[node].process()
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].kill()?;
        self.running[node] = false;
        Ok(())
    }

    /// Where the node's log is.
    pub(super) fn log_file(&self, node: usize) -> PathBuf {
        self.nodes[node].log()
    }

    /// What the node's log ends with.
    pub(super) fn log(&self, node: usize) -> String {
        photon_testkit::process::log_tail(&self.log_file(node))
    }

    fn address(&self, node: usize) -> Ipv4Addr {
        self.lab.address(node)
    }

    /// `host:port` of a node's client listener.
    pub(super) fn client_address(&self, node: usize) -> String {
        format!("{}:{GRPC}", self.address(node))
    }

    /// An etcd client of one node, with the root certificate.
    pub(super) async fn client(&self, node: usize) -> anyhow::Result<Client> {
        let options = ConnectOptions::new().with_timeout(Duration::from_secs(8));
        self.connect(node, options).await
    }

    /// The same without a deadline on calls, for streams.
    pub(super) async fn stream_client(&self, node: usize) -> anyhow::Result<Client> {
        let options =
            ConnectOptions::new().with_keep_alive(Duration::from_secs(5), Duration::from_secs(2));
        self.connect(node, options).await
    }

    async fn connect(&self, node: usize, options: ConnectOptions) -> anyhow::Result<Client> {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(std::fs::read(&self.root.authority)?))
            .identity(Identity::from_pem(
                std::fs::read(&self.root.certificate)?,
                std::fs::read(&self.root.key)?,
            ));
        let options = options
            .with_tls(tls)
            .with_connect_timeout(Duration::from_secs(2));
        let url = format!("https://{}", self.client_address(node));
        Ok(Client::connect([url], Some(options)).await?)
    }

    fn http(&self) -> anyhow::Result<reqwest::Client> {
        let mut identity = std::fs::read(&self.root.certificate)?;
        identity.extend(std::fs::read(&self.root.key)?);
        let authority = reqwest::Certificate::from_pem(&std::fs::read(&self.root.authority)?)?;
        Ok(reqwest::Client::builder()
            .tls_certs_only([authority])
            .identity(reqwest::Identity::from_pem(&identity)?)
            .timeout(Duration::from_secs(10))
            .build()?)
    }

    /// A REST call to a node: status and body.
    pub(super) async fn rest(
        &self,
        node: usize,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let url = format!("https://{}:{REST}{path}", self.address(node));
        let mut request = self.http()?.request(method, url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }

    /// Adds a node by the guide's call, through whichever member answers, and waits until it is a voter.
    pub(super) async fn add(&self, node: usize) -> anyhow::Result<()> {
        let body = json!({"node_id": node + 1, "address": self.client_address(node)});
        eventually(&format!("node {node} is added"), PATIENCE, || async {
            let (status, answer) = self
                .rest(
                    0,
                    reqwest::Method::POST,
                    "/api/v1/cluster/members",
                    Some(body.clone()),
                )
                .await
                .ok()?;
            // A repeat after an answer that was lost finds it there.
            (status < 300 || answer["error"]["code"] == "ALREADY_EXISTS").then_some(())
        })
        .await?;
        eventually(&format!("node {node} votes"), PATIENCE, || async {
            let members = self.client(0).await.ok()?.member_list().await.ok()?;
            members
                .members()
                .iter()
                .any(|member| member.id() == node as u64 + 1 && !member.is_learner())
                .then_some(())
        })
        .await
    }

    /// The member that leads, as the others see it.
    pub(super) async fn leader(&self) -> anyhow::Result<usize> {
        eventually("a leader", PATIENCE, || async {
            for node in 0..self.size() {
                let Ok(mut client) = self.client(node).await else {
                    continue;
                };
                if let Ok(status) = client.status().await
                    && status.leader() == node as u64 + 1
                {
                    return Some(node);
                }
            }
            None
        })
        .await
    }

    /// Waits until a write through this node is acknowledged.
    pub(super) async fn serving(&self, node: usize, within: Duration) -> anyhow::Result<()> {
        let served = eventually_true(&format!("node {node} serves writes"), within, || async {
            let Ok(mut client) = self.client(node).await else {
                return false;
            };
            client
                .put(format!("serving/{node}"), "yes", None)
                .await
                .is_ok()
        })
        .await;
        if let Err(error) = served {
            bail!("{error:#}\nits log ends:\n{}", self.log(node));
        }
        Ok(())
    }

    /// Waits until every running node serves writes.
    pub(super) async fn all_serving(&self, within: Duration) -> anyhow::Result<()> {
        for node in (0..self.size()).filter(|node| self.running[*node]) {
            self.serving(node, within).await?;
        }
        Ok(())
    }

    /// Every member of `nodes` answers the same hash of the same revision.
    pub(super) async fn hashes_agree(&self, nodes: &[usize]) -> anyhow::Result<()> {
        let mut newest = self.client(nodes[0]).await?;
        let revision = newest
            .get("hashes", None)
            .await?
            .header()
            .context("a header")?
            .revision();
        let mut hashes = Vec::new();
        for &node in nodes {
            let hash = eventually(
                &format!("node {node} has revision {revision}"),
                PATIENCE,
                || async {
                    let mut client = self.client(node).await.ok()?;
                    let answer = client.hash_kv(revision).await.ok()?;
                    Some((answer.hash(), answer.compact_version()))
                },
            )
            .await?;
            hashes.push(hash);
        }
        anyhow::ensure!(
            hashes.iter().all(|hash| *hash == hashes[0]),
            "members differ at revision {revision}: {hashes:?}"
        );
        Ok(())
    }
}
