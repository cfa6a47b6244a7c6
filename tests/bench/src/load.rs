//! The closed loop: every worker has its own connection and sends its next request when the last is answered.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use etcd_client::{Client, ConnectOptions, KvClient};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a request may hang before the run is given up.
const STUCK: Duration = Duration::from_secs(60);
/// Answers may be larger than tonic's default of 4 MiB.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// One client and what it does over and over.
pub(crate) trait Worker: Send + 'static {
    /// One request and its answer.
    fn step(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What a run measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Operations that ended within the measured time.
    pub(crate) operations: u64,
    /// Operations of the warm-up too, for costs that are counted over the whole run.
    pub(crate) operations_with_warm_up: u64,
    /// The measured time.
    pub(crate) elapsed: Duration,
    /// Latencies in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Outcome {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }
}

/// A connection of its own to the endpoint.
pub(crate) async fn connect(endpoint: &str) -> anyhow::Result<Client> {
    let options = ConnectOptions::new().with_connect_timeout(Duration::from_secs(10));
    Client::connect([endpoint], Some(options))
        .await
        .with_context(|| format!("cannot connect to {endpoint}"))
}

/// [`connect`] for a client that only needs keys and values.
pub(crate) async fn connect_kv(endpoint: &str) -> anyhow::Result<KvClient> {
    Ok(connect(endpoint)
        .await?
        .kv_client()
        .max_decoding_message_size(ANSWER_LIMIT))
}

/// Lets all workers run for a warm-up and then for `duration`, and measures the latter.
///
/// # Errors
/// The first failed request ends the run: a rate with errors in it compares nothing.
pub(crate) async fn drive<W: Worker>(
    workers: Vec<W>,
    warm_up: Duration,
    duration: Duration,
) -> anyhow::Result<Outcome> {
    let from = Instant::now() + warm_up;
    let until = from + duration;
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn(drive_one(worker, from, until));
    }
    let mut total = Outcome {
        operations: 0,
        operations_with_warm_up: 0,
        elapsed: duration,
        latency: Histogram::new(3)?,
    };
    while let Some(ended) = tokio::time::timeout_at(until + STUCK, running.join_next())
        .await
        .context("requests are stuck")?
    {
        let (all, latency) = ended??;
        total.operations += latency.len();
        total.operations_with_warm_up += all;
        total.latency.add(&latency)?;
    }
    if total.operations == 0 {
        bail!("no operation ended within {duration:?}");
    }
    Ok(total)
}

async fn drive_one<W: Worker>(
    mut worker: W,
    from: Instant,
    until: Instant,
) -> anyhow::Result<(u64, Histogram<u64>)> {
    let mut latency = Histogram::new(3)?;
    let mut all = 0;
    loop {
        let started = Instant::now();
        if started >= until {
            return Ok((all, latency));
        }
        worker.step().await?;
        all += 1;
        let ended = Instant::now();
        if ended >= from && ended < until {
            latency.record(microseconds(ended - started))?;
        }
    }
}

/// A duration as a histogram value.
pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Runs every worker until it says that it is done (`false`), at most `deadline`.
///
/// # Errors
/// A failed request or the deadline.
pub(crate) async fn finish<F, Fut>(tasks: Vec<F>, deadline: Duration) -> anyhow::Result<()>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let until = Instant::now() + deadline;
    let mut running = JoinSet::new();
    for task in tasks {
        running.spawn(task());
    }
    while let Some(ended) = tokio::time::timeout_at(until, running.join_next())
        .await
        .context("loading takes too long")?
    {
        ended??;
    }
    Ok(())
}
