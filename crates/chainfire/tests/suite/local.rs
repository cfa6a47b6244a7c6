//! Nodes in this process, on free ports, with elections fast enough for a test.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use chainfire::{
    config::{Cluster, Config},
    run::{self, Running, Sockets},
};
use chainfire_client::{ChainFireClient, MemberAddRequest, MemberListRequest};
use photon_testkit::poll::eventually;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One node and its data.
pub(crate) struct Node {
    running: Running,
    _dir: TempDir,
}

impl Node {
    /// A cluster of one.
    pub(crate) async fn alone() -> Self {
        Self::start(1, Cluster::New).await
    }

    /// A node that waits to be added to a cluster.
    pub(crate) async fn joining() -> Self {
        Self::start(2, Cluster::Join).await
    }

    async fn start(node_id: u64, cluster: Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("data"));
        config.node_id = node_id;
        config.cluster = cluster;
        config.rest.address.set_port(0);
        config.grpc.address.set_port(0);
        config.peer.address.set_port(0);
        config.raft.heartbeat_ms = 50;
        config.raft.election_timeout_ms = 600;
        let running = run::start(config, Sockets::default()).await.unwrap();
        Self { running, _dir: dir }
    }

    /// `size` voting members.
    pub(crate) async fn cluster(size: u64) -> Vec<Self> {
        let mut nodes = vec![Self::alone().await];
        let mut client = nodes[0].client().await;
        for node_id in 2..=size {
            let node = Self::start(node_id, Cluster::Join).await;
            let address = node.running.grpc_address().to_string();
            client
                .member_add(MemberAddRequest { node_id, address })
                .await
                .unwrap();
            eventually("the new member votes", PATIENCE, || {
                let mut client = client.clone();
                async move {
                    let members = client
                        .member_list(MemberListRequest {})
                        .await
                        .ok()?
                        .into_inner()
                        .members;
                    members
                        .iter()
                        .any(|m| m.node_id == node_id && !m.learner)
                        .then_some(())
                }
            })
            .await
            .unwrap();
            nodes.push(node);
        }
        nodes
    }

    /// `localhost:port` of REST.
    pub(crate) fn rest(&self) -> String {
        format!("localhost:{}", self.running.rest_address().port())
    }

    /// Where native gRPC is.
    pub(crate) fn grpc(&self) -> String {
        format!("http://{}", self.running.grpc_address())
    }

    /// `host:port` for other members.
    pub(crate) fn peer(&self) -> String {
        self.running.peer_address().to_string()
    }

    pub(crate) async fn client(&self) -> ChainFireClient {
        ChainFireClient::connect(self.grpc()).await.unwrap()
    }

    pub(crate) fn leads(&self) -> bool {
        let status = self.running.app().raft_status();
        status.leader == Some(status.node_id)
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}
