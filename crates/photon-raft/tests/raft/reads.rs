//! Linearizable reads and calls to the leader.

use photon_raft::Error;

use crate::cluster::{Cluster, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_on_any_member_sees_what_was_written_on_another() {
    let cluster = Cluster::three(|_| {}).await;
    for n in 0..40u64 {
        let writer = cluster.node(1 + n % 3);
        let reader = cluster.node(1 + (n + 1) % 3);
        writer.propose(format!("c{n}")).await.unwrap();
        reader.group.read_index(soon()).await.unwrap();
        assert_eq!(reader.records.commands().last().unwrap(), &format!("c{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reads_at_once() {
    let cluster = Cluster::three(|_| {}).await;
    cluster.node(2).propose("x").await.unwrap();
    let reads = (0..3000u64).map(|n| {
        let group = cluster.node(1 + n % 3).group.clone();
        async move { group.read_index(soon()).await }
    });
    for read in futures::future::join_all(reads).await {
        read.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_answers_calls_from_any_member() {
    let cluster = Cluster::three(|_| {}).await;
    let leader = cluster.leader().await.id;
    for node in cluster.nodes.values() {
        let answer = node
            .group
            .call_leader("hello".into(), soon())
            .await
            .unwrap();
        assert_eq!(answer, format!("{leader}:hello"));
        let error = node
            .group
            .call_leader("fail".into(), soon())
            .await
            .unwrap_err();
        assert_eq!(error, Error::Service("as asked".to_owned()));
        let confirmed = node.group.lead_confirmed(soon()).await;
        assert_eq!(confirmed.is_ok(), node.id == leader);
    }
}
