//! Resident memory with many keys.

use std::time::Duration;

use tokio::time::Instant;

use crate::data::{KeySpace, Values};
use crate::server::{Process, Single};
use crate::workers::fill;

const CLIENTS: usize = 64;
const LOADING: Duration = Duration::from_secs(30 * 60);
/// Garbage collection, flushes and compactions have this long to end.
const SETTLING: Duration = Duration::from_secs(60);
const STEADY: Duration = Duration::from_secs(10);

/// Fills the server with the keys, waits until its memory is steady, and returns its resident memory in MiB.
///
/// # Errors
/// A failed put, or a server that ended.
pub(crate) async fn resident(
    server: &Single,
    keys: KeySpace,
    values: &Values,
) -> anyhow::Result<f64> {
    fill(&server.endpoint(), keys, values, CLIENTS, LOADING).await?;
    steady(&server.process).await
}

/// The resident memory once it has changed by less than 1 % for a while, or after the longest settling time.
pub(crate) async fn steady(process: &Process) -> anyhow::Result<f64> {
    let deadline = Instant::now() + SETTLING;
    let mut reference = process.resident_mib()?;
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = process.resident_mib()?;
        if (now - reference).abs() > reference * 0.01 {
            reference = now;
            since = Instant::now();
        }
        if since.elapsed() >= STEADY || Instant::now() >= deadline {
            return Ok(now);
        }
    }
}
