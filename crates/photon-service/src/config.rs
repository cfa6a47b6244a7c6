//! What the configuration of every service has.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use photon_core::error::in_one_line;
use photon_server::{
    config::{ConfigError, LimitsConfig, ListenConfig, LogConfig, Mode},
    listen::check_tls,
};
use photon_store::{Options, TlsFiles};
use serde::Deserialize;

/// What the configuration of every service has, wherever it keeps it.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// `[rest]`.
    pub rest: &'a ListenConfig,
    /// `[grpc]`.
    pub grpc: &'a ListenConfig,
    /// `[store]`.
    pub store: &'a StoreConfig,
    /// `[auth]`.
    pub auth: &'a AuthConfig,
    /// The `iss` of the tokens that are accepted.
    pub issuer: &'a str,
    /// `[http]`.
    pub http: &'a LimitsConfig,
    /// `[log]`.
    pub log: &'a LogConfig,
}

impl Common<'_> {
    /// Whether it can be.
    ///
    /// # Errors
    /// The setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_listeners(self.auth.mode, self.rest, self.grpc)?;
        self.store.validate(self.auth.mode)?;
        self.auth.validate()?;
        check_url("issuer", self.issuer)?;
        if let Some(name) = self.http.zero() {
            return Err(invalid(&format!("http.{name}"), "must not be 0"));
        }
        match self.log.misunderstood() {
            Some(problem) => Err(invalid("log.level", problem)),
            None => Ok(()),
        }
    }

    /// Whether the files that it names can be read.
    ///
    /// # Errors
    /// The setting at fault.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_listener_files(self.rest, self.grpc)?;
        self.store.options().map(drop)
    }
}

/// A listener as it is unless somebody says otherwise: this machine only, without TLS.
#[must_use]
pub fn loopback(port: u16) -> ListenConfig {
    ListenConfig::plain(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// The `iss` of IAM's tokens, unless somebody says otherwise.
#[must_use]
pub fn default_issuer() -> String {
    photon_auth::DEFAULT_ISSUER.to_owned()
}

/// `[auth]`: who may do what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// `dev`: a request without a credential is the local operator, and unknown orgs, projects and principals are taken as
    /// they come; refused unless every listener is loopback. `enforce`: nothing without a token or a client certificate,
    /// and nobody may do what no binding gives. Default `dev`.
    pub mode: Mode,
    /// Seconds for which decisions are made from what is known while the store cannot be reached; then everything is
    /// refused. 1 to 3600. Default 60.
    pub max_staleness_seconds: u64,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Dev,
            max_staleness_seconds: 60,
        }
    }
}

/// `[store]`: ChainFire, or etcd.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Client URLs of its members, `http://host:port` or `https://host:port`. Default `http://127.0.0.1:50051`.
    pub endpoints: Vec<String>,
    /// Certificates; required for `https`. A service whose processes talk to each other shows them there, too.
    pub tls: Option<StoreTls>,
    /// Milliseconds one call of the store may take, its retries included. Default 5000.
    pub request_timeout_ms: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:50051".to_owned()],
            tls: None,
            request_timeout_ms: 5_000,
        }
    }
}

/// PEM files for a store over TLS. They are read again when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreTls {
    /// The authority that signed the members' certificates.
    pub ca: PathBuf,
    /// Our certificate; its common name is the user in the store.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The name to expect in the members' certificates, if it is not the host in the URL.
    #[serde(default)]
    pub server_name: Option<String>,
}

impl AuthConfig {
    /// Whether it can be.
    ///
    /// # Errors
    /// The setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if (1..=3600).contains(&self.max_staleness_seconds) {
            Ok(())
        } else {
            Err(invalid("auth.max_staleness_seconds", "must be 1 to 3600"))
        }
    }
}

/// That a setting cannot be.
pub fn invalid(field: &str, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::Invalid(format!("{field}: {problem}"))
}

/// Whether a service may listen there: nothing but loopback in dev mode, nothing but TLS beyond it; two listeners do not share
/// an address.
///
/// # Errors
/// The setting at fault.
pub fn check_listeners(
    mode: Mode,
    rest: &ListenConfig,
    grpc: &ListenConfig,
) -> Result<(), ConfigError> {
    for (name, listener) in [("rest", rest), ("grpc", grpc)] {
        let address = listener.address;
        if address.ip().to_canonical().is_loopback() {
            continue;
        }
        match mode {
            Mode::Dev => {
                return Err(invalid(
                    &format!("{name}.address"),
                    format!(
                        "{address} is not loopback: auth.mode = \"dev\" lets everybody who can connect do everything"
                    ),
                ));
            }
            Mode::Enforce if listener.tls.is_none() => {
                return Err(invalid(
                    &format!("{name}.tls"),
                    format!(
                        "is required: tokens and passwords would cross the network to {address} in the clear"
                    ),
                ));
            }
            Mode::Enforce => {}
        }
    }
    let (rest, grpc) = (rest.address, grpc.address);
    if rest == grpc && rest.port() != 0 {
        return Err(invalid(
            "grpc.address",
            format!("{grpc} is taken by rest.address"),
        ));
    }
    Ok(())
}

/// Whether the files of the listeners can be read.
///
/// # Errors
/// The setting at fault.
pub fn check_listener_files(rest: &ListenConfig, grpc: &ListenConfig) -> Result<(), ConfigError> {
    for (field, listener) in [("rest.tls", rest), ("grpc.tls", grpc)] {
        if let Some(tls) = &listener.tls {
            check_tls(tls).map_err(|error| invalid(field, in_one_line(&error)))?;
        }
    }
    Ok(())
}

impl StoreConfig {
    /// Whether it can be.
    ///
    /// # Errors
    /// The setting at fault.
    pub fn validate(&self, mode: Mode) -> Result<(), ConfigError> {
        const FIELD: &str = "store.endpoints";
        if self.endpoints.is_empty() {
            return Err(invalid(FIELD, "must not be empty"));
        }
        for endpoint in &self.endpoints {
            let uri: http::Uri = endpoint
                .parse()
                .map_err(|error| invalid(FIELD, format!("{endpoint:?}: {error}")))?;
            let host = uri.host().unwrap_or_default();
            match uri.scheme_str() {
                Some("https") if self.tls.is_none() => {
                    return Err(invalid("store.tls", format!("is required for {endpoint}")));
                }
                Some("http") if mode == Mode::Enforce && !is_loopback(host) => {
                    let problem = format!("{endpoint} must be https in enforce mode");
                    return Err(invalid(FIELD, problem));
                }
                Some("http" | "https") => {}
                _ => {
                    let problem = format!("{endpoint:?} must begin with http:// or https://");
                    return Err(invalid(FIELD, problem));
                }
            }
        }
        if self.request_timeout_ms == 0 {
            return Err(invalid("store.request_timeout_ms", "must not be 0"));
        }
        Ok(())
    }

    /// The files of the certificates.
    #[must_use]
    pub fn tls_files(&self) -> Option<TlsFiles> {
        self.tls.as_ref().map(|tls| TlsFiles {
            authority: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            server_name: tls.server_name.clone(),
        })
    }

    /// How to connect, with the files read.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn options(&self) -> Result<Options, ConfigError> {
        let tls = self.tls_files().map(|files| files.read()).transpose();
        Ok(Options {
            tls: tls.map_err(|error| invalid("store.tls", error))?,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            ..Options::new(&self.endpoints)
        })
    }
}

/// Whether the host of a URL is this machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What others are told as an address of ours: no query, no fragment, no slash at its end, so that paths can be added.
///
/// # Errors
/// What it is instead.
pub fn check_url(field: &str, text: &str) -> Result<(), ConfigError> {
    let refuse = |problem: &str| Err(invalid(field, format!("{text:?} {problem}")));
    let Ok(uri) = text.parse::<http::Uri>() else {
        return refuse("is not a URL");
    };
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some() => {}
        _ => return refuse("must begin with http:// or https:// and name a host"),
    }
    if text.contains(['?', '#']) || text.ends_with('/') {
        return refuse("must end with a host or a path, without a slash");
    }
    Ok(())
}
