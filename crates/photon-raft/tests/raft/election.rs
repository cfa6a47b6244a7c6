//! Writing, forwarding, losing leaders and quorums.

use std::time::Duration;

use photon_raft::{Error, Role};
use tokio::time::Instant;

use crate::cluster::{Cluster, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_replicate_from_any_member() {
    let cluster = Cluster::three(|_| {}).await;
    for (n, node) in cluster.nodes.values().cycle().take(30).enumerate() {
        let applied = node.propose(format!("c{n}")).await.unwrap();
        assert_eq!(applied.reply, n as u64 + 1);
        // Whoever proposed sees it at once, wherever the leader is.
        assert_eq!(node.records.commands().last().unwrap(), &format!("c{n}"));
    }
    let expected: Vec<_> = (0..30).map(|n| format!("c{n}")).collect();
    assert_eq!(cluster.agreed().await, expected);
    for node in cluster.nodes.values() {
        let status = node.group.status();
        assert_eq!(status.members.len(), 3);
        assert!(
            status
                .members
                .iter()
                .all(|member| !member.learner && member.name == format!("node-{}", member.node_id))
        );
        assert!(!status.is_learner && status.joined);
        assert!(status.applied <= status.committed && status.committed <= status.last_log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_wait_share_fsyncs() {
    let cluster = Cluster::one(|_| {}).await;
    let node = cluster.node(1);
    node.propose("first").await.unwrap();

    let before = node.group.fsyncs();
    node.propose("alone").await.unwrap();
    assert_eq!(
        node.group.fsyncs() - before,
        1,
        "a lone proposal pays one fsync"
    );

    let before = node.group.fsyncs();
    let all = (0..1000).map(|n| node.propose(format!("c{n}")));
    for result in futures::future::join_all(all).await {
        result.unwrap();
    }
    let fsyncs = node.group.fsyncs() - before;
    assert!(fsyncs <= 100, "1000 proposals at once took {fsyncs} fsyncs");
    assert_eq!(node.records.commands().len(), 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_leaders_die() {
    let mut cluster = Cluster::three(|_| {}).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let leader = cluster.leader().await.id;
        let writers: Vec<_> = cluster
            .nodes
            .values()
            .map(|node| {
                let group = node.group.clone();
                let id = node.id;
                tokio::spawn(async move {
                    let mut done = Vec::new();
                    for n in 0.. {
                        let command = format!("r{round}-n{id}-{n}");
                        match group.propose(command.clone().into(), soon()).await {
                            Ok(_) => done.push(command),
                            // The leader's own writer ends with it; others go on behind an unknown outcome.
                            Err(Error::Stopped) => break,
                            Err(Error::Unknown) if id == leader => break,
                            Err(Error::Unknown) => {}
                            Err(error) => panic!("{error}"),
                        }
                        if id != leader && n >= 150 {
                            break;
                        }
                    }
                    done
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let killed = cluster.kill(leader).await;
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        cluster.revive(leader, killed).await;
    }
    let commands = cluster.agreed().await;
    assert!(acknowledged.len() > 300);
    for command in &acknowledged {
        assert_eq!(
            commands.iter().filter(|seen| *seen == command).count(),
            1,
            "{command}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_writes_within_two_seconds() {
    let mut cluster = Cluster::three(|_| {}).await;
    let leader = cluster.leader().await.id;
    cluster.kill(leader).await;
    let lost = Instant::now();
    let survivor = cluster.nodes.values().next().unwrap();
    // Unknown is possible once: the proposal was on its way to the dead leader.
    while let Err(error) = survivor.propose("again").await {
        assert_eq!(error, Error::Unknown);
    }
    println!("first write {:?} after the leader was lost", lost.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_restart_from_disk() {
    let mut cluster = Cluster::three(|_| {}).await;
    for n in 0..50 {
        cluster
            .leader()
            .await
            .propose(format!("c{n}"))
            .await
            .unwrap();
    }
    let mut killed = Vec::new();
    for id in [1, 2, 3] {
        killed.push((id, cluster.kill(id).await));
    }
    for (id, files) in killed {
        cluster.revive(id, files).await;
    }
    for node in cluster.nodes.values() {
        node.group.recovered(soon()).await.unwrap();
        assert_eq!(node.records.commands().len(), 50, "node {}", node.id);
    }
    cluster.leader().await.propose("c50").await.unwrap();
    assert_eq!(cluster.agreed().await.len(), 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_calls_end_by_their_deadline() {
    let mut cluster = Cluster::three(|_| {}).await;
    cluster.node(1).propose("before").await.unwrap();
    let leader = cluster.leader().await.id;
    let others: Vec<_> = cluster
        .nodes
        .keys()
        .copied()
        .filter(|id| *id != leader)
        .collect();
    for id in others {
        cluster.kill(id).await;
    }
    let left = cluster.node(leader);
    let short = || Instant::now() + Duration::from_millis(1500);
    let read = left.group.read_index(short()).await.unwrap_err();
    assert!(matches!(read, Error::NoQuorum | Error::NoLeader), "{read}");
    // Accepted while the leader still trusted its quorum, or refused afterwards.
    let written = left
        .group
        .propose("lost".into(), short())
        .await
        .unwrap_err();
    assert!(
        matches!(
            written,
            Error::Unknown | Error::NoQuorum | Error::NoLeader | Error::Timeout
        ),
        "{written}"
    );
    // Once it has noticed, it refuses before anything is written.
    let noticed = Instant::now() + Duration::from_secs(30);
    loop {
        let refused = left.group.propose("refused".into(), short()).await;
        match refused.unwrap_err() {
            Error::NoQuorum | Error::NoLeader => break,
            Error::Unknown | Error::Timeout if Instant::now() < noticed => {}
            error => panic!("{error}"),
        }
    }
    assert!(left.group.lead_confirmed(short()).await.is_err());
    assert!(
        left.group.call_leader("x".into(), short()).await.is_ok()
            || left.group.status().role != Role::Leader
    );
    assert!(!left.records.commands().contains(&"refused".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_group_says_so() {
    let cluster = Cluster::one(|_| {}).await;
    let node = cluster.node(1);
    node.group.shutdown().await;
    let error = node.propose("late").await.unwrap_err();
    assert_eq!(error, Error::Stopped);
    assert_eq!(
        node.group.read_index(soon()).await.unwrap_err(),
        Error::Stopped
    );
    until("the status shows it", || {
        node.group.status().role == Role::Stopped
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beyond_the_limit_is_refused() {
    let cluster = Cluster::one(|config| config.max_command_bytes = 10).await;
    let error = cluster.node(1).propose("x".repeat(11)).await.unwrap_err();
    assert_eq!(
        error,
        Error::TooLarge {
            size: 11,
            limit: 10
        }
    );
    cluster.node(1).propose("x".repeat(10)).await.unwrap();
}
