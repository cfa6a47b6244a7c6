//! The members a client can talk to, the connection to each, and which one comes first.
//!
//! ```text
//!   configured: A  B  C        learned: D   (a leader's address, as a member told it)
//!                  ^ preferred: where the last call worked, or where the leader is
//! ```
//! A connection that failed is thrown away, so that the next use connects anew: when *that* fails, nothing of
//! the request has left this process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::{ConnectError, Options};

/// Leaders' addresses remembered beyond the configured ones.
const LEARNED_MAX: usize = 8;
/// A connection that answers no ping for this long is dead. etcd, too, allows a ping every five seconds.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// One member's address and the connection to it.
pub(crate) struct Slot {
    address: String,
    endpoint: Endpoint,
    channel: tokio::sync::Mutex<Option<Channel>>,
    learned: bool,
}

impl Slot {
    /// The connection, made now if there is none. The caller bounds the wait.
    pub(crate) async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let mut channel = self.channel.lock().await;
        if let Some(channel) = &*channel {
            return Ok(channel.clone());
        }
        let connected = self.endpoint.connect().await?;
        *channel = Some(connected.clone());
        Ok(connected)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

struct State {
    slots: Vec<Arc<Slot>>,
    preferred: usize,
}

pub(crate) struct Endpoints {
    options: Options,
    scheme: String,
    state: Mutex<State>,
}

impl Endpoints {
    pub(crate) fn new(addresses: &[String], options: Options) -> Result<Self, ConnectError> {
        let mut slots = Vec::new();
        for address in addresses {
            slots.push(Arc::new(slot(address, &options, false)?));
        }
        let Some(first) = slots.first() else {
            return Err(ConnectError::NoEndpoint);
        };
        let scheme = first
            .endpoint
            .uri()
            .scheme_str()
            .unwrap_or("http")
            .to_owned();
        let state = State {
            slots,
            preferred: 0,
        };
        Ok(Self {
            options,
            scheme,
            state: Mutex::new(state),
        })
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Every member, the preferred one first.
    pub(crate) fn in_order(&self) -> Vec<Arc<Slot>> {
        let state = self.lock();
        let (before, from) = state.slots.split_at(state.preferred);
        from.iter().chain(before).cloned().collect()
    }

    /// A call worked there: the next one starts there.
    pub(crate) fn worked(&self, slot: &Arc<Slot>) {
        let mut state = self.lock();
        if let Some(at) = state
            .slots
            .iter()
            .position(|known| Arc::ptr_eq(known, slot))
        {
            state.preferred = at;
        }
    }

    /// A call failed there: its connection is dropped, and a learned address forgotten.
    pub(crate) async fn failed(&self, slot: &Arc<Slot>) {
        *slot.channel.lock().await = None;
        let mut state = self.lock();
        let Some(at) = state
            .slots
            .iter()
            .position(|known| Arc::ptr_eq(known, slot))
        else {
            return;
        };
        if slot.learned {
            state.slots.remove(at);
            state.preferred = 0;
        } else if state.preferred == at {
            state.preferred = (at + 1) % state.slots.len();
        }
    }

    /// A member said that the leader serves at `address`. An address that is no endpoint is ignored: it is a hint.
    pub(crate) fn leader_is_at(&self, address: &str) {
        if !self.options.follow_leader {
            return;
        }
        let address = normal(address, &self.scheme);
        let mut state = self.lock();
        if let Some(at) = state.slots.iter().position(|slot| slot.address == address) {
            state.preferred = at;
            return;
        }
        let learned = state.slots.iter().filter(|slot| slot.learned).count();
        if learned >= LEARNED_MAX || !address.starts_with(&format!("{}://", self.scheme)) {
            return;
        }
        match slot(&address, &self.options, true) {
            Ok(slot) => {
                state.slots.push(Arc::new(slot));
                state.preferred = state.slots.len() - 1;
            }
            Err(error) => {
                tracing::debug!(%error, "a member advertises an address that cannot be used")
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change is one assignment or push: a panic elsewhere leaves the list whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `host:port` gets the scheme of the configured endpoints; a trailing slash does not make another address.
fn normal(address: &str, scheme: &str) -> String {
    let (scheme, host) = address.split_once("://").unwrap_or((scheme, address));
    format!("{scheme}://{}", host.trim_end_matches('/'))
}

fn slot(address: &str, options: &Options, learned: bool) -> Result<Slot, ConnectError> {
    let default_scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let address = normal(address, default_scheme);
    let invalid = |reason: String| ConnectError::InvalidEndpoint {
        endpoint: address.clone(),
        reason,
    };
    let endpoint = Endpoint::from_shared(address.clone()).map_err(|e| invalid(e.to_string()))?;
    match endpoint.uri().scheme_str() {
        Some("http" | "https") => {}
        other => {
            return Err(invalid(format!(
                "unknown scheme {}",
                other.unwrap_or("(none)")
            )));
        }
    }
    if endpoint
        .uri()
        .authority()
        .is_none_or(|authority| authority.host().is_empty())
    {
        return Err(invalid("it names no host".to_owned()));
    }
    let endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let endpoint = with_tls(endpoint, &address, options)?;
    Ok(Slot {
        address,
        endpoint,
        channel: tokio::sync::Mutex::new(None),
        learned,
    })
}

fn with_tls(
    endpoint: Endpoint,
    address: &str,
    options: &Options,
) -> Result<Endpoint, ConnectError> {
    if !address.starts_with("https://") {
        return Ok(endpoint);
    }
    let Some(tls) = &options.tls else {
        let reason = "https needs a certificate authority to trust".to_owned();
        return Err(ConnectError::InvalidEndpoint {
            endpoint: address.to_owned(),
            reason,
        });
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
    if let Some(identity) = &tls.identity {
        config = config.identity(tonic::transport::Identity::from_pem(
            &identity.certificate,
            &identity.key,
        ));
    }
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    endpoint
        .tls_config(config)
        .map_err(|source| ConnectError::Tls {
            endpoint: address.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn endpoints(addresses: &[&str]) -> Endpoints {
        let addresses: Vec<String> = addresses.iter().map(|&a| a.to_owned()).collect();
        Endpoints::new(&addresses, Options::default()).unwrap()
    }
    fn order(endpoints: &Endpoints) -> Vec<String> {
        endpoints
            .in_order()
            .iter()
            .map(|slot| slot.address().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn a_failed_member_goes_to_the_end() {
        let all = endpoints(&["http://a:1", "b:2", "http://c:3/"]);
        all.failed(&all.in_order()[0]).await;
        assert_eq!(order(&all), ["http://b:2", "http://c:3", "http://a:1"]);
    }

    #[tokio::test]
    async fn the_leader_comes_first_and_is_forgotten_when_it_fails() {
        let all = endpoints(&["http://a:1", "http://b:2"]);
        all.leader_is_at("b:2");
        assert_eq!(order(&all), ["http://b:2", "http://a:1"]);
        all.leader_is_at("http://d:4");
        assert_eq!(order(&all), ["http://d:4", "http://a:1", "http://b:2"]);
        all.failed(&all.in_order()[0]).await;
        assert_eq!(order(&all), ["http://a:1", "http://b:2"]);
    }

    #[tokio::test]
    async fn a_leader_is_not_followed_to_another_scheme_or_to_nonsense() {
        let all = endpoints(&["http://a:1"]);
        for address in ["https://d:4", "ftp://d", "", "http://"] {
            all.leader_is_at(address);
        }
        assert_eq!(order(&all), ["http://a:1"]);
    }

    #[tokio::test]
    async fn learned_addresses_are_bounded() {
        let all = endpoints(&["http://a:1"]);
        for port in 1..100 {
            all.leader_is_at(&format!("d:{port}"));
        }
        assert_eq!(order(&all).len(), 1 + LEARNED_MAX);
    }

    #[test]
    fn endpoints_that_are_none_are_refused() {
        for address in ["", "http://", "ftp://a:1", "https://a:1", "http://a b"] {
            let made = Endpoints::new(&[address.to_owned()], Options::default());
            assert!(made.is_err(), "{address:?} was taken");
        }
        assert!(matches!(
            Endpoints::new(&[], Options::default()),
            Err(ConnectError::NoEndpoint)
        ));
    }
}
