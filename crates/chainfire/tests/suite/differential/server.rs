//! A server under comparison, by raw stubs: they send what a careful client library would not.

use photon_proto::etcdserverpb::{
    kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
};
use tonic::transport::{Channel, Endpoint};

/// Largest answer accepted.
const ANSWER_LIMIT: usize = 64 << 20;

/// A connected server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// For messages.
    pub(crate) name: String,
    channel: Channel,
}

impl Server {
    /// Connects to an `http://` endpoint.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(name: &str, endpoint: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect()
            .await?;
        Ok(Self {
            name: name.to_owned(),
            channel,
        })
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }

    pub(crate) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LIMIT)
    }
}
