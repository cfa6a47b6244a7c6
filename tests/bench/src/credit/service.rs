//! CreditService as a process over a ChainFire of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::time::Instant;

use super::journal::ROOT;
use crate::keep_alive::{KeepAlive, request};
use crate::load::connect_kv;
use crate::server::{Addresses, Cluster, Kind, Process, Single, Usage, http};

/// How long it may take until it serves.
const START: Duration = Duration::from_secs(600);
/// How long it may take to give everything up.
const STOP: Duration = Duration::from_secs(60);
/// How often it is asked whether it does.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// What it keeps its state in.
#[derive(Debug)]
pub(crate) enum Store {
    /// A ChainFire of one member.
    One(Single),
    /// Of three.
    Three(Cluster),
}

impl Store {
    /// Starts one with `members` members, empty.
    ///
    /// # Errors
    /// What could not be started.
    pub(crate) async fn start(
        chainfire: &Path,
        members: usize,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let kind = Kind::Chainfire(chainfire.to_owned());
        match members {
            1 => Ok(Self::One(Single::start(&kind, directory).await?)),
            3 => Ok(Self::Three(Cluster::start(&kind, directory).await?)),
            other => bail!("a store of {other} members is not among what can be started"),
        }
    }

    /// Where its members are asked.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        match self {
            Self::One(single) => vec![single.endpoint()],
            Self::Three(cluster) => cluster.endpoints(),
        }
    }

    /// Has the service spread projects over so many shards, as only its first start decides.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn spread_over(&self, shards: u16) -> anyhow::Result<()> {
        let mut kv = connect_kv(&self.endpoints()[0]).await?;
        let record = format!(r#"{{"v":1,"count":{shards}}}"#);
        kv.put(format!("{ROOT}/shards"), record, None).await?;
        Ok(())
    }

    async fn usage(&self) -> anyhow::Result<Usage> {
        match self {
            Self::One(single) => single.usage().await,
            Self::Three(cluster) => cluster.usage().await,
        }
    }
}

/// CreditService in dev mode with default settings, and its store.
#[derive(Debug)]
pub(crate) struct Service {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    pub(crate) store: Store,
    /// Where its REST listens, `host:port`.
    pub(crate) rest: String,
    /// Where its gRPC listens, as a URL.
    pub(crate) grpc: String,
}

impl Service {
    /// A service that is not started yet. `settings` is TOML beside its addresses and its store.
    ///
    /// # Errors
    /// No free ports; a file that cannot be written.
    pub(crate) fn over(
        store: Store,
        program: &Path,
        directory: &Path,
        settings: &str,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        // Three free ports; one is left over.
        let free = Addresses::free()?;
        let config = directory.join("creditservice.toml");
        let text = format!(
            "[rest]\naddress = \"{}\"\n[grpc]\naddress = \"{}\"\n[store]\nendpoints = {:?}\n{settings}",
            free.rest,
            free.client,
            store.endpoints(),
        );
        std::fs::write(&config, text)?;
        Ok(Self {
            program: program.to_owned(),
            config,
            log: directory.join("creditservice.log"),
            process: None,
            store,
            rest: free.rest,
            grpc: format!("http://{}", free.client),
        })
    }

    /// Starts it, and says how long it took until `/readyz` was 200.
    ///
    /// # Errors
    /// When it ends, or the time is up.
    pub(crate) async fn start(&mut self) -> anyhow::Result<Duration> {
        let arguments = ["--config".to_owned(), self.config.display().to_string()];
        let began = Instant::now();
        let mut process = Process::start(&self.program, &arguments, &self.log)?;
        loop {
            process
                .check()
                .with_context(|| format!("log in {}", self.log.display()))?;
            if let Ok(answer) = http::get(&self.rest, "/readyz").await
                && answer.status == 200
            {
                break;
            }
            if began.elapsed() >= START {
                bail!("creditservice is not ready after {START:?}");
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
        let took = began.elapsed();
        self.process = Some(process);
        Ok(took)
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it is gone already.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Asks it to stop, and waits until it has given everything up.
    ///
    /// # Errors
    /// When it does not end in time.
    pub(crate) async fn stop_in_order(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let id = nix::unistd::Pid::from_raw(i32::try_from(process.id())?);
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP;
        while process.check().is_ok() {
            ensure!(Instant::now() < deadline, "creditservice does not stop");
            tokio::time::sleep(PROBE_EVERY).await;
        }
        Ok(())
    }

    /// The process that serves.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn process(&self) -> anyhow::Result<&Process> {
        self.process
            .as_ref()
            .context("creditservice is not running")
    }

    /// What it and its store have used so far, and how much CPU time of that was its own.
    ///
    /// # Errors
    /// When one of them has ended.
    pub(crate) async fn usage(&self) -> anyhow::Result<(Usage, f64)> {
        let own_cpu_s = self.process()?.cpu_s()?;
        let mut usage = self.store.usage().await?;
        usage.cpu_s += own_cpu_s;
        Ok((usage, own_cpu_s))
    }
}

/// Asks over a connection that stays open, and returns the `data` of the answer.
///
/// # Errors
/// An answer that is not 2xx.
pub(crate) async fn call(
    connection: &mut KeepAlive,
    address: &str,
    line: &str,
    body: &str,
) -> anyhow::Result<Value> {
    let status = connection
        .exchange(&request(address, line, "", body))
        .await?;
    let text = String::from_utf8_lossy(connection.body());
    ensure!((200..300).contains(&status), "{line}: {status} {text}");
    let mut answer: Value = serde_json::from_str(&text)?;
    Ok(answer["data"].take())
}
