//! Members come and go under load.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{
    harness::{Cluster, HEALING, PATIENCE, Settings},
    load::Load,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_to_three_to_five_and_back() -> anyhow::Result<()> {
    let name = "one_to_three_to_five_and_back";
    let Some(cluster) = Cluster::start(name, 5, 1, &Settings::default()).await? else {
        return Ok(());
    };
    let cluster = Arc::new(Mutex::new(cluster));
    let load = Load::start(&cluster, &[0], name).await?;
    for node in 1..5 {
        cluster.lock().await.add(node).await?;
        load.progress(50).await?;
    }
    cluster.lock().await.all_serving(HEALING).await?;
    for node in [4, 3] {
        let mut cluster = cluster.lock().await;
        cluster
            .client(0)
            .await?
            .member_remove(node as u64 + 1)
            .await?;
        cluster.kill(node)?;
        cluster.serving(0, HEALING).await?;
        drop(cluster);
        load.progress(50).await?;
    }
    load.judge(&cluster, &[0, 1, 2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_removed() -> anyhow::Result<()> {
    let name = "the_leader_is_removed";
    let Some(cluster) = Cluster::start(name, 3, 3, &Settings::default()).await? else {
        return Ok(());
    };
    let leader = cluster.leader().await?;
    let other = (leader + 1) % 3;
    cluster
        .client(other)
        .await?
        .member_remove(leader as u64 + 1)
        .await?;
    cluster.serving(other, HEALING).await?;
    let members = cluster.client(other).await?.member_list().await?;
    assert_eq!(members.members().len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_member_is_replaced() -> anyhow::Result<()> {
    let name = "a_dead_member_is_replaced";
    let Some(cluster) = Cluster::start(name, 4, 3, &Settings::default()).await? else {
        return Ok(());
    };
    let cluster = Arc::new(Mutex::new(cluster));
    let load = Load::start(&cluster, &[0, 1], name).await?;
    load.progress(50).await?;
    {
        let mut cluster = cluster.lock().await;
        cluster.kill(2)?;
        cluster.serving(0, HEALING).await?;
        cluster.client(0).await?.member_remove(3).await?;
        cluster.add(3).await?;
        cluster.serving(3, PATIENCE).await?;
    }
    load.progress(50).await?;
    load.judge(&cluster, &[0, 1, 3]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_answer_costs_no_quorum() -> anyhow::Result<()> {
    let name = "an_address_that_does_not_answer_costs_no_quorum";
    let Some(mut cluster) = Cluster::start(name, 3, 2, &Settings::default()).await? else {
        return Ok(());
    };
    cluster.kill(2)?;
    let (status, body) = cluster
        .rest(
            0,
            reqwest::Method::POST,
            "/api/v1/cluster/members",
            Some(serde_json::json!({"node_id": 3, "address": cluster.client_address(2)})),
        )
        .await?;
    assert!(
        status >= 400 && body["error"]["code"].is_string(),
        "{status} {body}"
    );
    cluster.serving(0, HEALING).await?;
    cluster.serving(1, HEALING).await?;
    let members = cluster.client(0).await?.member_list().await?;
    assert!(
        members
            .members()
            .iter()
            .filter(|member| !member.is_learner())
            .count()
            == 2
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_would_cost_the_quorum_is_refused() -> anyhow::Result<()> {
    let name = "a_removal_that_would_cost_the_quorum_is_refused";
    let Some(mut cluster) = Cluster::start(name, 3, 3, &Settings::default()).await? else {
        return Ok(());
    };
    let leader = cluster.leader().await?;
    let (dead, healthy) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(dead)?;
    cluster.serving(leader, HEALING).await?;
    // The leader notices within two elections that the dead one is silent.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let removal = cluster
        .client(leader)
        .await?
        .member_remove(healthy as u64 + 1)
        .await;
    let refused = removal
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    anyhow::ensure!(refused.contains("unhealthy cluster"), "{refused}");
    cluster.serving(leader, HEALING).await?;
    cluster.serving(healthy, HEALING).await?;
    // A dead member is neither shouted about nor does it end the cluster when it dies again.
    let log = std::fs::metadata(cluster.log_file(leader))?.len();
    anyhow::ensure!(
        log < 1 << 20,
        "the leader logged {log} bytes about one dead member"
    );
    cluster.launch(dead)?;
    cluster.all_serving(PATIENCE).await?;
    cluster.kill(dead)?;
    cluster.serving(leader, HEALING).await?;
    cluster.serving(healthy, HEALING).await
}
