//! A cluster that is just being made.

use anyhow::Context;

use super::harness::{Cluster, HEALING, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn every_member_serves_every_request() -> anyhow::Result<()> {
    let name = "every_member_serves_every_request";
    let Some(cluster) = Cluster::start(name, 3, 3, &Settings::default()).await? else {
        return Ok(());
    };
    cluster.all_serving(HEALING).await?;
    for node in 0..3 {
        let mut client = cluster.client(node).await?;
        let key = format!("from/{node}");
        client.put(key.clone(), "value", None).await?;
        // A linearizable read anywhere sees it at once.
        for other in 0..3 {
            let mut reader = cluster.client(other).await?;
            assert_eq!(reader.get(key.clone(), None).await?.kvs().len(), 1);
        }
        let lease = client.lease_grant(30, None).await?.id();
        let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
        keeper.keep_alive().await?;
        let answer = answers.message().await?.context("an answer")?;
        assert_eq!(answer.ttl(), 30);
        client.lease_revoke(lease).await?;
    }
    let leader = cluster.leader().await?;
    let next = (leader + 1) % 3;
    cluster
        .client(leader)
        .await?
        .move_leader(next as u64 + 1)
        .await?;
    cluster.all_serving(HEALING).await?;
    assert_eq!(cluster.leader().await?, next);
    cluster.hashes_agree(&[0, 1, 2]).await
}
