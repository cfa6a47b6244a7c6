//! VMs, asked for over REST: made and seen running, seen answering, gone.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::ping::Pinging;
use crate::network::control::{Control, text};

/// How long a VM may take to run, or to be gone.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked whether one is gone: nobody waits for that.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A VM that runs.
#[derive(Debug)]
pub(super) struct Booted {
    /// Its id.
    pub(super) id: String,
    /// As it was shown then.
    pub(super) shown: Value,
    /// When it was seen running.
    pub(super) running: Instant,
    /// When it answered, if it was asked.
    pub(super) answered: Option<Instant>,
}

/// Has a VM made that is to run, looks at it until it does, and waits for its first answer to `from`.
///
/// # Errors
/// What is refused; it does not run, or not answer.
pub(super) async fn boot(
    control: &mut Control,
    wanted: &Value,
    from: Option<&Path>,
    every: Duration,
) -> anyhow::Result<Booted> {
    let made = control.ask("POST /api/v1/vms", wanted).await?;
    let id = text(&made, "id")?;
    let line = format!("GET /api/v1/vms/{id}");
    let end = Instant::now() + PATIENCE;
    let mut pinging = None;
    let (shown, running) = loop {
        let shown = control.ask(&line, &Value::Null).await?;
        let now = Instant::now();
        let address = shown["networks"][0]["ip_address"].as_str();
        if let (Some(from), Some(address), None) = (from, address, &pinging) {
            let address: Ipv4Addr = address.parse()?;
            pinging = Some(Pinging::start(from, address)?);
        }
        match shown["state"].as_str() {
            Some("Running") => break (shown, now),
            Some("Error") => bail!("{shown}"),
            _ => ensure!(now < end, "after {PATIENCE:?}: {shown}"),
        }
        tokio::time::sleep(every).await;
    };
    let answered = match (from, pinging) {
        (Some(_), Some(pinging)) => Some(pinging.answered().await?),
        (Some(_), None) => bail!("it has no address: {shown}"),
        (None, _) => None,
    };
    Ok(Booted {
        id,
        shown,
        running,
        answered,
    })
}

/// Deletes a VM, and waits until it is gone.
///
/// # Errors
/// What is refused; it does not go.
pub(super) async fn delete(control: &mut Control, id: &str) -> anyhow::Result<()> {
    let line = format!("DELETE /api/v1/vms/{id}");
    control.ask(&line, &Value::Null).await?;
    let line = format!("GET /api/v1/vms/{id}");
    let end = Instant::now() + PATIENCE;
    loop {
        let (status, answer) = control.answer(&line, &Value::Null).await?;
        match status {
            404 => return Ok(()),
            200 => ensure!(Instant::now() < end, "it does not go: {answer}"),
            other => bail!("{line}: {other} {answer}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until something is seen.
///
/// # Errors
/// What is refused; it is not seen in time.
pub(super) async fn until<T>(
    control: &mut Control,
    line: &str,
    patience: Duration,
    mut seen: impl FnMut(&Value) -> Option<T>,
) -> anyhow::Result<T> {
    let end = Instant::now() + patience;
    loop {
        let shown = control.ask(line, &Value::Null).await?;
        if let Some(found) = seen(&shown) {
            return Ok(found);
        }
        if Instant::now() >= end {
            return None.with_context(|| format!("{line}, after {patience:?}: {shown}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
