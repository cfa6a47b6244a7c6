//! The real `chainfire` binary as a child process.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::etcd::answers;
use crate::pki::Files;
use crate::poll::eventually;
use crate::ports;
use crate::process::{Process, Spec};

const START: Duration = Duration::from_secs(60);

/// One node to run.
#[derive(Clone, Debug)]
pub struct ChainfireSpec {
    /// The binary: `env!("CARGO_BIN_EXE_chainfire")` in tests of that crate.
    pub binary: PathBuf,
    /// Holds `data/`, the configuration and the log. Must exist and outlive the node.
    pub dir: PathBuf,
    /// The node's id; also its name.
    pub node_id: u64,
    /// Wait to be added to a cluster instead of making one.
    pub join: bool,
    /// REST listener.
    pub rest: SocketAddr,
    /// etcd v3 and native gRPC listener.
    pub grpc: SocketAddr,
    /// Peer listener.
    pub peer: SocketAddr,
    /// Certificates: with them the node runs in enforce mode with TLS on all listeners, else in dev mode.
    pub tls: Option<NodeTls>,
    /// Network namespace to run in.
    pub namespace: Option<String>,
    /// More TOML, for the end of the configuration: whole tables only.
    pub extra: String,
    /// Variables for the process.
    pub environment: Vec<(String, String)>,
}

/// A node's certificates, and those of whoever asks it whether it is there.
#[derive(Clone, Debug)]
pub struct NodeTls {
    /// Of the REST and gRPC listeners.
    pub server: Files,
    /// Of the peer listener.
    pub peer: Files,
    /// Of the caller that probes.
    pub client: Files,
}

impl ChainfireSpec {
    /// Node 1 of a new cluster in dev mode on free loopback ports.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn single(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let [rest, grpc, peer] = ports::free()?.map(|port| (Ipv4Addr::LOCALHOST, port).into());
        Ok(Self {
            binary: binary.into(),
            dir: dir.into(),
            node_id: 1,
            join: false,
            rest,
            grpc,
            peer,
            tls: None,
            namespace: None,
            extra: String::new(),
            environment: Vec::new(),
        })
    }

    /// One node in a node of a [`crate::NetLab`] on the usual ports. It needs `tls`: dev mode stays on loopback.
    pub fn in_lab(
        lab: &crate::NetLab,
        node: usize,
        binary: impl Into<PathBuf>,
        dir: impl Into<PathBuf>,
        tls: NodeTls,
    ) -> Self {
        let at = |port| SocketAddr::from((lab.address(node), port));
        Self {
            binary: binary.into(),
            dir: dir.into(),
            node_id: node as u64 + 1,
            join: node > 0,
            rest: at(8081),
            grpc: at(50051),
            peer: at(2380),
            tls: Some(tls),
            namespace: Some(lab.namespace(node).to_owned()),
            extra: String::new(),
            environment: Vec::new(),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn config(&self) -> String {
        let mut toml = String::new();
        let mode = if self.tls.is_some() { "enforce" } else { "dev" };
        let cluster = if self.join { "join" } else { "new" };
        let name = format!("node-{}", self.node_id);
        let data = self.data();
        // Writing into a string cannot fail.
        let _ = write!(
            toml,
            "data_dir = {data:?}\nnode_id = {}\nname = {name:?}\ncluster = {cluster:?}\n\
             [auth]\nmode = {mode:?}\n",
            self.node_id,
        );
        let listeners = [
            ("rest", self.rest),
            ("grpc", self.grpc),
            ("peer", self.peer),
        ];
        for (listener, address) in listeners {
            let _ = writeln!(toml, "[{listener}]\naddress = \"{address}\"");
            let Some(tls) = &self.tls else { continue };
            let (files, authority) = match listener {
                "peer" => (&tls.peer, "ca"),
                _ => (&tls.server, "client_ca"),
            };
            let _ = writeln!(
                toml,
                "[{listener}.tls]\ncertificate = {:?}\nkey = {:?}\n{authority} = {:?}",
                files.certificate, files.key, files.authority,
            );
        }
        toml.push_str(&self.extra);
        toml
    }
}

/// A node under test: started, killed, paused and started again on the same data.
#[derive(Debug)]
pub struct ChainfireProcess {
    process: Option<Process>,
    spec: ChainfireSpec,
}

impl ChainfireProcess {
    /// Starts a node and waits until it answers a linearizable read.
    ///
    /// # Errors
    /// When it ends or does not answer within 60 s; the message has the end of its log.
    pub async fn start(spec: ChainfireSpec) -> anyhow::Result<Self> {
        let mut node = Self::launch(spec)?;
        node.wait().await?;
        Ok(node)
    }

    /// Starts a node without waiting, e.g. one that must be added to a cluster first.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn launch(spec: ChainfireSpec) -> anyhow::Result<Self> {
        let mut node = Self {
            process: None,
            spec,
        };
        node.relaunch()?;
        Ok(node)
    }

    /// The client URL for etcd v3 and native gRPC.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme(), self.spec.grpc)
    }

    /// The REST URL.
    pub fn rest_url(&self) -> String {
        format!("{}://{}", self.scheme(), self.spec.rest)
    }

    /// `host:port` of the peer listener.
    pub fn peer_address(&self) -> String {
        self.spec.peer.to_string()
    }

    /// What it was started with.
    pub fn spec(&self) -> &ChainfireSpec {
        &self.spec
    }

    /// Changes the configuration for the next start.
    pub fn spec_mut(&mut self) -> &mut ChainfireSpec {
        &mut self.spec
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.spec.data()
    }

    /// The log, kept over restarts.
    pub fn log(&self) -> PathBuf {
        self.spec.dir.join("log")
    }

    /// The running process, for signals (`pause`, `resume`, `terminate`).
    ///
    /// # Errors
    /// When it has been killed.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the node is not running")
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

    /// Starts it on the same data (killing it first if it runs) without waiting.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn relaunch(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        std::fs::create_dir_all(&self.spec.dir)?;
        let config = self.spec.dir.join("chainfire.toml");
        std::fs::write(&config, self.spec.config())?;
        let mut spec = Spec::new(
            &format!("chainfire-{}", self.spec.node_id),
            &self.spec.binary,
            self.log(),
        )
        .argument("--config")
        .argument(&config);
        spec.namespace.clone_from(&self.spec.namespace);
        for (name, value) in &self.spec.environment {
            spec.environment.push((name.into(), value.into()));
        }
        self.process = Some(Process::start(spec)?);
        Ok(())
    }

    /// [`ChainfireProcess::relaunch`], and waits until it answers.
    ///
    /// # Errors
    /// As [`ChainfireProcess::start`].
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.relaunch()?;
        self.wait().await
    }

    /// Waits until it answers a linearizable read.
    ///
    /// # Errors
    /// As [`ChainfireProcess::start`].
    pub async fn wait(&mut self) -> anyhow::Result<()> {
        let endpoint = self.endpoint();
        let client = self.spec.tls.as_ref().map(|tls| tls.client.clone());
        let process = self.process()?;
        let up = eventually("chainfire answers", START, || {
            let ended = process.ended().ok().flatten();
            let (endpoint, client) = (&endpoint, client.as_ref());
            async move {
                match ended {
                    Some(status) => Some(Err(status)),
                    None => answers(endpoint, client).await.then_some(Ok(())),
                }
            }
        })
        .await;
        match up.with_context(|| process.log_tail())? {
            Ok(()) => Ok(()),
            Err(status) => bail!("chainfire ended: {status}\n{}", process.log_tail()),
        }
    }

    /// Stops it, throws its data away and starts an empty one on the same ports.
    ///
    /// # Errors
    /// As [`ChainfireProcess::start`].
    pub async fn replace_by_empty(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        remove(&self.data())?;
        self.restart().await
    }

    fn scheme(&self) -> &'static str {
        if self.spec.tls.is_some() {
            "https"
        } else {
            "http"
        }
    }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::scratch::Scratch;

    #[tokio::test]
    async fn a_node_that_ends_is_reported_with_its_log() {
        let dir = Scratch::new("chainfire").unwrap();
        let spec = ChainfireSpec::single("/bin/ls", dir.path()).unwrap();
        let error = ChainfireProcess::start(spec).await.unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("chainfire ended") && error.contains("unrecognized option"),
            "{error}"
        );
        let config = std::fs::read_to_string(dir.path().join("chainfire.toml")).unwrap();
        assert!(config.contains("mode = \"dev\"") && config.contains("[peer]"));
    }
}
