//! Connections to other peers.

use std::{collections::HashMap, error::Error as _, sync::Arc, time::Duration};

use parking_lot::Mutex;
use photon_proto::photon::raft::v1::peer_client::PeerClient;
use tokio::time::Instant;
use tonic::{
    Code, ConnectError, Status,
    transport::{Channel, Endpoint},
};

use super::{MESSAGE_LIMIT, tls::Credentials};
const CONNECT: Duration = Duration::from_secs(1);

/// Kinds of traffic that get a connection of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Log entries.
    Log,
    /// Heartbeats and votes: small and urgent.
    Heartbeat,
    /// Snapshots: large.
    Snapshot,
    /// Calls on behalf of clients.
    Forward,
}

/// Connections by address and class, made when first used and again after they break.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Inner>);

struct Inner {
    tls: Option<Arc<Credentials>>,
    channels: Mutex<Channels>,
}

#[derive(Default)]
struct Channels {
    open: HashMap<(String, Class), Channel>,
    /// The certificates they were made with.
    version: u64,
}

impl Connections {
    pub(super) fn new(tls: Option<Arc<Credentials>>) -> Self {
        Self(Arc::new(Inner {
            tls,
            channels: Mutex::default(),
        }))
    }

    pub(crate) fn clear(&self) {
        self.0.channels.lock().open.clear();
    }

    /// A client for the peer; the connection is made by the first call.
    pub(crate) fn client(
        &self,
        address: &str,
        class: Class,
    ) -> Result<PeerClient<Channel>, tonic::transport::Error> {
        let mut channels = self.0.channels.lock();
        if let Some(tls) = &self.0.tls {
            let version = tls.version();
            if version != channels.version {
                // Calls under way keep theirs; whoever calls again shows the new certificate.
                channels.open.clear();
                channels.version = version;
            }
        }
        let channel = match channels.open.get(&(address.to_owned(), class)) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.endpoint(address)?.connect_lazy();
                let place = (address.to_owned(), class);
                channels.open.insert(place, channel.clone());
                channel
            }
        };
        Ok(PeerClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(usize::MAX))
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        let scheme = if self.0.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            // A peer that vanished without a word is noticed within three seconds.
            .http2_keep_alive_interval(Duration::from_secs(1))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        match &self.0.tls {
            Some(tls) => endpoint.tls_config(tls.client()),
            None => Ok(endpoint),
        }
    }
}

/// `call`, ended at the deadline.
pub(crate) async fn with_deadline<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout_at(deadline, call).await {
        Ok(result) => result,
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

/// Whether it is certain that the peer never acted on the call: there was no connection, or the peer
/// refused before it looked at the content.
pub(crate) fn not_sent(status: &Status) -> bool {
    if matches!(
        status.code(),
        Code::NotFound | Code::FailedPrecondition | Code::Unimplemented | Code::InvalidArgument
    ) {
        return true;
    }
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// A status with its causes, for people.
pub(crate) fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
