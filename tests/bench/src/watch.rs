//! Delivery latency: from sending a put to each watcher's receipt of its event.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use etcd_client::WatchOptions;
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::data::VALUE_BYTES;
use crate::load::{connect, connect_kv, microseconds};

const PREFIX: &str = "bench-watch/";
/// Writers that send puts in turn, so that one slow put does not delay the next tick.
const WRITERS: usize = 16;
/// How long watchers may lag behind the last write before events count as lost.
const CATCH_UP: Duration = Duration::from_secs(60);

/// How many watch how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Watchers of the whole prefix, one connection each.
    pub(crate) watchers: usize,
    /// Puts per second, over all writers.
    pub(crate) writes_per_second: u32,
    /// How long writes go on.
    pub(crate) duration: Duration,
}

/// Runs the plan against the endpoint.
///
/// Returns the latencies of all deliveries, in microseconds.
///
/// # Errors
/// A failed request, a cancelled watch, an event that does not arrive in time.
pub(crate) async fn delivery(endpoint: &str, plan: Plan) -> anyhow::Result<Histogram<u64>> {
    let writes = (plan.duration.as_secs_f64() * f64::from(plan.writes_per_second)).ceil() as usize;
    let base = Instant::now();
    let mut watchers = JoinSet::new();
    for _ in 0..plan.watchers {
        let mut client = connect(endpoint).await?;
        let options = WatchOptions::new().with_prefix();
        let mut stream = client.watch(PREFIX, Some(options)).await?;
        watchers.spawn(async move {
            // The client itself must live as long as its stream.
            let _client = client;
            let mut latency: Histogram<u64> = Histogram::new(3)?;
            let mut seen = 0;
            while seen < writes {
                let answer = stream.message().await?.context("the watch ended")?;
                let now = base.elapsed();
                if answer.canceled() {
                    bail!("the watch was cancelled: {}", answer.cancel_reason());
                }
                for event in answer.events() {
                    let value = event.kv().context("event without key")?.value();
                    let sent = value.first_chunk().context("foreign value")?;
                    let sent = Duration::from_nanos(u64::from_be_bytes(*sent));
                    latency.record(microseconds(now.saturating_sub(sent)))?;
                    seen += 1;
                }
            }
            anyhow::Ok(latency)
        });
    }

    write(endpoint, plan, writes, base).await?;

    let deadline = Instant::now() + CATCH_UP;
    let mut total = Histogram::new(3)?;
    while let Some(ended) = tokio::time::timeout_at(deadline, watchers.join_next())
        .await
        .context("events are missing: watchers did not see all writes")?
    {
        total.add(ended??)?;
    }
    Ok(total)
}

/// Sends `writes` puts at the plan's rate, each carrying the time it was sent.
async fn write(endpoint: &str, plan: Plan, writes: usize, base: Instant) -> anyhow::Result<()> {
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(connect_kv(endpoint).await?);
    }
    let in_flight = Arc::new(Semaphore::new(WRITERS));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.writes_per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut puts = JoinSet::new();
    for number in 0..writes {
        ticks.tick().await;
        let permit = in_flight.clone().acquire_owned().await?;
        let mut client = writers[number % WRITERS].clone();
        puts.spawn(async move {
            let _permit = permit;
            let sent = u64::try_from(base.elapsed().as_nanos())?;
            let mut value = sent.to_be_bytes().to_vec();
            value.resize(VALUE_BYTES, b'.');
            client
                .put(format!("{PREFIX}{number:010}"), value, None)
                .await?;
            anyhow::Ok(())
        });
        while let Some(ended) = puts.try_join_next() {
            ended??;
        }
    }
    while let Some(ended) = puts.join_next().await {
        ended??;
    }
    Ok(())
}
