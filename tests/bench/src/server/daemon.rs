//! A service of the suite as a process over a ChainFire of its own, in dev mode.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::time::Instant;

use super::{Addresses, Process, Store, Usage, http};

/// How long it may take until it serves.
const START: Duration = Duration::from_secs(600);
/// How long it may take to give everything up.
const STOP: Duration = Duration::from_secs(60);
/// How often it is asked whether it does.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// A service with default settings, and its store.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
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

impl Daemon {
    /// A service that is not started yet, named as its program is. `settings` is TOML beside its addresses and its store.
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
        let name = program.file_name().context("a program without a name")?;
        let name = name.to_string_lossy().into_owned();
        // Three free ports; one is left over.
        let free = Addresses::free()?;
        let config = directory.join(format!("{name}.toml"));
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
            log: directory.join(format!("{name}.log")),
            name,
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
                bail!("{} is not ready after {START:?}", self.name);
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
            ensure!(Instant::now() < deadline, "{} does not stop", self.name);
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
            .with_context(|| format!("{} is not running", self.name))
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
