//! Purged logs and followers that need a copy.

use std::sync::atomic::Ordering;

use photon_raft::Config;

use crate::cluster::{Cluster, until};

/// Flushes and purges often, in small files.
fn small(config: &mut Config) {
    config.snapshot_every = 50;
    config.keep_entries = 10;
    config.log_file_bytes = 4096;
}

async fn write(cluster: &Cluster, from: usize, to: usize) {
    let group = cluster.leader().await.group.clone();
    for n in from..to {
        group
            .propose(format!("command number {n}").into(), crate::cluster::soon())
            .await
            .unwrap();
    }
}

fn expected(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("command number {n}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_purged_only_behind_a_flush_and_survives_a_restart() {
    let mut cluster = Cluster::one(small).await;
    write(&cluster, 0, 400).await;
    until("the log is purged", || {
        cluster.node(1).group.status().purged > 200
    })
    .await;
    assert!(cluster.node(1).records.flushes.load(Ordering::Relaxed) > 0);
    let files = |dir: &std::path::Path| std::fs::read_dir(dir.join("raft")).unwrap().count();
    let dir = cluster.node(1).dir.clone();
    until("log files are gone", || files(&dir) < 8).await;

    // The state machine comes back with less than it had applied; the log has the rest.
    let files = cluster.kill(1).await;
    cluster.revive(1, files).await;
    assert!(cluster.node(1).records.flushes.load(Ordering::Relaxed) <= 1);
    assert_eq!(cluster.agreed().await, expected(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_far_behind_receives_a_copy_and_then_the_log() {
    let mut cluster = Cluster::three(small).await;
    write(&cluster, 0, 20).await;
    let behind = cluster.follower().await.id;
    let killed = cluster.kill(behind).await;
    write(&cluster, 20, 400).await;
    cluster.revive(behind, killed).await;
    write(&cluster, 400, 420).await;
    assert_eq!(cluster.agreed().await, expected(420));
    assert!(
        cluster
            .node(behind)
            .records
            .installs
            .load(Ordering::Relaxed)
            >= 1
    );

    // Again, and then it starts from what it installed.
    let killed = cluster.kill(behind).await;
    write(&cluster, 420, 800).await;
    cluster.revive(behind, killed).await;
    assert_eq!(cluster.agreed().await, expected(800));
    let killed = cluster.kill(behind).await;
    cluster.revive(behind, killed).await;
    assert_eq!(cluster.agreed().await, expected(800));
    for node in cluster.nodes.values() {
        until("transfers leave nothing behind", || {
            std::fs::read_dir(node.dir.join("snapshot"))
                .unwrap()
                .count()
                == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_of_an_old_cluster_gets_a_copy() {
    let mut cluster = Cluster::one(small).await;
    write(&cluster, 0, 400).await;
    until("the log is purged", || {
        cluster.node(1).group.status().purged > 200
    })
    .await;
    cluster.join(2).await;
    assert_eq!(cluster.agreed().await, expected(400));
    assert_eq!(cluster.node(2).records.installs.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_killed_at_any_time_starts_again() {
    let mut cluster = Cluster::three(small).await;
    write(&cluster, 0, 20).await;
    let behind = cluster.follower().await.id;
    let mut killed = cluster.kill(behind).await;
    write(&cluster, 20, 300).await;
    for wait in [0, 5, 20, 50, 100, 150, 200] {
        cluster.revive(behind, killed).await;
        tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
        killed = cluster.kill(behind).await;
    }
    cluster.revive(behind, killed).await;
    assert_eq!(cluster.agreed().await, expected(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_commands_purge_by_bytes() {
    let cluster = Cluster::one(|config| {
        config.snapshot_every_bytes = 100_000;
        config.keep_entries = 5;
    })
    .await;
    for _ in 0..40 {
        cluster.node(1).propose("x".repeat(10_000)).await.unwrap();
    }
    until("the log is purged", || {
        cluster.node(1).group.status().purged > 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_in_short_order() {
    let mut cluster = Cluster::three(small).await;
    let behind = cluster.follower().await.id;
    for round in 0..3 {
        let killed = cluster.kill(behind).await;
        write(&cluster, round * 200, round * 200 + 200).await;
        cluster.revive(behind, killed).await;
        // The next one begins as soon as this one is there.
        let records = cluster.node(behind).records.clone();
        until("it received a copy", || {
            records.installs.load(Ordering::Relaxed) > 0
        })
        .await;
    }
    assert_eq!(cluster.agreed().await, expected(600));
}
