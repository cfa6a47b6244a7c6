//! Certificates that have ended.

use std::time::{Duration, SystemTime};

use photon_testkit::poll::eventually_true;

use super::harness::{Cluster, PATIENCE, Settings};

const ALL: [usize; 3] = [0, 1, 2];

/// Longer than any leaf lives.
const OFF_FOR: Duration = Duration::from_secs(200 * 24 * 3600);

/// Long enough for an answer, if there were one.
const A_WHILE: Duration = Duration::from_secs(2);

/// Members that were off while all their certificates ended say so, and are the cluster they were as soon as there are
/// renewed ones: nobody has to start them again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_off_past_every_leafs_expiry_starts_again() -> anyhow::Result<()> {
    let test = "a_cluster_that_was_off_past_every_leafs_expiry_starts_again";
    let Some(mut cluster) = Cluster::start(test, 3, 3, &Settings::default()).await? else {
        return Ok(());
    };
    cluster.client(0).await?.put("kept", "yes", None).await?;
    for node in ALL {
        cluster.process(node)?.terminate(PATIENCE).await?;
        cluster.kill(node)?;
    }

    // A server's and a peer's for each node, and the caller's.
    let leaves = cluster.pki.reissue_all(SystemTime::now() - OFF_FOR)?;
    assert_eq!(leaves, 2 * ALL.len() + 1);
    for node in ALL {
        cluster.launch(node)?;
        eventually_true("the log says what is wrong", PATIENCE, || async {
            cluster.log(node).contains("is not valid now")
        })
        .await?;
        let refused = cluster.serving(node, A_WHILE).await;
        assert!(refused.is_err(), "node {node} is taken at an old word");
    }

    cluster.pki.reissue_all(SystemTime::now())?;
    cluster.all_serving(PATIENCE).await?;
    for node in ALL {
        let kept = cluster.client(node).await?.get("kept", None).await?;
        assert_eq!(kept.kvs()[0].value(), b"yes", "node {node}");
    }
    cluster.hashes_agree(&ALL).await
}
