//! The connection: deadlines, safe retries, and the witness on every answer.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, GetResponse, Identity,
    KvClient, TlsOptions, Txn, TxnOp, TxnResponse,
};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::collection::Collection;
use crate::feed::{Entry, Feed};
use crate::record::{Record, WriteGate};
use crate::transaction::Transaction;
use crate::witness::{Change, Freshness, Header, Seen, Witness};
use crate::{Error, Result, key};

/// The key that tells one life of a store from another: ChainFire writes a new value when it is set up or restored; on a
/// plain etcd [`Store::ensure_identity`] writes it once. Every client may read it.
pub const IDENTITY_KEY: &str = "/photon/chainfire/public/incarnation";

/// A key that no service is granted.
const UNGRANTED_KEY: &str = "/photon/granted-to-nobody";

/// Answers larger than this are refused by the client (etcd itself sends without limit).
const LARGEST_ANSWER: usize = 1 << 30;
const CONNECT: Duration = Duration::from_secs(2);
/// etcd closes connections that ping more often than every 5 s.
const PING: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(5);

/// Certificates for a store over TLS, PEM.
#[derive(Clone)]
pub struct Tls {
    /// The authority that issued the servers' certificates.
    pub authority: Vec<u8>,
    /// Our certificate chain and key; its common name is the etcd user.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name to expect in the servers' certificates if it is not the host in the URL.
    pub server_name: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key must not end up in a log.
        f.debug_struct("Tls")
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// How to reach a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Client URLs of the members, `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// Required for `https`.
    pub tls: Option<Tls>,
    /// Put before every key, e.g. to keep test runs apart; usually empty. No trailing slash.
    pub prefix: String,
    /// What was remembered of the store; `None` believes whatever answers first.
    pub seen: Option<Seen>,
    /// Deadline of one call, all its retries included.
    pub request_timeout: Duration,
    /// Deadline of an update that keeps losing against other writers.
    pub contention_timeout: Duration,
    /// Up to which version records are written.
    pub gate: WriteGate,
}

impl Options {
    /// These endpoints without TLS and prefix, 5 s for a call, 30 s under contention.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            prefix: String::new(),
            seen: None,
            request_timeout: Duration::from_secs(5),
            contention_timeout: Duration::from_secs(30),
            gate: WriteGate::default(),
        }
    }
}

/// A connected store. Clones share the connection and what has been seen.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    connection: RwLock<Connection>,
    options: Options,
    witness: Witness,
}

/// The clients of one set of certificates.
#[derive(Clone)]
struct Connection {
    client: Client,
    kv: KvClient,
}

impl Connection {
    async fn open(options: &Options, tls: Option<&Tls>) -> Result<Self> {
        let client = Client::connect(&options.endpoints, Some(connect_options(tls)))
            .await
            .map_err(|error| Error::Protocol(format!("cannot use the endpoints: {error}")))?;
        let kv = client
            .kv_client()
            .max_decoding_message_size(LARGEST_ANSWER)
            .max_encoding_message_size(LARGEST_ANSWER);
        Ok(Self { client, kv })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("endpoints", &self.0.options.endpoints)
            .field("seen", &self.seen())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Connects, waits until the store answers, and compares it with what is remembered.
    ///
    /// A store that has changed is no error here, so that it can be accepted: every later call refuses.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when nothing answers within the request timeout, [`Error::Protocol`] for options
    /// that make no sense.
    pub async fn connect(options: Options) -> Result<Self> {
        // Boxed: connecting and asking make a large future, which everything that starts would hold.
        Box::pin(Self::connect_and_verify(options)).await
    }

    async fn connect_and_verify(options: Options) -> Result<Self> {
        if options.endpoints.is_empty() {
            return Err(Error::Protocol("no endpoints of the store given".into()));
        }
        if !options.prefix.is_empty() {
            key::check(&options.prefix)?;
        }
        let connection = Connection::open(&options, options.tls.as_ref()).await?;
        let store = Self(Arc::new(Inner {
            connection: RwLock::new(connection),
            witness: Witness::new(options.seen.clone()),
            options,
        }));
        match store.verify().await {
            Ok(()) | Err(Error::StoreChanged(_)) => Ok(store),
            Err(error) => Err(error),
        }
    }

    /// One that nothing may be asked of.
    #[cfg(test)]
    pub(crate) async fn unasked() -> Result<Self> {
        let options = Options::new(["http://127.0.0.1:1"]);
        Ok(Self(Arc::new(Inner {
            connection: RwLock::new(Connection::open(&options, None).await?),
            witness: Witness::new(None),
            options,
        })))
    }

    /// The records of one type.
    pub fn collection<T: Record>(&self) -> Collection<T> {
        Collection::new(self.clone())
    }

    /// Several writes with one outcome.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Watches raw entries below an absolute key prefix; see [`Collection::watch`] for records.
    pub fn feed(&self, prefix: &str) -> Feed {
        Feed::new(self.clone(), prefix.to_owned())
    }

    /// What is known of the store, to be kept by an agent over its own restart.
    pub fn seen(&self) -> Option<Seen> {
        self.0.witness.seen()
    }

    /// How the store has changed, if it has: then everything is refused.
    pub fn change(&self) -> Option<Change> {
        self.0.witness.changed()
    }

    /// Accepts the store as it is now, forgets the one known before, and returns the new memory. Only on a person's word.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn accept_change(&self) -> Result<Option<Seen>> {
        self.0.witness.accept();
        self.verify().await?;
        Ok(self.seen())
    }

    /// Asks the store who it is.
    ///
    /// # Errors
    /// [`Error::StoreChanged`] when it is not the one known before.
    pub async fn verify(&self) -> Result<()> {
        let found = match self.range_raw(IDENTITY_KEY.into(), GetOptions::new()).await {
            Ok(response) => response.kvs().first().map(|kv| text(kv.value())),
            // Watching the cluster id and the revision is all that is left then.
            Err(Error::Denied { reason }) => {
                tracing::warn!(reason, "the store's identity may not be read");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.0.witness.observe_incarnation(found)
    }

    /// Gives a store without an identity one, and returns the identity it has. For setting up a plain etcd; ChainFire
    /// has one from the start.
    ///
    /// # Errors
    /// As any write.
    pub async fn ensure_identity(&self) -> Result<String> {
        self.verify().await?;
        if let Some(incarnation) = self.seen().and_then(|seen| seen.incarnation) {
            return Ok(incarnation);
        }
        let new = format!("{:032x}", rand::random::<u128>());
        let txn = Txn::new()
            .when([Compare::version(IDENTITY_KEY, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(IDENTITY_KEY, new, None)]);
        self.txn_raw(txn).await?; // losing against another writer is as good
        self.verify().await?;
        self.seen()
            .and_then(|seen| seen.incarnation)
            .ok_or_else(|| Error::Protocol("the identity just written is not there".into()))
    }

    /// Whether the store refuses what nobody grants a service: users and roles are on, and this is not its root.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_guarded(&self) -> Result<bool> {
        let options = GetOptions::new().with_keys_only();
        match self.range_raw(UNGRANTED_KEY.into(), options).await {
            Ok(_) => Ok(false),
            Err(Error::Denied { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Reads one raw entry by absolute key, linearizably.
    ///
    /// # Errors
    /// As any read.
    pub async fn get_raw(&self, key: &str) -> Result<Option<Entry>> {
        key::check(key)?;
        let response = self.range_raw(self.full(key), GetOptions::new()).await?;
        response.kvs().first().map(|kv| self.entry(kv)).transpose()
    }

    /// Goes on with other certificates: calls from now on use them, those under way and open watches end as they are.
    ///
    /// # Errors
    /// Certificates that cannot be used, or that the store refuses; then everything stays as it is.
    pub async fn replace_tls(&self, tls: &Tls) -> Result<()> {
        let connection = Connection::open(&self.0.options, Some(tls)).await?;
        // A connection is only made when it is used: one that does not work must not replace one that does.
        let mut kv = connection.kv.clone();
        let limit = self.0.options.request_timeout;
        match tokio::time::timeout(limit, kv.get(IDENTITY_KEY, None)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => match Error::of_read(error) {
                // It answered, so it has taken the certificate.
                Error::Denied { .. } => {}
                error => return Err(error),
            },
            Err(_) => return Err(Error::no_answer_to_read(limit)),
        }
        let mut current = self
            .0
            .connection
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = connection;
        Ok(())
    }

    fn connection(&self) -> Connection {
        let current = self.0.connection.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(crate) fn witness(&self) -> &Witness {
        &self.0.witness
    }

    pub(crate) fn client(&self) -> Client {
        self.connection().client
    }

    pub(crate) fn watch_client(&self) -> etcd_client::WatchClient {
        self.connection()
            .client
            .watch_client()
            .max_decoding_message_size(LARGEST_ANSWER)
    }

    /// An absolute key with the store's prefix.
    pub(crate) fn full(&self, key: &str) -> Vec<u8> {
        [self.0.options.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// A raw entry with the store's prefix taken off its key.
    pub(crate) fn entry(&self, kv: &etcd_client::KeyValue) -> Result<Entry> {
        Ok(Entry {
            key: self.stripped(kv.key())?,
            value: Bytes::copy_from_slice(kv.value()),
            create_revision: kv.create_revision(),
            revision: kv.mod_revision(),
            lease: kv.lease(),
        })
    }

    pub(crate) fn stripped(&self, key: &[u8]) -> Result<String> {
        let key = text(key);
        key.strip_prefix(&self.0.options.prefix)
            .map(str::to_owned)
            .ok_or_else(|| Error::Protocol(format!("the store answered with foreign key {key}")))
    }

    /// A linearizable range, tried again until the deadline: a read can be repeated.
    pub(crate) async fn range_raw(&self, key: Vec<u8>, options: GetOptions) -> Result<GetResponse> {
        let response = self
            .repeat(
                || {
                    let (mut kv, key, options) =
                        (self.connection().kv, key.clone(), options.clone());
                    async move { kv.get(key, Some(options)).await.map_err(Error::of_read) }
                },
                |response| Header::of(response.header()),
            )
            .await?;
        Ok(response)
    }

    /// A transaction, tried again only while it certainly did not reach a store.
    pub(crate) async fn txn_raw(&self, txn: Txn) -> Result<TxnResponse> {
        let limit = self.0.options.request_timeout;
        let end = Instant::now() + limit;
        let mut backoff = Backoff::outage();
        loop {
            let freshness = self.0.witness.before_request()?;
            let mut kv = self.connection().kv;
            let answer = tokio::time::timeout_at(end, kv.txn(txn.clone())).await;
            match answer {
                Ok(Ok(response)) => {
                    self.0
                        .witness
                        .observe(Header::of(response.header())?, freshness)?;
                    return Ok(response);
                }
                Ok(Err(error)) => match Error::of_write(error) {
                    error @ Error::Unavailable { .. } => {
                        if !backoff.pause_until(end).await {
                            return Err(error);
                        }
                    }
                    error => return Err(error),
                },
                Err(_) => return Err(Error::no_answer_to_write(limit)),
            }
        }
    }

    /// Repeats something that may be repeated until it answers or the request timeout ends. Each attempt has a third of
    /// the time, so that a member that hangs does not use up all of it.
    pub(crate) async fn repeat<R, F, Fut>(
        &self,
        attempt: F,
        header: impl Fn(&R) -> Result<Header>,
    ) -> Result<R>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<R>>,
    {
        let limit = self.0.options.request_timeout;
        let end = Instant::now() + limit;
        let mut backoff = Backoff::outage();
        loop {
            let freshness: Freshness = self.0.witness.before_request()?;
            let attempt_end = (Instant::now() + limit / 3).min(end);
            let error = match tokio::time::timeout_at(attempt_end, attempt()).await {
                Ok(Ok(response)) => {
                    self.0.witness.observe(header(&response)?, freshness)?;
                    return Ok(response);
                }
                Ok(Err(error @ Error::Unavailable { .. })) => error,
                Ok(Err(error)) => return Err(error),
                Err(_) => Error::no_answer_to_read(limit),
            };
            if !backoff.pause_until(end).await {
                return Err(error);
            }
        }
    }
}

fn connect_options(tls: Option<&Tls>) -> ConnectOptions {
    let mut connect = ConnectOptions::new()
        .with_connect_timeout(CONNECT)
        .with_keep_alive(PING, PING_ANSWER)
        .with_keep_alive_while_idle(true)
        // A member cut off from its peers refuses instead of leaving a watch silent.
        .with_require_leader(true);
    if let Some(tls) = tls {
        let mut config = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authority));
        if let Some((certificate, key)) = &tls.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = &tls.server_name {
            config = config.domain_name(name);
        }
        connect = connect.with_tls(config);
    }
    connect
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
