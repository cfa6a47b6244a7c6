//! IAM as a process over a ChainFire of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::keep_alive::{KeepAlive, request};
use crate::server::{Addresses, Kind, Process, Single, http};

/// How long it may take until it serves.
const START: Duration = Duration::from_secs(120);
/// How often it is asked whether it does.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// IAM in enforce mode with default limits, its store, and its first admin.
#[derive(Debug)]
pub(crate) struct Iam {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    pub(crate) store: Single,
    pub(crate) address: String,
    /// A bearer who may do everything.
    pub(crate) admin: String,
}

impl Iam {
    /// A new store, `iam init`, and a service that serves.
    ///
    /// # Errors
    /// What could not be started.
    pub(crate) async fn first_start(
        program: &Path,
        chainfire: &Path,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let store = Single::start(&Kind::Chainfire(chainfire.to_owned()), directory).await?;
        // Three free ports; one is left over.
        let free = Addresses::free()?;
        let config = directory.join("iam.toml");
        let text = format!(
            "[auth]\nmode = \"enforce\"\n[rest]\naddress = \"{}\"\n[grpc]\naddress = \"{}\"\n\
             [store]\nendpoints = [\"{}\"]\n[signing]\nwrapping_key_file = \"{}\"\n",
            free.rest,
            free.client,
            store.endpoint(),
            std::path::absolute(directory.join("wrapping.key"))?.display(),
        );
        std::fs::write(&config, text)?;
        let key = init(program, &config)?;
        let mut iam = Self {
            program: program.to_owned(),
            config,
            log: directory.join("iam.log"),
            process: None,
            store,
            address: free.rest,
            admin: String::new(),
        };
        iam.start().await?;
        let proof = json!({"principal_id": "admin", "scope_id": "system", "api_key": key, "ttl_seconds": 43_200});
        let token = iam.post("/api/v1/auth/token", &proof).await?;
        iam.admin = token["token"].as_str().context("no token")?.to_owned();
        Ok(iam)
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
            if let Ok(answer) = http::get(&self.address, "/readyz").await
                && answer.status == 200
            {
                break;
            }
            if began.elapsed() >= START {
                bail!("iam is not ready after {START:?}");
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

    /// The process that serves.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("iam is not running")
    }

    /// Sends something as the admin and returns the `data` of the answer.
    ///
    /// # Errors
    /// An answer that is not 2xx.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let line = format!("POST {path}");
        let bytes = request(&self.address, &line, &self.admin, &body.to_string());
        let mut connection = KeepAlive::connect(&self.address).await?;
        let status = connection.exchange(&bytes).await?;
        let text = String::from_utf8_lossy(connection.body());
        ensure!((200..300).contains(&status), "{path}: {status} {text}");
        let mut answer: Value = serde_json::from_str(&text)?;
        Ok(answer["data"].take())
    }
}

/// First start: the admin's API key, which is printed once.
fn init(program: &Path, config: &Path) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg("--config")
        .arg(config)
        .arg("init")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "iam init: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("phk_"));
    Ok(key.context("iam init printed no key")?.to_owned())
}
