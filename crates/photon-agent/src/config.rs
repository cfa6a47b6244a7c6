//! `[store]` of an agent's configuration.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use photon_server::config::ConfigError;
use photon_store::{Options, TlsFiles};
use serde::Deserialize;

/// `[store]`: ChainFire, or etcd.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Client URLs of its members, `http://host:port` or `https://host:port`; `http` to loopback only. Default
    /// `http://127.0.0.1:50051`.
    pub endpoints: Vec<String>,
    /// Certificates; required for `https`.
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

/// That a setting cannot be.
pub fn invalid(field: &str, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::Invalid(format!("{field}: {problem}"))
}

impl StoreConfig {
    /// Whether it can be.
    ///
    /// # Errors
    /// The setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const FIELD: &str = "store.endpoints";
        if self.endpoints.is_empty() {
            return Err(invalid(FIELD, "must not be empty"));
        }
        for endpoint in &self.endpoints {
            match endpoint.split_once("://") {
                Some(("https", _)) if self.tls.is_none() => {
                    return Err(invalid("store.tls", format!("is required for {endpoint}")));
                }
                Some(("https", _)) => {}
                // What the store says is done as root: it must be the store that says it.
                Some(("http", host)) if is_loopback(host) => {}
                Some(("http", _)) => {
                    return Err(invalid(
                        FIELD,
                        format!("{endpoint} must be https, or loopback"),
                    ));
                }
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

/// Whether a `host:port` is on this machine.
fn is_loopback(authority: &str) -> bool {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
