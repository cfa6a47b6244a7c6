//! A watch that does not end: it resumes after a broken connection and lists again after a compaction.
//!
//! ```text
//!   Begin ──list (pages of one revision R)──> Snapshot ──> Resume(R)
//!   Resume(r) ──store verified, watch from r accepted──> Live(r) ──> Synced
//!   Live(r) ──events──> Live(r')        ──connection lost──> Resume(r)      ──compacted──> Begin
//! ```
//!
//! The watch begins at `r` itself, and what is known of it is left out: of one that begins in the future the server does
//! not say how far it is.
//!
//! `r` only moves when everything up to it has been put in the queue, and the next answer is read only when
//! the queue is empty: nothing is lost and nothing comes twice over a reconnection. The server never splits
//! the events of one revision (fragments are not asked for).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, GetOptions, WatchOptions, WatchResponse, WatchStream};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::store::Store;
use crate::witness::{Freshness, Header};
use crate::{Error, Result, key};

/// Rows of one answer of the store while listing.
const ROWS: i64 = 1000;

/// When a question for progress that was not answered is asked again.
const ANSWER: Duration = Duration::from_secs(10);

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The absolute key, without the store's prefix.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Revision of its creation.
    pub create_revision: i64,
    /// Revision of its last change.
    pub revision: i64,
    /// Its lease, 0 for none.
    pub lease: i64,
}

/// What a feed tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// Everything there is at a revision. Replaces whatever was known: what is not in it is gone.
    Snapshot {
        /// The entries, by key.
        entries: Vec<Entry>,
        /// The moment.
        revision: i64,
    },
    /// An entry was written.
    Put(Entry),
    /// An entry was removed.
    Delete {
        /// Its key.
        key: String,
        /// When.
        revision: i64,
    },
    /// Everything up to this revision has been told.
    Synced {
        /// The moment.
        revision: i64,
    },
}

enum Phase {
    Begin,
    Resume(i64),
    Live(i64, Box<WatchStream>),
}

/// An endless watch over a key prefix. See [`Store::feed`].
pub struct Feed {
    store: Store,
    prefix: String,
    phase: Phase,
    queue: VecDeque<FeedEvent>,
    backoff: Backoff,
    /// When the question for progress was sent that this connection has not answered.
    asked: Option<Instant>,
    current: Option<Instant>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("prefix", &self.prefix)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl Feed {
    pub(crate) fn new(store: Store, prefix: String) -> Self {
        Self {
            store,
            prefix,
            phase: Phase::Begin,
            queue: VecDeque::new(),
            backoff: Backoff::outage(),
            asked: None,
            current: None,
        }
    }

    /// Begins after a revision instead of with a snapshot.
    #[must_use]
    pub fn after(mut self, revision: i64) -> Self {
        self.phase = Phase::Resume(revision);
        self
    }

    /// Whether a watch stands at this moment. Changes are told only while it does.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Live(..))
    }

    /// The next event. Waits as long as nothing happens; while the store cannot be reached it keeps trying. Nothing is
    /// lost if the future is dropped.
    ///
    /// # Errors
    /// Only what trying again does not help against: [`Error::StoreChanged`], [`Error::Denied`],
    /// [`Error::Protocol`]. The feed may be asked again afterwards and goes on where it stood, but begins again after
    /// [`Error::StoreChanged`].
    pub async fn next(&mut self) -> Result<FeedEvent> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            match self.advance().await {
                Ok(()) => self.backoff = Backoff::outage(),
                Err(Error::Unavailable { reason }) => {
                    tracing::debug!(prefix = self.prefix, reason, "watch interrupted");
                    self.interrupted();
                    tokio::time::sleep(self.backoff.next()).await;
                }
                Err(Error::Compacted) => {
                    tracing::info!(
                        prefix = self.prefix,
                        "watch fell behind a compaction, listing"
                    );
                    self.asked = None;
                    self.phase = Phase::Begin;
                }
                Err(error) => {
                    self.interrupted();
                    if matches!(error, Error::StoreChanged(_)) {
                        // Once that is accepted, nothing of what was known is worth anything.
                        self.phase = Phase::Begin;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The next events that belong together: at least one, and all of a revision or none of it. Otherwise as
    /// [`Feed::next`].
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn next_batch(&mut self) -> Result<Vec<FeedEvent>> {
        let first = self.next().await?;
        // One answer of the store is queued as a whole, and never splits a revision.
        Ok(std::iter::once(first).chain(self.queue.drain(..)).collect())
    }

    /// Asks the store how far the watch has come; [`FeedEvent::Synced`] answers it, once everything before it has been
    /// told. While no watch stands, or an answer is still to come, nothing is asked. So a feed that is silent because
    /// nothing happens can be told from one whose store is gone: [`Feed::current_as_of`] moves on.
    pub async fn request_progress(&mut self) {
        let now = Instant::now();
        // Answers do not say what they answer: with one question at a time there is no doubt.
        if self.asked.is_some_and(|asked| now < asked + ANSWER) {
            return;
        }
        let Phase::Live(_, stream) = &mut self.phase else {
            return;
        };
        match stream.request_progress().await {
            // If it is the second time, the answer may be to the first.
            Ok(()) => self.asked = self.asked.or(Some(now)),
            Err(error) => {
                tracing::debug!(prefix = self.prefix, %error, "watch interrupted");
                self.interrupted();
            }
        }
    }

    /// Everything that had happened by then has been told, or waits in the queue that [`Feed::next_batch`] empties:
    /// when the last list began, or the last question for progress that was answered was asked. `None` before the first.
    pub fn current_as_of(&self) -> Option<Instant> {
        self.current
    }

    fn interrupted(&mut self) {
        self.asked = None;
        if let Phase::Live(revision, _) = self.phase {
            self.phase = Phase::Resume(revision);
        }
    }

    /// One step. All changes of `self` happen after the last await, so that a dropped future changes nothing.
    async fn advance(&mut self) -> Result<()> {
        match &mut self.phase {
            Phase::Begin => {
                let began = Instant::now();
                let (entries, revision) = list(&self.store, &self.prefix).await?;
                self.current = Some(began);
                self.queue
                    .push_back(FeedEvent::Snapshot { entries, revision });
                self.phase = Phase::Resume(revision);
            }
            Phase::Resume(revision) => {
                let revision = *revision;
                // A store that went back would keep us waiting for a revision it may reach in years.
                self.store.verify().await?;
                let stream = open(&self.store, &self.prefix, revision).await?;
                self.queue.push_back(FeedEvent::Synced { revision });
                self.phase = Phase::Live(revision, Box::new(stream));
            }
            Phase::Live(_, stream) => {
                let message = stream.message().await.map_err(Error::of_read)?;
                let response = message.ok_or_else(ended)?;
                self.take(&response)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, response: &WatchResponse) -> Result<()> {
        let header = look(&self.store, response)?;
        let known = match self.phase {
            Phase::Live(revision, _) => revision,
            Phase::Begin | Phase::Resume(_) => 0,
        };
        let mut events = Vec::with_capacity(response.events().len());
        let mut reached = 0;
        for event in response.events() {
            let kv = event
                .kv()
                .ok_or_else(|| Error::Protocol("an event without a key".into()))?;
            if kv.mod_revision() <= known {
                continue;
            }
            reached = reached.max(kv.mod_revision());
            events.push(match event.event_type() {
                EventType::Put => FeedEvent::Put(self.store.entry(kv)?),
                EventType::Delete => FeedEvent::Delete {
                    key: self.store.stripped(kv.key())?,
                    revision: kv.mod_revision(),
                },
            });
        }
        if response.events().is_empty() && !response.created() {
            // A progress notice: nothing is undelivered up to the header's revision.
            reached = header.revision;
            self.current = self.asked.take().or(self.current);
            events.push(FeedEvent::Synced { revision: reached });
        }
        if let Phase::Live(revision, _) = &mut self.phase {
            *revision = (*revision).max(reached);
        }
        self.queue.extend(events);
        Ok(())
    }
}

/// All entries at one revision.
async fn list(store: &Store, prefix: &str) -> Result<(Vec<Entry>, i64)> {
    let mut from = store.full(prefix);
    let end = key::prefix_end(&from);
    let mut entries = Vec::new();
    let mut revision = 0;
    loop {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_limit(ROWS)
            .with_revision(revision);
        let answer = store.range_raw(from, options).await?;
        if revision == 0 {
            revision = Header::of(answer.header())?.revision;
        }
        for kv in answer.kvs() {
            entries.push(store.entry(kv)?);
        }
        match answer.kvs().last().filter(|_| answer.more()) {
            Some(last) => from = key::after(last.key()),
            None => return Ok((entries, revision)),
        }
    }
}

/// A watch that the store has accepted.
async fn open(store: &Store, prefix: &str, revision: i64) -> Result<WatchStream> {
    let limit = store.options().request_timeout;
    let from = store.full(prefix);
    let options = WatchOptions::new()
        .with_range(key::prefix_end(&from))
        .with_start_revision(revision.max(1))
        .with_progress_notify();
    let opening = async {
        let mut client = store.watch_client();
        let mut stream = client
            .watch(from, Some(options))
            .await
            .map_err(Error::of_read)?;
        let created = stream.message().await.map_err(Error::of_read)?;
        look(store, &created.ok_or_else(ended)?)?;
        Ok(stream)
    };
    tokio::time::timeout(limit, opening)
        .await
        .map_err(|_| Error::no_answer_to_read(limit))?
}

/// The header, unless the answer ends the watch.
fn look(store: &Store, response: &WatchResponse) -> Result<Header> {
    let header = Header::of(response.header())?;
    store.witness().observe(header, Freshness::Any)?;
    if response.compact_revision() > 0 {
        return Err(Error::Compacted);
    }
    if response.canceled() {
        let reason = response.cancel_reason().to_owned();
        // The server has only a text here; this one is in etcd's published list of errors.
        return Err(if reason.contains("permission denied") {
            Error::Denied { reason }
        } else {
            Error::Unavailable { reason }
        });
    }
    Ok(header)
}

fn ended() -> Error {
    Error::Unavailable {
        reason: "the store ended the watch".into(),
    }
}
