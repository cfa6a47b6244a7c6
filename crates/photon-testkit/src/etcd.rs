//! Debian's etcd as the reference server: one node or a cluster, durable (fsync is never turned off).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};

use crate::pki::Files;
use crate::poll::eventually_true;
use crate::ports;
use crate::process::{self, Process, Spec};
use crate::scratch::Scratch;

const START: Duration = Duration::from_secs(30);
const ONE_PROBE: Duration = Duration::from_secs(1);
const PORT_ATTEMPTS: usize = 5;

/// Where a node listens and whom it knows. `--initial-cluster` of all nodes is the same.
#[derive(Clone, Debug)]
struct Node {
    name: String,
    /// Part of what the cluster id is derived from.
    token: String,
    client: String,
    peer: String,
    data: PathBuf,
    log: PathBuf,
    namespace: Option<String>,
    /// The certificate to probe a TLS listener with.
    probe: Option<Files>,
}

impl Node {
    fn spec(&self, initial_cluster: &str, extra: &[String]) -> Spec {
        let mut spec = Spec::new(&self.name, "etcd", &self.log)
            .argument("--name")
            .argument(&self.name)
            .argument("--data-dir")
            .argument(&self.data)
            .argument("--listen-client-urls")
            .argument(&self.client)
            .argument("--advertise-client-urls")
            .argument(&self.client)
            .argument("--listen-peer-urls")
            .argument(&self.peer)
            .argument("--initial-advertise-peer-urls")
            .argument(&self.peer)
            .argument("--initial-cluster")
            .argument(initial_cluster)
            .argument("--initial-cluster-token")
            .argument(&self.token)
            .argument("--logger=zap");
        spec.namespace.clone_from(&self.namespace);
        spec.arguments
            .extend(extra.iter().map(std::ffi::OsString::from));
        spec
    }
}

/// One etcd server on loopback with its data in a temporary directory.
#[derive(Debug)]
pub struct EtcdProcess {
    // Declared before the directory: the process is killed before its data is removed.
    process: Option<Process>,
    node: Node,
    extra: Vec<String>,
    _dir: Option<Scratch>,
}

impl EtcdProcess {
    /// Starts a new, empty etcd and waits until it answers.
    ///
    /// # Errors
    /// When etcd is not installed or does not answer within 30 s; the message has the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// [`EtcdProcess::start`] with further command line flags.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn start_with(extra: &[&str]) -> anyhow::Result<Self> {
        Self::start_as("http", extra, None).await
    }

    /// [`EtcdProcess::start_with`] for flags that turn TLS on for clients; `probe` is a certificate it accepts.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn start_tls(extra: &[&str], probe: Files) -> anyhow::Result<Self> {
        Self::start_as("https", extra, Some(probe)).await
    }

    async fn start_as(scheme: &str, extra: &[&str], probe: Option<Files>) -> anyhow::Result<Self> {
        let dir = Scratch::new("etcd")?;
        for attempt in 1.. {
            let [client, peer] = ports::free()?;
            let mut etcd = Self {
                process: None,
                node: Node {
                    name: "etcd".to_owned(),
                    token: "photon-testkit".to_owned(),
                    client: format!("{scheme}://127.0.0.1:{client}"),
                    peer: format!("http://127.0.0.1:{peer}"),
                    data: dir.path().join(format!("data-{attempt}")),
                    log: dir.path().join(format!("log-{attempt}")),
                    namespace: None,
                    probe: probe.clone(),
                },
                extra: extra.iter().map(ToString::to_string).collect(),
                _dir: None,
            };
            match etcd.restart().await {
                Ok(()) => {
                    etcd._dir = Some(dir);
                    return Ok(etcd);
                }
                // Somebody else took a port between its release and etcd's bind.
                Err(_) if attempt < PORT_ATTEMPTS && etcd.port_was_taken() => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the loop returns")
    }

    /// The client URL.
    pub fn endpoint(&self) -> &str {
        &self.node.client
    }

    /// `host:port` of the client listener.
    pub fn address(&self) -> &str {
        self.node.client.rsplit('/').next().unwrap_or_default()
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.node.data
    }

    /// A connected client.
    ///
    /// # Errors
    /// When the URL is refused by the client library.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect([self.endpoint()], None).await?)
    }

    /// The running process, for signals.
    ///
    /// # Errors
    /// When it has been killed.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("etcd is not running")
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Starts it on the same ports and data (killing it first if it runs) and waits until it answers.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let cluster = format!("{}={}", self.node.name, self.node.peer);
        let process = self
            .process
            .insert(Process::start(self.node.spec(&cluster, &self.extra))?);
        wait_until_answering(process, &self.node).await
    }

    /// Stops it, throws its data away and starts an empty one on the same ports: what a client sees when a
    /// store was lost and another set up in its place. The cluster id changes.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn replace_by_empty(&mut self) -> anyhow::Result<()> {
        self.node.token.push('x');
        self.lose_data().await
    }

    /// As [`EtcdProcess::replace_by_empty`], but set up with the same addresses and token, so that the
    /// cluster id stays and only the revision tells.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn lose_data(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        std::fs::remove_dir_all(&self.node.data)?;
        self.restart().await
    }

    fn port_was_taken(&self) -> bool {
        process::log_tail(&self.node.log).contains("address already in use")
    }
}

/// Several etcd servers in one cluster, on loopback or one per network namespace.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Option<Process>>,
    nodes: Vec<Node>,
    extra: Vec<String>,
    _dir: Scratch,
}

impl EtcdCluster {
    /// Starts `size` members on loopback and waits until each answers a linearizable read.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn start(size: usize) -> anyhow::Result<Self> {
        let mut places = Vec::with_capacity(size);
        for _ in 0..size {
            let [client, peer] = ports::free()?;
            places.push((
                format!("http://127.0.0.1:{client}"),
                format!("http://127.0.0.1:{peer}"),
                None,
            ));
        }
        Self::start_at(places).await
    }

    /// One member in each node of a [`crate::NetLab`], on the usual ports 2379 and 2380.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn start_in(lab: &crate::NetLab) -> anyhow::Result<Self> {
        let places = (0..lab.size())
            .map(|node| {
                let address = lab.address(node);
                (
                    format!("http://{address}:2379"),
                    format!("http://{address}:2380"),
                    Some(lab.namespace(node).to_owned()),
                )
            })
            .collect();
        Self::start_at(places).await
    }

    async fn start_at(places: Vec<(String, String, Option<String>)>) -> anyhow::Result<Self> {
        let dir = Scratch::new("etcd-cluster")?;
        let nodes: Vec<Node> = places
            .into_iter()
            .enumerate()
            .map(|(index, (client, peer, namespace))| Node {
                name: format!("etcd{index}"),
                token: "photon-testkit".to_owned(),
                client,
                peer,
                data: dir.path().join(format!("data-{index}")),
                log: dir.path().join(format!("log-{index}")),
                namespace,
                probe: None,
            })
            .collect();
        let mut cluster = Self {
            members: nodes.iter().map(|_| None).collect(),
            nodes,
            extra: Vec::new(),
            _dir: dir,
        };
        for member in 0..cluster.nodes.len() {
            cluster.launch(member)?;
        }
        for member in 0..cluster.nodes.len() {
            cluster.wait(member).await?;
        }
        Ok(cluster)
    }

    /// Client URLs of all members, in order.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// The process of a member, for signals.
    ///
    /// # Errors
    /// When it has been killed.
    pub fn process(&mut self, member: usize) -> anyhow::Result<&mut Process> {
        self.members[member]
            .as_mut()
            .context("the member is not running")
    }

    /// `kill -9` of one member.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self, member: usize) -> anyhow::Result<()> {
        if let Some(mut process) = self.members[member].take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Starts a member on its old data without waiting for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn launch(&mut self, member: usize) -> anyhow::Result<()> {
        self.kill(member)?;
        let cluster = self
            .nodes
            .iter()
            .map(|node| format!("{}={}", node.name, node.peer))
            .collect::<Vec<_>>()
            .join(",");
        self.members[member] = Some(Process::start(
            self.nodes[member].spec(&cluster, &self.extra),
        )?);
        Ok(())
    }

    /// Waits until a member answers a linearizable read.
    ///
    /// # Errors
    /// As [`EtcdProcess::start`].
    pub async fn wait(&mut self, member: usize) -> anyhow::Result<()> {
        let process = self.members[member]
            .as_mut()
            .context("the member is not running")?;
        wait_until_answering(process, &self.nodes[member]).await
    }
}

async fn wait_until_answering(process: &mut Process, node: &Node) -> anyhow::Result<()> {
    let mut ended = None;
    let answering = eventually_true(&format!("{} answers", node.name), START, || {
        ended = process.ended().ok().flatten();
        let ended = ended.is_some();
        let (client, probe) = (&node.client, node.probe.as_ref());
        async move { ended || answers(client, probe).await }
    })
    .await;
    if let Some(status) = ended {
        bail!("{} ended: {status}\n{}", node.name, process.log_tail());
    }
    answering.with_context(|| process.log_tail())
}

/// Whether an etcd v3 server answers a linearizable read within a second; over TLS with this certificate.
pub async fn answers(endpoint: &str, certificate: Option<&Files>) -> bool {
    let probe = async {
        let options = certificate.map(connect_options).transpose()?;
        let mut client = Client::connect([endpoint], options).await?;
        client.get("photon-testkit/probe", None).await?;
        anyhow::Ok(())
    };
    matches!(tokio::time::timeout(ONE_PROBE, probe).await, Ok(Ok(())))
}

/// Options of an etcd client that shows this certificate.
///
/// # Errors
/// When a file cannot be read.
pub fn connect_options(files: &Files) -> std::io::Result<ConnectOptions> {
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(std::fs::read(&files.authority)?))
        .identity(Identity::from_pem(
            std::fs::read(&files.certificate)?,
            std::fs::read(&files.key)?,
        ));
    Ok(ConnectOptions::new().with_tls(tls))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn data_survives_a_kill_and_not_a_replacement() {
        let mut etcd = EtcdProcess::start().await.unwrap();
        etcd.client()
            .await
            .unwrap()
            .put("a", "1", None)
            .await
            .unwrap();
        etcd.kill().unwrap();
        assert!(!answers(etcd.endpoint(), None).await);
        etcd.restart().await.unwrap();
        let before = etcd.client().await.unwrap().get("a", None).await.unwrap();
        assert_eq!(before.kvs()[0].value(), b"1");

        etcd.replace_by_empty().await.unwrap();
        let after = etcd.client().await.unwrap().get("a", None).await.unwrap();
        assert!(after.kvs().is_empty());
        let id = |response: &etcd_client::GetResponse| response.header().unwrap().cluster_id();
        assert_ne!(id(&before), id(&after));

        etcd.lose_data().await.unwrap();
        let again = etcd.client().await.unwrap().get("a", None).await.unwrap();
        assert_eq!(id(&after), id(&again));
    }

    #[tokio::test]
    async fn three_members_survive_the_loss_of_one() {
        let mut cluster = EtcdCluster::start(3).await.unwrap();
        cluster.kill(1).unwrap();
        let survivor = cluster.endpoints()[2].clone();
        eventually_true("two of three serve", START, || answers(&survivor, None))
            .await
            .unwrap();
        cluster.launch(1).unwrap();
        cluster.wait(1).await.unwrap();
    }
}
