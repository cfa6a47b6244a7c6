//! Nodes that can be started, killed and started again.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use photon_raft::{Applied, Config, Error, Group, LeaderService, Member, NodeId, Role, Transport};
use tokio::{net::TcpListener, time::Instant};

use crate::records::Records;

pub(crate) const GROUP: &str = "test";

/// A deadline that only a failure reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Waits for a condition, and says what it waited for when that does not come.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Answers with the node's id.
pub(crate) struct Echo(NodeId);

impl LeaderService for Echo {
    fn handle(&self, request: Bytes) -> BoxFuture<'_, io::Result<Bytes>> {
        let id = self.0;
        Box::pin(async move {
            if request == "fail" {
                return Err(io::Error::other("as asked"));
            }
            Ok(format!("{id}:{}", String::from_utf8_lossy(&request)).into())
        })
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) dir: PathBuf,
    pub(crate) records: Arc<Records>,
    pub(crate) group: Group<Records>,
    transport: Transport,
}

impl Node {
    pub(crate) async fn propose(&self, command: impl Into<String>) -> Result<Applied<u64>, Error> {
        self.group.propose(command.into().into(), soon()).await
    }

    pub(crate) fn member(&self) -> Member {
        Member {
            peer_address: self.address.to_string(),
            ..Member::default()
        }
    }
}

/// Changes the defaults of every node.
pub(crate) type Tune = fn(&mut Config);

pub(crate) struct Cluster {
    tmp: tempfile::TempDir,
    tune: Tune,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
}

pub(crate) async fn listen(address: &str) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn start(
    id: NodeId,
    dir: &Path,
    address: &str,
    tune: Tune,
) -> Result<Node, Error> {
    let listener = listen(address).await;
    let address = listener.local_addr().unwrap();
    let transport = Transport::bind(listener, None)?;
    let records = Arc::new(Records::open(&dir.join("state")));
    let mut config = Config::new(GROUP, id, dir, address.to_string());
    config.name = format!("node-{id}");
    config.advertise_client = vec![format!("http://127.0.0.1:{id}")];
    tune(&mut config);
    match Group::start(
        config,
        records.clone(),
        transport.clone(),
        Arc::new(Echo(id)),
    )
    .await
    {
        Ok(group) => Ok(Node {
            id,
            address,
            dir: dir.to_owned(),
            records,
            group,
            transport,
        }),
        Err(error) => {
            transport.shutdown().await;
            Err(error)
        }
    }
}

impl Cluster {
    /// One bootstrapped node, id 1, that leads.
    pub(crate) async fn one(tune: Tune) -> Self {
        let mut cluster = Self {
            tmp: tempfile::tempdir().unwrap(),
            tune,
            nodes: BTreeMap::new(),
        };
        cluster.add(1).await;
        cluster.node(1).group.bootstrap().await.unwrap();
        let group = cluster.node(1).group.clone();
        until("the only node leads", || {
            group.status().role == Role::Leader
        })
        .await;
        cluster
    }

    /// Three voters.
    pub(crate) async fn three(tune: Tune) -> Self {
        let mut cluster = Self::one(tune).await;
        for id in [2, 3] {
            cluster.join(id).await;
        }
        cluster
    }

    /// Starts a node that waits to be added.
    pub(crate) async fn add(&mut self, id: NodeId) -> &Node {
        let dir = self.tmp.path().join(id.to_string());
        let node = start(id, &dir, "127.0.0.1:0", self.tune).await.unwrap();
        self.nodes.entry(id).or_insert(node)
    }

    /// Starts a node and makes it a voter.
    pub(crate) async fn join(&mut self, id: NodeId) {
        let member = self.add(id).await.member();
        let group = self.leader().await.group.clone();
        group.add_learner(member, soon()).await.unwrap();
        self.promote(id).await;
    }

    pub(crate) async fn promote(&self, id: NodeId) {
        let group = self.leader().await.group.clone();
        loop {
            match group.promote(id, soon()).await {
                Ok(()) => return,
                Err(Error::LearnerBehind { .. } | Error::ChangeInProgress) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    /// The node that leads by its own account, and by that of a majority of the running nodes.
    pub(crate) async fn leader(&self) -> &Node {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            for node in self.nodes.values() {
                if node.group.status().role == Role::Leader
                    && node
                        .group
                        .lead_confirmed(Instant::now() + Duration::from_secs(1))
                        .await
                        .is_ok()
                {
                    return node;
                }
            }
            assert!(Instant::now() < deadline, "waited in vain for a leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn follower(&self) -> &Node {
        let leader = self.leader().await.id;
        self.nodes.values().find(|node| node.id != leader).unwrap()
    }

    /// A running voter that neither leads nor is `not`.
    pub(crate) async fn follower_of(&self, not: NodeId) -> &Node {
        let leader = self.leader().await;
        let members = leader.group.status().members;
        let mut voters = members.iter().filter(|member| !member.learner);
        let follower = voters.find(|member| {
            member.node_id != leader.id
                && member.node_id != not
                && self.nodes.contains_key(&member.node_id)
        });
        &self.nodes[&follower.unwrap().node_id]
    }

    /// Ends a node; its files stay.
    pub(crate) async fn kill(&mut self, id: NodeId) -> (PathBuf, SocketAddr) {
        let node = self.nodes.remove(&id).unwrap();
        node.transport.shutdown().await;
        node.group.shutdown().await;
        (node.dir, node.address)
    }

    /// Starts a killed node again at its address.
    pub(crate) async fn revive(&mut self, id: NodeId, (dir, address): (PathBuf, SocketAddr)) {
        let node = start(id, &dir, &address.to_string(), self.tune)
            .await
            .unwrap();
        self.nodes.insert(id, node);
    }

    /// Waits until all running nodes have applied the same commands, and returns them.
    pub(crate) async fn agreed(&self) -> Vec<String> {
        let expected = {
            let leader = self.leader().await;
            leader.group.read_index(soon()).await.unwrap();
            leader.records.commands()
        };
        for node in self.nodes.values() {
            until(&format!("node {} has what the leader has", node.id), || {
                node.records.commands().len() >= expected.len()
            })
            .await;
            assert_eq!(node.records.commands(), expected, "node {}", node.id);
        }
        expected
    }
}
