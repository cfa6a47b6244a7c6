//! Who is there: every process of every service, with its addresses and version.
//!
//! ```text
//!   /photon/registry/<service>/<instance>    under the process's lease
//!
//!   announce: lease ──> record ──(lease lost)──> lease ──> record … ──(stop)──> lease revoked, record gone
//! ```
//!
//! A record means that its process was alive less than [`TTL`] ago: one that is killed disappears when its lease ends, one
//! that stops in order at once. It is news, not a lock: nothing may be done because somebody is *not* listed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use photon_core::{Id, Kind};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::lease::Lease;
use crate::record::Record;
use crate::store::Store;
use crate::{Result, codec};

/// How long after its death a process is still listed.
pub const TTL: Duration = Duration::from_secs(15);

/// How long a process that ends waits for the store to take it off the list.
const LEAVING: Duration = Duration::from_secs(2);

/// Runs of programs; see [`InstanceId`].
#[derive(Clone, Copy, Debug)]
pub struct Instance;

impl Kind for Instance {
    const PREFIX: &'static str = "ins";
}

/// One run of one program: a process that starts again is another one.
pub type InstanceId = Id<Instance>;

/// A process, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Which service it is one of, in the word of its keys.
    pub service: String,
    /// Which process.
    pub instance: InstanceId,
    /// The version of its program.
    pub version: String,
    /// The name of its machine, empty if nobody knows.
    pub host: String,
    /// Where it listens: URLs by what is spoken there, `rest`, `grpc`.
    pub addresses: BTreeMap<String, String>,
    /// When it began to serve.
    pub started_at: Timestamp,
}

impl Record for Process {
    const ROOT: &'static str = "/photon/registry/";
}

impl Process {
    /// This process, which listens nowhere yet.
    #[must_use]
    pub fn new(service: &str, version: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        Self {
            service: service.to_owned(),
            instance: InstanceId::generate(),
            version: version.to_owned(),
            host: host.map_or_else(|_| String::new(), |name| name.trim().to_owned()),
            addresses: BTreeMap::new(),
            started_at: Timestamp::now(),
        }
    }

    /// And listens here. Who listens on every address of its machine is reached by the machine's name.
    #[must_use]
    pub fn listening(mut self, name: &str, scheme: &str, at: SocketAddr) -> Self {
        let url = if at.ip().is_unspecified() && !self.host.is_empty() {
            format!("{scheme}://{}:{}", self.host, at.port())
        } else {
            format!("{scheme}://{at}")
        };
        self.addresses.insert(name.to_owned(), url);
        self
    }

    /// Its key below [`Record::ROOT`].
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.service, self.instance)
    }

    /// Keeps itself listed until `stop`, and takes itself off the list then. While the store is away it tries again.
    pub async fn announce(self, store: Store, stop: CancellationToken) {
        self.announce_under(store, TTL, stop).await;
    }

    /// [`Process::announce`] with another time to live.
    pub async fn announce_under(self, store: Store, ttl: Duration, stop: CancellationToken) {
        let mut backoff = Backoff::outage();
        let mut failing = false;
        loop {
            match self.register(&store, ttl, &stop).await {
                Ok(Some(lease)) => {
                    tracing::info!(instance = %self.instance, addresses = ?self.addresses, "listed in the registry");
                    (backoff, failing) = (Backoff::outage(), false);
                    if stop.run_until_cancelled(lease.lost()).await.is_none() {
                        return leave(lease).await;
                    }
                }
                Ok(None) => return,
                // Said once: it may last for as long as the store is away.
                Err(error) if !failing => {
                    tracing::warn!(%error, "not listed in the registry; trying again");
                    failing = true;
                }
                Err(_) => {}
            }
            let pause = tokio::time::sleep(backoff.next());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    /// A lease with the record under it; `None` if it was stopped meanwhile.
    async fn register(
        &self,
        store: &Store,
        ttl: Duration,
        stop: &CancellationToken,
    ) -> Result<Option<Lease>> {
        let Some(lease) = stop.run_until_cancelled(store.lease(ttl)).await else {
            return Ok(None);
        };
        let lease = lease?;
        match stop.run_until_cancelled(self.put(store, lease.id())).await {
            Some(Ok(())) => Ok(Some(lease)),
            Some(Err(error)) => {
                leave(lease).await;
                Err(error)
            }
            None => {
                leave(lease).await;
                Ok(None)
            }
        }
    }

    /// Nobody else writes this key: what an earlier lease of ours left there is moved under the new one.
    async fn put(&self, store: &Store, lease: i64) -> Result<()> {
        let all = store.collection::<Self>();
        let path = all.path(&self.key())?;
        let value = codec::encode(&path, self, None, all.version())?;
        let mut transaction = store.transaction();
        transaction.put_raw(&path, value, lease)?;
        transaction.commit().await?;
        Ok(())
    }
}

async fn leave(lease: Lease) {
    match tokio::time::timeout(LEAVING, lease.revoke()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "still listed in the registry, until its lease ends");
        }
        Err(_) => tracing::warn!("still listed in the registry, until its lease ends"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn addresses_can_be_called() {
        let process = Process {
            host: "h1".into(),
            ..Process::new("demo", "1.0.0")
        };
        let process = process
            .listening("rest", "https", "0.0.0.0:8083".parse().unwrap())
            .listening("grpc", "http", "[::1]:50053".parse().unwrap());
        assert_eq!(process.addresses["rest"], "https://h1:8083");
        assert_eq!(process.addresses["grpc"], "http://[::1]:50053");
        assert_eq!(process.key(), format!("demo/{}", process.instance));
    }

    #[test]
    fn records_of_the_first_version_are_read() {
        let stored = br#"{"v":1,"service":"iam","instance":"ins-01932f00-0000-7000-8000-000000000000","version":"0.1.0",
            "host":"h1","addresses":{"rest":"http://127.0.0.1:8083"},"started_at":"2026-11-22T12:00:00Z"}"#;
        let (process, _) =
            codec::decode::<Process>("/k", &bytes::Bytes::from_static(stored)).unwrap();
        assert_eq!(
            (process.service.as_str(), process.host.as_str()),
            ("iam", "h1")
        );
    }
}
