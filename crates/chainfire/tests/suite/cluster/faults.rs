//! Killing, stopping and cutting off.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{
    harness::{Cluster, HEALING, PATIENCE, Settings},
    load::Load,
};

const ALL: [usize; 3] = [0, 1, 2];

/// Long enough for two elections.
const TWO_ELECTIONS: Duration = Duration::from_millis(2500);

/// How often a scenario breaks something.
fn rounds(gate: usize) -> usize {
    if std::env::var_os("PHOTON_LONG").is_some() {
        gate * 10
    } else {
        gate
    }
}

/// Three members under load; `None` where namespaces cannot be made.
async fn three(
    test: &str,
    settings: Settings,
) -> anyhow::Result<Option<(Arc<Mutex<Cluster>>, Load)>> {
    let Some(cluster) = Cluster::start(test, 3, 3, &settings).await? else {
        return Ok(None);
    };
    let cluster = Arc::new(Mutex::new(cluster));
    let load = Load::start(&cluster, &ALL, test).await?;
    load.progress(50).await?;
    Ok(Some((cluster, load)))
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_killed() -> anyhow::Result<()> {
    let Some((cluster, load)) = three("leaders_are_killed", Settings::default()).await? else {
        return Ok(());
    };
    for _ in 0..rounds(3) {
        {
            let mut cluster = cluster.lock().await;
            let leader = cluster.leader().await?;
            cluster.kill(leader)?;
            cluster.all_serving(HEALING).await?;
            cluster.launch(leader)?;
        }
        load.progress(100).await?;
    }
    cluster.lock().await.all_serving(PATIENCE).await?;
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_killed_at_once() -> anyhow::Result<()> {
    let Some((cluster, load)) = three("all_are_killed_at_once", Settings::default()).await? else {
        return Ok(());
    };
    for _ in 0..rounds(3) {
        {
            let mut cluster = cluster.lock().await;
            for node in ALL {
                cluster.kill(node)?;
            }
            for node in ALL {
                cluster.launch(node)?;
            }
            cluster.all_serving(PATIENCE).await?;
        }
        load.progress(100).await?;
    }
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_stopped_and_continued() -> anyhow::Result<()> {
    let name = "the_leader_is_stopped_and_continued";
    let Some((cluster, load)) = three(name, Settings::default()).await? else {
        return Ok(());
    };
    for _ in 0..rounds(2) {
        let leader = {
            let mut cluster = cluster.lock().await;
            let leader = cluster.leader().await?;
            cluster.process(leader)?.pause()?;
            leader
        };
        tokio::time::sleep(TWO_ELECTIONS).await;
        {
            let mut cluster = cluster.lock().await;
            cluster.process(leader)?.resume()?;
            cluster.all_serving(HEALING).await?;
        }
        load.progress(100).await?;
    }
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_cut_off_and_comes_back() -> anyhow::Result<()> {
    let name = "the_leader_is_cut_off_and_comes_back";
    let Some((cluster, load)) = three(name, Settings::default()).await? else {
        return Ok(());
    };
    for _ in 0..rounds(2) {
        {
            let mut cluster = cluster.lock().await;
            let leader = cluster.leader().await?;
            cluster.lab.isolate(leader)?;
            for node in ALL.into_iter().filter(|node| *node != leader) {
                cluster.serving(node, HEALING).await?;
            }
            refuses_without_a_quorum(&cluster, leader).await?;
            cluster.lab.heal()?;
            cluster.all_serving(HEALING).await?;
        }
        load.progress(100).await?;
    }
    load.judge(&cluster, &ALL).await
}

/// A member cut off from the majority: writes and linearizable reads fail within their deadline, with a code
/// that says why; what it has itself can still be read.
async fn refuses_without_a_quorum(cluster: &Cluster, node: usize) -> anyhow::Result<()> {
    let mut client = cluster.client(node).await?;
    assert!(client.put("minority", "x", None).await.is_err());
    assert!(client.get("minority", None).await.is_err());
    let local = etcd_client::GetOptions::new().with_serializable();
    client.get("minority", Some(local)).await?;
    let (status, body) = cluster
        .rest(node, reqwest::Method::GET, "/api/v1/kv/minority", None)
        .await?;
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &"NO_QUORUM".into()),
        "{body}"
    );
    let (status, body) = cluster
        .rest(
            node,
            reqwest::Method::GET,
            "/api/v1/kv/serving%2F0?consistency=stale",
            None,
        )
        .await?;
    assert_eq!(status, 200, "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_majority_is_split_three_ways() -> anyhow::Result<()> {
    let name = "the_majority_is_split_three_ways";
    let Some((cluster, load)) = three(name, Settings::default()).await? else {
        return Ok(());
    };
    for _ in 0..rounds(2) {
        {
            let mut cluster = cluster.lock().await;
            cluster.lab.partition(&[&[0], &[1], &[2]])?;
        }
        tokio::time::sleep(TWO_ELECTIONS).await;
        {
            let mut cluster = cluster.lock().await;
            cluster.lab.heal()?;
            cluster.all_serving(HEALING).await?;
        }
        load.progress(100).await?;
    }
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_direction_is_cut() -> anyhow::Result<()> {
    let Some((cluster, load)) = three("one_direction_is_cut", Settings::default()).await? else {
        return Ok(());
    };
    for hears in [true, false] {
        {
            let mut cluster = cluster.lock().await;
            let leader = cluster.leader().await?;
            for other in ALL.into_iter().filter(|node| *node != leader) {
                if hears {
                    cluster.lab.block_one_way(leader, other)?;
                } else {
                    cluster.lab.block_one_way(other, leader)?;
                }
            }
        }
        tokio::time::sleep(TWO_ELECTIONS).await;
        {
            let mut cluster = cluster.lock().await;
            cluster.lab.heal()?;
            cluster.all_serving(HEALING).await?;
        }
        load.progress(100).await?;
    }
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_lost() -> anyhow::Result<()> {
    let Some((cluster, load)) = three("packets_are_lost", Settings::default()).await? else {
        return Ok(());
    };
    for node in ALL {
        cluster.lock().await.lab.lose_packets(node, 2)?;
    }
    load.progress(500 * rounds(1)).await?;
    {
        let mut cluster = cluster.lock().await;
        cluster.lab.heal()?;
        cluster.all_serving(HEALING).await?;
    }
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_far_behind_gets_a_snapshot() -> anyhow::Result<()> {
    let settings = Settings {
        raft: "snapshot_every = 200\nkeep_entries = 50".into(),
        ..Settings::default()
    };
    let name = "a_follower_far_behind_gets_a_snapshot";
    let Some((cluster, load)) = three(name, settings).await? else {
        return Ok(());
    };
    for round in 0..rounds(2) {
        let follower = {
            let mut cluster = cluster.lock().await;
            let leader = cluster.leader().await?;
            let follower = (leader + 1) % 3;
            if round % 2 == 0 {
                cluster.kill(follower)?;
            } else {
                cluster.lab.isolate(follower)?;
            }
            let mut client = cluster.client(leader).await?;
            for n in 0..1500 {
                client
                    .put(format!("filler/{}", n % 100), vec![b'x'; 1000], None)
                    .await?;
            }
            follower
        };
        {
            let mut cluster = cluster.lock().await;
            if round % 2 == 0 {
                cluster.launch(follower)?;
            } else {
                cluster.lab.heal()?;
            }
            cluster.all_serving(PATIENCE).await?;
            cluster.hashes_agree(&ALL).await?;
            let (_, metrics) = cluster
                .rest(
                    follower,
                    reqwest::Method::GET,
                    "/api/v1/cluster/status",
                    None,
                )
                .await?;
            assert_eq!(metrics["data"]["node_id"], follower + 1);
        }
        load.progress(100).await?;
    }
    load.judge(&cluster, &ALL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wall_clock_jumps() -> anyhow::Result<()> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(library).exists() {
        photon_testkit::skip::report("the_wall_clock_jumps", "libfaketime is not installed");
        return Ok(());
    }
    let scratch = photon_testkit::scratch::Scratch::new("clock")?;
    let clock = scratch.path().join("offset");
    std::fs::write(&clock, "+0")?;
    let settings = Settings {
        environment: [
            ("LD_PRELOAD", library.to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec(),
        ..Settings::default()
    };
    let Some((cluster, load)) = three("the_wall_clock_jumps", settings).await? else {
        return Ok(());
    };
    let mut client = cluster.lock().await.client(0).await?;
    let lease = client.lease_grant(60, None).await?.id();
    for offset in ["+1h", "-1h", "+0"] {
        std::fs::write(&clock, offset)?;
        load.progress(100).await?;
        // Leases run on the monotonic clock: neither jump ends one early.
        let left = client.lease_time_to_live(lease, None).await?.ttl();
        assert!(left > 0, "the lease ended when the clock jumped {offset}");
        cluster.lock().await.all_serving(HEALING).await?;
    }
    load.judge(&cluster, &ALL).await
}
