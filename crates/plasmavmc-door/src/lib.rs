//! Asking the agent of a host by its door: the control plane does, and so do the agents of other hosts.
//!
//! [`Doors`] keeps one connection a host, made when it is needed, under this process's own certificate; [`blobs`] are the calls
//! about content, [`consoles`] those about guests' consoles. Everything has a deadline. Nothing is asked twice by itself: who calls knows whether that is safe.
//!
//! A door at `https` must show a certificate for the name [`door_name`], which only that host's agent has. `http` goes to loopback,
//! and only from a process that has no certificates itself.

#![warn(missing_docs)]

pub mod blobs;
pub mod consoles;

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use parking_lot::Mutex;
use photon_core::{Code, Error, Name};
use photon_server::grpc::{ERROR_CODE, ERROR_DETAILS};
use photon_store::TlsFiles;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// To reach the host.
const CONNECT: Duration = Duration::from_secs(3);
/// A host that hangs is noticed by it, also in the middle of a long answer.
const PING: Duration = Duration::from_secs(5);
const PING_ANSWER: Duration = Duration::from_secs(5);
/// Bytes on the way in one call before the other side has taken any.
const WINDOW: u32 = 4 << 20;

/// The DNS name in the certificate of a host's agent.
#[must_use]
pub fn door_name(host: &Name) -> String {
    format!("{host}.plasmavmc-agent")
}

/// Where a host's door is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// The host.
    pub host: Name,
    /// `https://address:port`, or `http://` on loopback.
    pub url: String,
}

/// Connections to hosts.
#[derive(Debug)]
pub struct Doors {
    tls: Option<TlsFiles>,
    channels: Mutex<HashMap<At, Channel>>,
}

impl Doors {
    /// None yet. `tls` are this process's certificates.
    #[must_use]
    pub fn new(tls: Option<TlsFiles>) -> Self {
        Self {
            tls,
            channels: Mutex::default(),
        }
    }

    /// The connection to a host, which may not be there: then the first call says so.
    ///
    /// # Errors
    /// 503: a URL or certificates that cannot be used.
    pub fn channel(&self, at: &At) -> Result<Channel, Error> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(at) {
            return Ok(channel.clone());
        }
        let endpoint = self.endpoint(at).map_err(|why| away(&at.host, why))?;
        let channel = endpoint.connect_lazy();
        channels.insert(at.clone(), channel.clone());
        Ok(channel)
    }

    fn endpoint(&self, at: &At) -> Result<Endpoint, String> {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", at.url);
        let endpoint = Endpoint::from_shared(at.url.clone()).map_err(|error| said(&error))?;
        let endpoint = endpoint
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .connect_timeout(CONNECT);
        match (at.url.split_once("://"), &self.tls) {
            (Some(("http", address)), None) if is_loopback(address) => Ok(endpoint),
            (Some(("http", _)), _) => Err(said(&"is not encrypted, or not on this machine")),
            (Some(("https", _)), Some(files)) => {
                let tls = files.read().map_err(|error| said(&error))?;
                let mut config = ClientTlsConfig::new()
                    .domain_name(door_name(&at.host))
                    .ca_certificate(Certificate::from_pem(tls.authority));
                if let Some((certificate, key)) = tls.identity {
                    config = config.identity(Identity::from_pem(certificate, key));
                }
                endpoint.tls_config(config).map_err(|error| said(&error))
            }
            (Some(("https", _)), None) => Err(said(&"needs store.tls")),
            _ => Err(said(&"must begin with http:// or https://")),
        }
    }

    /// What a call answered, within a time. A connection that failed is made anew by the next call, with certificates read again.
    ///
    /// # Errors
    /// What the host says; 503 if it says nothing.
    pub async fn answer<T>(
        &self,
        at: &At,
        within: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(within, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refused(at, &status)),
            Err(_) => Err(away(&at.host, "no answer in time")),
        }
    }

    /// What a host's refusal means.
    pub fn refused(&self, at: &At, status: &Status) -> Error {
        if error_of(status).is_none() {
            self.channels.lock().remove(at);
        }
        said(&at.host, status)
    }
}

/// What a host's refusal means, where its connection is nobody's concern.
fn said(host: &Name, status: &Status) -> Error {
    error_of(status).unwrap_or_else(|| away(host, status))
}

/// A request with its end, as the host is told it.
pub fn request<T>(message: T, within: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(within);
    request
}

/// The host's own error; `None` if the status is not one of its use cases'.
fn error_of(status: &Status) -> Option<Error> {
    let text = |key| status.metadata().get(key)?.to_str().ok();
    let error = Error::new(Code::by_name(text(ERROR_CODE)?)?, status.message());
    Some(match text(ERROR_DETAILS).map(serde_json::from_str) {
        Some(Ok(details)) => error.with_details(details),
        _ => error,
    })
}

fn away(host: &Name, why: impl std::fmt::Display) -> Error {
    // Addresses and certificates are nothing for tenants.
    Error::unavailable(format!("host {host} does not answer")).with_source(why.to_string())
}

fn is_loopback(address: &str) -> bool {
    let address = address.trim_end_matches('/').parse::<SocketAddr>();
    address.is_ok_and(|address| address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn at(url: &str) -> At {
        At {
            host: Name::new("host-1").unwrap(),
            url: url.to_owned(),
        }
    }

    #[tokio::test]
    async fn only_loopback_is_asked_without_certificates() {
        let doors = Doors::new(None);
        doors.channel(&at("http://127.0.0.1:1")).unwrap();
        doors.channel(&at("http://[::1]:1/")).unwrap();
        for url in [
            "http://192.0.2.1:1",
            "http://localhost.example:1",
            "https://127.0.0.1:1",
            "ftp://127.0.0.1:1",
            "",
        ] {
            let error = doors.channel(&at(url)).unwrap_err();
            assert_eq!(error.code(), Code::UNAVAILABLE, "{url}");
        }
        let file = || "/nonexistent".into();
        let doors = Doors::new(Some(TlsFiles {
            authority: file(),
            certificate: file(),
            key: file(),
            server_name: None,
        }));
        // Whoever has certificates does not do without.
        doors.channel(&at("http://127.0.0.1:1")).unwrap_err();
    }

    #[tokio::test]
    async fn a_host_that_is_away_is_told_in_time() {
        let doors = Doors::new(None);
        let at = at("http://127.0.0.1:1");
        let upload = Name::new("up").unwrap();
        let error = doors.begin(&at, &upload, 1).await.unwrap_err();
        assert_eq!(error.code(), Code::UNAVAILABLE);
        assert_eq!(error.message(), "host host-1 does not answer");
    }
}
