//! Three servers of one kind on one machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use super::process::{Process, Usage};
use super::single::{Addresses, START, chainfire_config, etcd_arguments, wait_ready};
use super::{Kind, http, scrape};
use crate::load::connect;

const RETRY: Duration = Duration::from_millis(100);
const NAMES: [&str; 3] = ["one", "two", "three"];

/// One member, running or killed.
#[derive(Debug)]
struct Node {
    addresses: Addresses,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

impl Node {
    fn endpoint(&self) -> String {
        format!("http://{}", self.addresses.client)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.process = Some(Process::start(&self.program, &self.arguments, &self.log)?);
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let endpoint = self.endpoint();
        let process = self.process.as_mut().context("not running")?;
        wait_ready(&endpoint, process)
            .await
            .with_context(|| format!("log in {}", self.log.display()))
    }
}

/// A running cluster of three.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts three new members with their data under `directory`; all answer when it returns.
    ///
    /// # Errors
    /// When one cannot be started or does not answer in time.
    pub(crate) async fn start(kind: &Kind, directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.join(format!("{}-three", kind.name()));
        let addresses: Vec<Addresses> = NAMES
            .iter()
            .map(|_| Addresses::free())
            .collect::<Result<_, _>>()?;
        let initial_cluster = NAMES
            .iter()
            .zip(&addresses)
            .map(|(name, addresses)| format!("{name}=http://{}", addresses.peer))
            .collect::<Vec<_>>()
            .join(",");
        let mut nodes = Vec::new();
        for (index, name) in NAMES.iter().enumerate() {
            let home = directory.join(name);
            std::fs::create_dir_all(&home)?;
            let (program, arguments) = match kind {
                Kind::Etcd(program) => (
                    program,
                    etcd_arguments(name, &home, &addresses[index], &initial_cluster),
                ),
                Kind::Chainfire(program) => {
                    let config = chainfire_config(index + 1, &home, &addresses[index])?;
                    (program, vec!["--config".into(), config])
                }
                Kind::Ceiling(_) => bail!("the ceiling has no cluster"),
            };
            nodes.push(Node {
                addresses: addresses[index].clone(),
                program: program.clone(),
                arguments,
                log: home.join("log"),
                process: None,
            });
        }
        let mut cluster = Self { nodes };
        match kind {
            // etcd's members wait for each other.
            Kind::Etcd(_) => {
                for node in &mut cluster.nodes {
                    node.start()?;
                }
                for node in &mut cluster.nodes {
                    node.ready().await?;
                }
            }
            // ChainFire's are added one after the other.
            Kind::Chainfire(_) | Kind::Ceiling(_) => {
                for index in 0..cluster.nodes.len() {
                    cluster.nodes[index].start()?;
                    if index > 0 {
                        cluster.add(index).await?;
                    }
                    cluster.nodes[index].ready().await?;
                }
            }
        }
        cluster.all_vote().await?;
        Ok(cluster)
    }

    /// Asks the first ChainFire to take node `index` in, until that is up and answers it.
    async fn add(&self, index: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let body = format!(
            "{{\"node_id\": {}, \"address\": \"{}\"}}",
            index + 1,
            self.nodes[index].addresses.client
        );
        let rest = &self.nodes[0].addresses.rest;
        loop {
            let answer = http::post_json(rest, "/api/v1/cluster/members", &body).await;
            match answer {
                Ok(answer) if answer.status == 200 || answer.status == 201 => return Ok(()),
                Ok(answer) if Instant::now() >= deadline => {
                    bail!("member not added: {} {}", answer.status, answer.body)
                }
                Err(error) if Instant::now() >= deadline => return Err(error),
                _ => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Waits until the cluster has three members and none is a learner.
    async fn all_vote(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let mut client = connect(&self.nodes[0].endpoint()).await?;
        loop {
            let members = client.member_list().await?;
            let voters = members.members().iter().filter(|m| !m.is_learner()).count();
            if voters == NAMES.len() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("{voters} of three members vote after {START:?}");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The client endpoints of the members that run.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes
            .iter()
            .filter(|node| node.process.is_some())
            .map(Node::endpoint)
            .collect()
    }

    /// What all members have used so far.
    ///
    /// # Errors
    /// When one has ended.
    pub(crate) async fn usage(&self) -> anyhow::Result<Usage> {
        let mut total: Option<Usage> = None;
        for node in &self.nodes {
            let process = node.process.as_ref().context("not running")?;
            let usage = Usage {
                cpu_s: process.cpu_s()?,
                fsyncs: scrape::fsyncs(&node.addresses.client).await?,
            };
            total = Some(total.map_or(usage, |sum| sum.with(usage)));
        }
        total.context("no members")
    }

    /// Sends SIGKILL to the leader and returns the index of its node and the time of the kill.
    ///
    /// # Errors
    /// When no member says that it leads.
    pub(crate) async fn kill_leader(&mut self) -> anyhow::Result<(usize, Instant)> {
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let status = connect(&node.endpoint()).await?.status().await?;
            let own = status
                .header()
                .context("answer without header")?
                .member_id();
            if status.leader() == own {
                let mut process = node.process.take().context("not running")?;
                let killed = Instant::now();
                process.kill()?;
                return Ok((index, killed));
            }
        }
        bail!("no member says that it leads")
    }

    /// Starts a killed member again and waits until it answers.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub(crate) async fn restart(&mut self, index: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[index];
        node.start()?;
        node.ready().await
    }
}
