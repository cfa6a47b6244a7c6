//! Who calls: a node's own side of every call to a peer, and what a refusal says about it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::{
    Request, Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::{Error, NodeId, config::ClusterId};

pub(super) const GROUP: &str = "photon-group";
pub(super) const TO: &str = "photon-to";
pub(super) const FROM: &str = "photon-from";
pub(super) const CLUSTER: &str = "photon-cluster";
const REMOVED: &str = "photon-removed";

/// One complaint in this time: a node of another cluster calls several times a second.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// One node of one group, as it introduces itself.
pub(crate) struct Caller {
    group: String,
    node_id: NodeId,
    cluster: ClusterId,
    /// A member has said that this node was removed.
    removed: AtomicBool,
    complained: Complained,
}

impl Caller {
    /// # Errors
    /// A group name that cannot stand in a header.
    pub(crate) fn new(group: &str, node_id: NodeId, cluster: ClusterId) -> Result<Self, Error> {
        MetadataValue::<tonic::metadata::Ascii>::try_from(group)
            .map_err(|error| Error::Invalid(format!("group: {error}")))?;
        Ok(Self {
            group: group.to_owned(),
            node_id,
            cluster,
            removed: AtomicBool::new(false),
            complained: Complained::default(),
        })
    }

    /// This node's cluster; 0 while it belongs to none.
    pub(crate) fn cluster(&self) -> u64 {
        self.cluster.get()
    }

    /// Whether a member has refused this node because it was removed. True for good: ids are not used again.
    pub(crate) fn was_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    /// A request to node `to`.
    pub(crate) fn request<T>(&self, message: T, to: NodeId) -> Result<Request<T>, Status> {
        let mut request = to_group(message, &self.group)?;
        let metadata = request.metadata_mut();
        metadata.insert(TO, MetadataValue::from(to));
        metadata.insert(FROM, MetadataValue::from(self.node_id));
        let cluster = self.cluster();
        if cluster != 0 {
            metadata.insert(CLUSTER, MetadataValue::from(cluster));
        }
        Ok(request)
    }

    /// Takes note of why node `by` refused a call.
    pub(crate) fn note(&self, by: NodeId, status: &Status) {
        if status.metadata().contains_key(REMOVED) && !self.removed.swap(true, Ordering::Relaxed) {
            tracing::error!(
                by,
                "this node was removed from its cluster: stop it, and empty its data directory before it joins under a \
                 new node_id"
            );
        }
        let ours = self.cluster();
        if let Some(theirs) = number(status.metadata(), CLUSTER)
            && ours != 0
            && theirs != ours
            && self.complained.now()
        {
            tracing::error!(
                node_id = by,
                cluster = format!("{theirs:x}"),
                ours = format!("{ours:x}"),
                "a peer belongs to another cluster and refuses this node"
            );
        }
    }
}

/// A request to whoever answers for `group`.
pub(super) fn to_group<T>(message: T, group: &str) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let group =
        MetadataValue::try_from(group).map_err(|_| Status::invalid_argument("group name"))?;
    request.metadata_mut().insert(GROUP, group);
    Ok(request)
}

/// The number a caller or an answer carries under this name.
pub(super) fn number(metadata: &MetadataMap, name: &str) -> Option<u64> {
    metadata.get(name)?.to_str().ok()?.parse().ok()
}

/// What a caller of another cluster is told.
pub(super) fn other_cluster(here: NodeId, ours: u64, from: Option<NodeId>, theirs: u64) -> Status {
    let from = from.map_or_else(|| "its caller".to_owned(), |id| format!("node {id}"));
    let mut status = Status::failed_precondition(format!(
        "node {here} belongs to cluster {ours:x}, and {from} to cluster {theirs:x}"
    ));
    let metadata = status.metadata_mut();
    metadata.insert(CLUSTER, MetadataValue::from(ours));
    status
}

/// What a member that was removed is told.
pub(super) fn removed(from: NodeId) -> Status {
    let mut status =
        Status::failed_precondition(format!("node {from} was removed from this cluster"));
    let metadata = status.metadata_mut();
    metadata.insert(REMOVED, MetadataValue::from_static("1"));
    status
}

/// When something was last complained about.
#[derive(Default)]
pub(super) struct Complained(Mutex<Option<Instant>>);

impl Complained {
    /// Whether it is time to say it again.
    pub(super) fn now(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
