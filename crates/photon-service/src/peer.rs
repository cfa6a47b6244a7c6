//! Another service of the suite, asked over gRPC under this service's own certificate.

use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use photon_core::{Code, Error};
use photon_server::{
    Mode,
    config::ConfigError,
    grpc::{ERROR_CODE, ERROR_DETAILS},
};
use photon_store::TlsFiles;
use serde_json::Value;
use tokio::time::Instant;
use tonic::{
    Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::config::{StoreConfig, check_url, invalid, is_loopback};

const CONNECT: Duration = Duration::from_secs(1);
/// A service that hangs is noticed by it, not by each request's deadline.
const PING: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(5);

/// Whether another service may be where the setting `field` says.
///
/// # Errors
/// No URL; `https` without the certificate that is shown there; anything else off this machine in enforce mode.
pub fn check(field: &str, url: &str, store: &StoreConfig, mode: Mode) -> Result<(), ConfigError> {
    check_url(field, url)?;
    let uri: http::Uri = url.parse().map_err(|error| invalid(field, error))?;
    let is_plain = uri.scheme_str() == Some("http");
    if !is_plain && store.tls.is_none() {
        return Err(invalid("store.tls", format!("is required for {url}")));
    }
    let is_local = is_loopback(uri.host().unwrap_or_default());
    if is_plain && !is_local && mode == Mode::Enforce {
        let problem = format!("{url} must be https in enforce mode");
        return Err(invalid(field, problem));
    }
    Ok(())
}

/// The connection, made when it is needed.
pub struct Peer {
    url: String,
    tls: Option<TlsFiles>,
    channel: Mutex<Option<Channel>>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// To a URL, with certificates if it is `https`; `field` is the setting that says it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn new(field: &str, url: &str, tls: Option<TlsFiles>) -> anyhow::Result<Self> {
        let peer = Self {
            url: url.to_owned(),
            tls,
            channel: Mutex::default(),
        };
        peer.connect().with_context(|| format!("{field} {url}"))?;
        Ok(peer)
    }

    fn connect(&self) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .keep_alive_while_idle(true);
        if self.url.starts_with("https:") {
            let files = self.tls.as_ref().context("https needs store.tls")?;
            let tls = files.read()?;
            let mut config =
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                config = config.identity(Identity::from_pem(certificate, key));
            }
            endpoint = endpoint.tls_config(config)?;
        }
        Ok(endpoint.connect_lazy())
    }

    fn channel(&self) -> Result<Channel, Refused> {
        let mut current = self.channel.lock();
        if let Some(channel) = &*current {
            return Ok(channel.clone());
        }
        let made = self.connect();
        let channel = made.map_err(|error| Status::unavailable(format!("{error:#}")))?;
        *current = Some(channel.clone());
        Ok(channel)
    }

    /// Makes one call, which has until then.
    ///
    /// # Errors
    /// Any answer but success, and none in time.
    pub async fn call<T, F>(
        &self,
        deadline: Instant,
        call: impl FnOnce(Channel) -> F,
    ) -> Result<T, Refused>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let call = call(self.channel()?);
        let refused: Refused = match tokio::time::timeout_at(deadline, call).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => status.into(),
            Err(_) => Status::unavailable("no answer in time").into(),
        };
        if refused.code().is_none() {
            // Nothing of the service's own: the next call reads the certificates again and connects anew.
            *self.channel.lock() = None;
        }
        Err(refused)
    }
}

/// An answer that is none of success.
#[derive(Debug)]
pub struct Refused {
    status: Box<Status>,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self {
            status: Box::new(status),
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status.fmt(f)
    }
}

impl Refused {
    /// The suite's code, if the service gave one; none means that it is away, or hangs.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        let name = self.status.metadata().get(ERROR_CODE)?;
        Code::by_name(name.to_str().ok()?)
    }

    /// Whether it has one of these codes.
    #[must_use]
    pub fn is(&self, codes: &[Code]) -> bool {
        self.code().is_some_and(|code| codes.contains(&code))
    }

    /// What it said, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.status.message()
    }

    /// Its details, if there are some.
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        let details = self.status.metadata().get(ERROR_DETAILS)?;
        serde_json::from_str(details.to_str().ok()?).ok()
    }

    /// The same under that code, for the caller of our own request.
    #[must_use]
    pub fn pass_on(&self, code: Code) -> Error {
        let error = Error::new(code, self.message());
        match self.details() {
            Some(details) => error.with_details(details),
            None => error,
        }
    }
}
