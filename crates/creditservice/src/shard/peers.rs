//! Asking the owner of a shard in another process.
//!
//! Over gRPC, with this process's certificate. What was certainly not done is told apart from what may have been: only the
//! first may be asked again without an idempotency key.

use std::{collections::HashMap, error::Error as _, time::Duration};

use creditservice_ledger::Shard;
use parking_lot::Mutex;
use photon_proto::photon::credit::v1::{AskRequest, shards_client::ShardsClient};
use photon_store::TlsFiles;
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::ask::{Ask, Outcome};

const CONNECT: Duration = Duration::from_secs(1);
/// A peer that hangs is noticed by it, not by each request's deadline.
const PING: Duration = Duration::from_secs(5);
const PING_ANSWER: Duration = Duration::from_secs(3);
/// The largest answer: a page of reservations, or a project's newest entries.
const LARGEST_ANSWER: usize = 64 << 20;

/// Connections to the other processes.
#[derive(Debug)]
pub(crate) struct Peers {
    tls: Option<TlsFiles>,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    /// None yet; `tls` are this process's certificates.
    pub(crate) fn new(tls: Option<TlsFiles>) -> Self {
        Self {
            tls,
            channels: Mutex::default(),
        }
    }

    /// Asks the process at a URL.
    pub(crate) async fn ask(
        &self,
        url: &str,
        shard: Shard,
        ask: &Ask,
        deadline: Instant,
    ) -> Outcome {
        let channel = match self.channel(url) {
            Ok(channel) => channel,
            Err(why) => return Outcome::not_done(why),
        };
        let body = match serde_json::to_vec(ask) {
            Ok(body) => body,
            Err(error) => return Outcome::not_done(error),
        };
        let mut request = Request::new(AskRequest {
            shard: shard.number().into(),
            ask: body.into(),
        });
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut client = ShardsClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
        match tokio::time::timeout_at(deadline, client.ask(request)).await {
            Ok(Ok(response)) => serde_json::from_slice(&response.into_inner().outcome)
                .unwrap_or_else(|error| Outcome::unknown(format!("{url}: {error}"))),
            Ok(Err(status)) => {
                // The next attempt reads the certificates again and makes a new connection.
                self.channels.lock().remove(url);
                if is_certainly_not_done(&status) {
                    Outcome::not_done(format!("{url}: {status}"))
                } else {
                    Outcome::unknown(format!("{url}: {status}"))
                }
            }
            Err(_) => Outcome::unknown(format!("{url} did not answer in time")),
        }
    }

    /// Forgets connections to processes that are gone.
    pub(crate) fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.channels.lock().retain(|url, _| wanted(url));
    }

    fn channel(&self, url: &str) -> Result<Channel, String> {
        if let Some(channel) = self.channels.lock().get(url) {
            return Ok(channel.clone());
        }
        let wrong = |error: &dyn std::fmt::Display| format!("{url}: {error}");
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| wrong(&error))?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .keep_alive_while_idle(true);
        if url.starts_with("https:") {
            let files = self.tls.as_ref().ok_or_else(|| wrong(&"needs store.tls"))?;
            let tls = files.read().map_err(|error| wrong(&error))?;
            let mut config =
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                config = config.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(config).map_err(|error| wrong(&error))?;
        }
        let channel = endpoint.connect_lazy();
        self.channels.lock().insert(url.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// Whether the owner certainly never saw it: nobody listens there, or the door refused it.
fn is_certainly_not_done(status: &Status) -> bool {
    let refused = matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented
    );
    refused || could_not_connect(status)
}

fn could_not_connect(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}
