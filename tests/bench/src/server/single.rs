//! One server on loopback, alone.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use super::process::{Process, Usage};
use super::{Kind, scrape};
use crate::load::connect_kv;

/// How long a server may take to answer its first request.
pub(crate) const START: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(2);

/// The three addresses of one server.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Clients (gRPC), `host:port`.
    pub(crate) client: String,
    /// Peers.
    pub(crate) peer: String,
    /// ChainFire's REST listener.
    pub(crate) rest: String,
}

impl Addresses {
    /// Free ports of loopback. (A server takes them a moment later; none can be handed a bound listener.)
    ///
    /// # Errors
    /// When there are none left.
    pub(crate) fn free() -> std::io::Result<Self> {
        let held: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        let address =
            |index: usize| -> std::io::Result<String> { Ok(held[index].local_addr()?.to_string()) };
        Ok(Self {
            client: address(0)?,
            peer: address(1)?,
            rest: address(2)?,
        })
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) kind: Kind,
    pub(crate) addresses: Addresses,
    pub(crate) process: Process,
}

impl Single {
    /// Starts a new, empty server with its data under `directory` and waits until it answers a get.
    ///
    /// # Errors
    /// When it cannot be started or does not answer in time.
    pub(crate) async fn start(kind: &Kind, directory: &Path) -> anyhow::Result<Self> {
        let addresses = Addresses::free()?;
        let directory = directory.join(kind.name());
        std::fs::create_dir_all(&directory)?;
        let (program, arguments) = command(kind, &directory, &addresses)?;
        let log = directory.join("log");
        let process = Process::start(&program, &arguments, &log)?;
        let mut server = Self {
            kind: kind.clone(),
            addresses,
            process,
        };
        server
            .ready()
            .await
            .with_context(|| format!("{}, log in {}", kind.name(), log.display()))?;
        Ok(server)
    }

    /// The client endpoint as a URL.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.addresses.client)
    }

    /// What the server has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub(crate) async fn usage(&self) -> anyhow::Result<Usage> {
        let fsyncs = match self.kind {
            Kind::Ceiling(_) => None,
            Kind::Etcd(_) | Kind::Chainfire(_) => scrape::fsyncs(&self.addresses.client).await?,
        };
        Ok(Usage {
            cpu_s: self.process.cpu_s()?,
            fsyncs,
        })
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        wait_ready(&self.endpoint(), &mut self.process).await
    }
}

/// Waits until a linearizable get is answered.
///
/// # Errors
/// When the process ends or the time is up.
pub(crate) async fn wait_ready(endpoint: &str, process: &mut Process) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    loop {
        process.check()?;
        let probe = async {
            connect_kv(endpoint).await?.get("ready?", None).await?;
            anyhow::Ok(())
        };
        match tokio::time::timeout(PROBE, probe).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if Instant::now() >= deadline => return Err(error),
            Err(_) if Instant::now() >= deadline => anyhow::bail!("no answer within {START:?}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn command(
    kind: &Kind,
    directory: &Path,
    addresses: &Addresses,
) -> anyhow::Result<(PathBuf, Vec<String>)> {
    match kind {
        Kind::Etcd(program) => Ok((
            program.clone(),
            etcd_arguments(
                "solo",
                directory,
                addresses,
                &format!("solo=http://{}", addresses.peer),
            ),
        )),
        Kind::Chainfire(program) => {
            let config = chainfire_config(1, directory, addresses)?;
            Ok((program.clone(), vec!["--config".into(), config]))
        }
        Kind::Ceiling(program) => Ok((
            program.clone(),
            ["serve-constants", "--listen", &addresses.client]
                .map(String::from)
                .into(),
        )),
    }
}

/// etcd with its defaults, but for the addresses and a quota that the runs do not reach.
pub(crate) fn etcd_arguments(
    name: &str,
    directory: &Path,
    addresses: &Addresses,
    initial_cluster: &str,
) -> Vec<String> {
    let client = format!("http://{}", addresses.client);
    let peer = format!("http://{}", addresses.peer);
    [
        ("--name", name.to_owned()),
        ("--data-dir", directory.join("data").display().to_string()),
        ("--listen-client-urls", client.clone()),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer),
        ("--initial-cluster", initial_cluster.to_owned()),
        ("--quota-backend-bytes", (8_u64 << 30).to_string()),
        ("--logger", "zap".to_owned()),
        ("--log-level", "warn".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

/// Writes ChainFire's configuration with its defaults, but for the addresses, and returns the path.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn chainfire_config(
    node_id: usize,
    directory: &Path,
    addresses: &Addresses,
) -> anyhow::Result<String> {
    let cluster = if node_id == 1 { "new" } else { "join" };
    let text = format!(
        "data_dir = \"{}\"\nnode_id = {node_id}\ncluster = \"{cluster}\"\n\n\
         [auth]\nmode = \"dev\"\n\n\
         [rest]\naddress = \"{}\"\n\n[grpc]\naddress = \"{}\"\n\n[peer]\naddress = \"{}\"\n",
        std::path::absolute(directory.join("data"))?.display(),
        addresses.rest,
        addresses.client,
        addresses.peer
    );
    let path = directory.join("chainfire.toml");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}
