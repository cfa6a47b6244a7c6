//! One peer listener for many groups, and the connections to other peers.
//!
//! Every call names its group and, where only one node may answer, that node, the caller and the cluster it belongs
//! to. Connections are shared
//! by the groups, one per peer and kind of traffic, so that a large transfer delays no heartbeat; a
//! peer that is down costs only its own callers.

mod caller;
mod client;
mod listener;
mod network;
mod server;
mod tls;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use parking_lot::RwLock;
use photon_proto::photon::raft::v1 as pb;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

pub(crate) use caller::Caller;
pub(crate) use client::{Class, Connections, not_sent, with_deadline};
pub(crate) use network::{AddressBook, NetworkFactory};
pub(crate) use server::GroupPeer;
use tls::Credentials;
pub use tls::{PeerTls, PeerTlsFiles};

use crate::{Error, Identity, codec};

/// Largest message between peers: one read of the log plus one command.
pub(crate) const MESSAGE_LIMIT: usize = 64 << 20;

/// One peer listener for many groups. Clone is cheap; needs a tokio runtime.
#[derive(Clone)]
pub struct Transport(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    connections: Connections,
    groups: Groups,
    stop: CancellationToken,
}

/// The groups behind the listener, by name.
pub(crate) type Groups = Arc<RwLock<HashMap<String, Arc<dyn GroupPeer>>>>;

impl Transport {
    /// Serves peers on `listener`; without `tls`, in the clear.
    ///
    /// # Errors
    /// When the listener or the certificates cannot be used.
    pub fn bind(listener: TcpListener, tls: Option<PeerTls>) -> Result<Self, Error> {
        let address = listener
            .local_addr()
            .map_err(|error| Error::Invalid(format!("peer listener: {error}")))?;
        let groups: Groups = Arc::default();
        let stop = CancellationToken::new();
        let credentials = tls.as_ref().map(Credentials::new).transpose()?;
        let connections = Connections::new(credentials.clone());
        tokio::spawn(listener::serve(
            listener,
            credentials,
            groups.clone(),
            stop.clone(),
        ));
        Ok(Self(Arc::new(Inner {
            address,
            connections,
            groups,
            stop,
        })))
    }

    /// The listener's address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// Stops listening and ends all connections of peers. Shut groups down first.
    #[expect(
        clippy::unused_async,
        reason = "callers should not depend on it being immediate"
    )]
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.connections.clear();
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Makes `peer` answer for the group; a name can be taken once.
    pub(crate) fn register(&self, group: &str, peer: Arc<dyn GroupPeer>) -> Result<(), Error> {
        let mut groups = self.0.groups.write();
        if groups.contains_key(group) {
            return Err(Error::Invalid(format!(
                "group {group} runs on this transport already"
            )));
        }
        groups.insert(group.to_owned(), peer);
        Ok(())
    }

    pub(crate) fn unregister(&self, group: &str) {
        self.0.groups.write().remove(group);
    }
}

/// Asks the node at `peer_address` who it is in `group`.
///
/// # Errors
/// [`Error::Unreachable`] when nothing there answers as a peer of that group before the deadline.
pub async fn identify(
    group: &str,
    peer_address: &str,
    tls: Option<&PeerTls>,
    deadline: Instant,
) -> Result<Identity, Error> {
    let connections = Connections::new(tls.map(Credentials::new).transpose()?);
    identify_over(&connections, group, peer_address, deadline).await
}

pub(crate) async fn identify_over(
    connections: &Connections,
    group: &str,
    peer_address: &str,
    deadline: Instant,
) -> Result<Identity, Error> {
    let unreachable = |reason: String| Error::Unreachable {
        address: peer_address.to_owned(),
        reason,
    };
    let mut client = connections
        .client(peer_address, Class::Forward)
        .map_err(|error| unreachable(error.to_string()))?;
    let request = caller::to_group(pb::IdentifyRequest {}, group)
        .map_err(|status| unreachable(status.message().to_owned()))?;
    let reply = with_deadline(deadline, client.identify(request))
        .await
        .map_err(|status| unreachable(client::describe(&status)))?
        .into_inner();
    let member = reply
        .member
        .ok_or_else(|| unreachable("it did not say who it is".to_owned()))?;
    Ok(Identity {
        member: codec::get_member(member, false),
        joined: reply.joined,
    })
}
