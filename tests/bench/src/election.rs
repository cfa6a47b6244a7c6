//! From SIGKILL of the leader to the first write that a client gets acknowledged.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::load::connect_kv;
use crate::server::Cluster;

/// A survivor without a leader holds a put back; after this long the next is sent beside it.
const STAGGER: Duration = Duration::from_millis(20);
/// A put that was sent before the new leader was known may never be answered.
const GIVE_UP: Duration = Duration::from_millis(1000);
/// No cluster needs longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Kills the leader, measures, and brings the killed member back.
///
/// # Errors
/// When no write is acknowledged in time, or the member does not come back.
pub(crate) async fn one(cluster: &mut Cluster) -> anyhow::Result<Duration> {
    let (killed, at) = cluster.kill_leader().await?;
    let acknowledged = first_write(&cluster.endpoints()).await?;
    let took = acknowledged - at;
    cluster.restart(killed).await?;
    Ok(took)
}

/// When the first of many puts, sent to all survivors again and again, is acknowledged.
async fn first_write(endpoints: &[String]) -> anyhow::Result<Instant> {
    let (report, mut acknowledged) = mpsc::channel(1);
    let mut probes = JoinSet::new();
    for endpoint in endpoints {
        let client = connect_kv(endpoint).await?;
        let report = report.clone();
        probes.spawn(async move {
            let mut puts = JoinSet::new();
            loop {
                let mut client = client.clone();
                let report = report.clone();
                puts.spawn(async move {
                    let put = client.put("bench-election", "written", None);
                    if let Ok(Ok(_)) = tokio::time::timeout(GIVE_UP, put).await {
                        // Full means that another was first.
                        let _ = report.try_send(Instant::now());
                    }
                });
                tokio::time::sleep(STAGGER).await;
                while puts.try_join_next().is_some() {}
            }
        });
    }
    match tokio::time::timeout(DEADLINE, acknowledged.recv()).await {
        Ok(first) => first.context("all probes ended"),
        Err(_) => bail!("no write was acknowledged within {DEADLINE:?} of the leader's death"),
    }
}
