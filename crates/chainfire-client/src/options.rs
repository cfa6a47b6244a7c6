//! How a client reaches its cluster: deadlines, TLS and what it may do on its own.

use std::time::Duration;

/// Settings of a [`ChainFireClient`](crate::ChainFireClient). The default suits a cluster on a local network.
#[derive(Clone, Debug)]
pub struct Options {
    /// Longest time one endpoint may take to accept a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest time a call may take, attempts and pauses included, when its request sets none
    /// (`tonic::Request::set_timeout`). Longer than a member's own deadline, so that the member's answer
    /// (`NO_QUORUM`) arrives.
    pub deadline: Duration,
    /// How long a watch, or the keeping of a lease, tries to get back to the cluster before it reports the error.
    pub resume_timeout: Duration,
    /// Send calls to the leader once a member has told where it is: a write or a linearizable read then needs
    /// no hop between members. Leaders are asked at the address they advertise.
    pub follow_leader: bool,
    /// TLS; `None` for `http://` endpoints.
    pub tls: Option<TlsOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(10),
            resume_timeout: Duration::from_secs(60),
            follow_leader: true,
            tls: None,
        }
    }
}

/// Whom to trust and who to be on `https://` endpoints. Everything is PEM text.
#[derive(Clone)]
pub struct TlsOptions {
    /// The certificate authority that signed the members' certificates.
    pub ca: String,
    /// This client's certificate chain and private key, where members ask for one.
    pub identity: Option<Identity>,
    /// The name to expect in the members' certificates, when it is not the host of the endpoint.
    pub server_name: Option<String>,
}

/// A client certificate and its key, as PEM text.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, followed by its intermediates.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Prints no key material.
impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
