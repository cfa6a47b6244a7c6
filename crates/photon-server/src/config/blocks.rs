//! The blocks. Every field has a unit in its name where it has one, and a default unless none makes sense.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Where to listen and whether to encrypt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Plain text when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

impl ListenConfig {
    /// Plain text on this address.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// Certificates of a listener. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM: the server's certificate, followed by intermediates.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: the authorities whose client certificates are accepted. Without it none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Refuses connections without a client certificate already in the handshake. Needs `client_ca`.
    #[serde(default)]
    pub require_client_certificate: bool,
}

/// How callers are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// `enforce` unless given.
    pub mode: Mode,
}

/// Whether a request without a credential is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A request without a credential is the local operator. Only with loopback listeners.
    Dev,
    /// Nothing without a credential.
    #[default]
    Enforce,
}

/// Limits of every listener of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest REST request body, in bytes. Default 1 MiB.
    pub body_bytes: usize,
    /// Time for a TLS handshake, and for the head of a request once its first byte is there. Default 10 s.
    pub header_timeout_ms: u64,
    /// Time a connection may stay without a request, or without taking any of its answer, before it is
    /// closed. Default 5 min.
    pub idle_timeout_ms: u64,
    /// Time until the head of a REST answer. Default 30 s.
    pub request_timeout_ms: u64,
    /// Time for requests in flight to finish once the process is asked to stop. Default 10 s.
    pub drain_timeout_ms: u64,
    /// Open connections per listener; more are closed at once. Default 16,384.
    pub max_connections: usize,
    /// Open h2 streams per connection. Default 8,192.
    pub max_concurrent_streams: u32,
    /// REST requests being worked on; more are answered 503 `OVERLOADED`. Default 1,024.
    pub max_in_flight: usize,
    /// How often the server pings a silent h2 peer. Default 30 s.
    pub keepalive_interval_ms: u64,
    /// How long it waits for the answer before it closes the connection. Default 20 s.
    pub keepalive_timeout_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 300_000,
            request_timeout_ms: 30_000,
            drain_timeout_ms: 10_000,
            max_connections: 16_384,
            max_concurrent_streams: 8_192,
            max_in_flight: 1_024,
            keepalive_interval_ms: 30_000,
            keepalive_timeout_ms: 20_000,
        }
    }
}

impl LimitsConfig {
    /// The first of the limits that must not be 0 and is: nothing could be served with it. A drain may take no time.
    #[must_use]
    pub fn zero(&self) -> Option<&'static str> {
        let size = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let limits = [
            ("body_bytes", size(self.body_bytes)),
            ("header_timeout_ms", self.header_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("max_connections", size(self.max_connections)),
            ("max_concurrent_streams", self.max_concurrent_streams.into()),
            ("max_in_flight", size(self.max_in_flight)),
            ("keepalive_interval_ms", self.keepalive_interval_ms),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms),
        ];
        let zero = limits.into_iter().find(|(_, limit)| *limit == 0);
        zero.map(|(name, _)| name)
    }

    /// `header_timeout_ms` as a duration.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }
    /// `idle_timeout_ms` as a duration.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }
    /// `request_timeout_ms` as a duration.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }
    /// `drain_timeout_ms` as a duration.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
    /// `keepalive_interval_ms` as a duration.
    #[must_use]
    pub fn keepalive_interval(&self) -> Duration {
        Duration::from_millis(self.keepalive_interval_ms)
    }
    /// `keepalive_timeout_ms` as a duration.
    #[must_use]
    pub fn keepalive_timeout(&self) -> Duration {
        Duration::from_millis(self.keepalive_timeout_ms)
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Directives of `tracing_subscriber::EnvFilter`. Default `info`.
    pub level: String,
    /// Default `auto`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

impl LogConfig {
    /// Why `level` is not understood, if it is not.
    #[must_use]
    pub fn misunderstood(&self) -> Option<String> {
        EnvFilter::try_new(&self.level)
            .err()
            .map(|error| error.to_string())
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One object per line.
    Json,
}
