//! The watchers of one sequence, all on one stream.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use photon_proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse,
    watch_create_request::FilterType, watch_request::RequestUnion,
};
use photon_proto::mvccpb::{Event, event::EventType};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;

use super::generate::KEYS;
use super::normal::Normal;
use super::server::Server;
use super::session::written;

/// What one watcher saw.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The id it got.
    pub(crate) watch_id: i64,
    /// The revision it began at, if that was the compacted one, as it is written.
    pub(crate) from_compacted: Option<i64>,
    /// Its events, normalised, in order.
    pub(crate) events: Vec<Event>,
    /// How it ended: the compacted revision and the reason given.
    pub(crate) cancelled: Option<(i64, String)>,
    /// Events of one revision came in several answers without being marked as fragments.
    pub(crate) torn_revision: bool,
}

struct Watcher {
    request: WatchCreateRequest,
    seen: Seen,
    /// Greatest revision of its events, as the server counts.
    last: i64,
    /// The last answer was a fragment.
    fragment: bool,
}

impl Watcher {
    fn alive(&self) -> bool {
        self.seen.cancelled.is_none()
    }

    /// Which of the two last revisions it is going to see, given that one put all keys and one deleted them.
    fn last_expected(&self, put: i64, deleted: i64) -> Option<i64> {
        let filtered = |kind: FilterType| self.request.filters.contains(&(kind as i32));
        let covers = KEYS.iter().any(|key| covers(&self.request, key));
        let from = self.request.start_revision;
        if !covers {
            None
        } else if !filtered(FilterType::Nodelete) && from <= deleted {
            Some(deleted)
        } else if !filtered(FilterType::Noput) && from <= put {
            Some(put)
        } else {
            None
        }
    }
}

fn covers(request: &WatchCreateRequest, key: &[u8]) -> bool {
    // etcd reads an empty key as the first possible one.
    let start: &[u8] = if request.key.is_empty() {
        b"\0"
    } else {
        &request.key
    };
    match &request.range_end[..] {
        b"" => key == start,
        b"\0" => key >= start,
        end => key >= start && key < end,
    }
}

/// A watch stream and its watchers.
pub(crate) struct Watching {
    server: Server,
    base: i64,
    /// Opened with the first request: etcd does not even send headers before it has something to say.
    stream: Option<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>)>,
    /// In the order of their creation; a cancelled one's id may be given again.
    watchers: Vec<Watcher>,
    /// Index of the latest watcher with an id.
    by_id: BTreeMap<i64, usize>,
}

impl Watching {
    /// No watcher yet, for a sequence that began at revision `base`.
    pub(crate) fn new(server: &Server, base: i64) -> Self {
        Self {
            server: server.clone(),
            base,
            stream: None,
            watchers: Vec::new(),
            by_id: BTreeMap::new(),
        }
    }

    /// Creates a watcher and returns the answer to that, in text. `compacted` is what was compacted before.
    ///
    /// # Errors
    /// When the stream breaks.
    pub(crate) async fn create(
        &mut self,
        request: WatchCreateRequest,
        compacted: i64,
    ) -> anyhow::Result<String> {
        let request_start = request.start_revision;
        let doomed = request.start_revision != 0 && request.start_revision < compacted;
        self.send(RequestUnion::CreateRequest(request.clone()))
            .await?;
        let created = loop {
            let answer = self.next().await?;
            if answer.created {
                break answer;
            }
            self.take(answer)?;
        };
        let revision = created
            .header
            .as_ref()
            .map(|header| written(header.revision, self.base));
        if !created.canceled {
            self.by_id.insert(created.watch_id, self.watchers.len());
            self.watchers.push(Watcher {
                request,
                seen: Seen {
                    watch_id: created.watch_id,
                    from_compacted: (request_start == compacted)
                        .then(|| written(compacted, self.base)),
                    events: Vec::new(),
                    cancelled: None,
                    torn_revision: false,
                },
                last: 0,
                fragment: false,
            });
            // It begins before what is compacted: its cancellation follows, and is waited for.
            let index = self.watchers.len() - 1;
            while doomed && self.watchers[index].alive() {
                let answer = self.next().await?;
                self.take(answer)?;
            }
        }
        Ok(format!(
            "created id {} revision {revision:?} cancelled {} compacted {} reason {:?} events {}",
            created.watch_id,
            created.canceled,
            written(created.compact_revision, self.base),
            created.cancel_reason,
            created.events.len()
        ))
    }

    /// Cancels a watcher that lives and has caught up (a cancel on top of events or another cancel would race).
    ///
    /// # Errors
    /// When the stream breaks.
    pub(crate) async fn cancel(&mut self, watch_id: i64) -> anyhow::Result<String> {
        let Some(&index) = self.by_id.get(&watch_id) else {
            return Ok("no such watcher".to_owned());
        };
        if !self.watchers[index].alive() {
            return Ok("no such watcher".to_owned());
        }
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
            .await?;
        while self.watchers[index].alive() {
            let answer = self.next().await?;
            self.take(answer)?;
        }
        self.by_id.remove(&watch_id);
        Ok("cancelled".to_owned())
    }

    /// Whether a watcher is left that may see something.
    pub(crate) fn any_alive(&self) -> bool {
        self.watchers.iter().any(Watcher::alive)
    }

    /// Waits until every living watcher has seen its last event, given the revisions of a put and a delete of all keys.
    ///
    /// # Errors
    /// When a watcher does not see it in time.
    pub(crate) async fn caught_up(
        &mut self,
        put: i64,
        deleted: i64,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + deadline;
        while let Some(waiting) = self.watchers.iter().find(|watcher| {
            let expected = watcher.last_expected(put, deleted).unwrap_or(0);
            watcher.alive() && watcher.last < expected
        }) {
            let waiting = format!("{:?} got {:?}", waiting.request, waiting.seen);
            match tokio::time::timeout_at(until, self.next()).await {
                Ok(answer) => self.take(answer?)?,
                Err(_) => bail!("a watcher misses its last events: {waiting}"),
            }
        }
        Ok(())
    }

    /// What all watchers saw.
    pub(crate) fn seen(self) -> Vec<Seen> {
        self.watchers
            .into_iter()
            .map(|watcher| watcher.seen)
            .collect()
    }

    async fn send(&mut self, request: RequestUnion) -> anyhow::Result<()> {
        let request = WatchRequest {
            request_union: Some(request),
        };
        if let Some((requests, _)) = &self.stream {
            return requests
                .send(request)
                .await
                .context("the watch stream has ended");
        }
        let (requests, receive) = mpsc::channel(16);
        requests.send(request).await?;
        let outgoing = tokio_stream::wrappers::ReceiverStream::new(receive);
        let answers = self.server.watch().watch(outgoing).await?.into_inner();
        self.stream = Some((requests, answers));
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<WatchResponse> {
        let (_, answers) = self.stream.as_mut().context("no watch stream")?;
        answers
            .message()
            .await?
            .context("the watch stream has ended")
    }

    fn take(&mut self, answer: WatchResponse) -> anyhow::Result<()> {
        let Some(&index) = self.by_id.get(&answer.watch_id) else {
            bail!("an answer for a watcher that was not created: {answer:?}");
        };
        let watcher = &mut self.watchers[index];
        if answer.canceled {
            let compacted = written(answer.compact_revision, self.base);
            watcher.seen.cancelled = Some((compacted, answer.cancel_reason));
            return Ok(());
        }
        let before = watcher.last;
        let continues = watcher.fragment;
        for mut event in answer.events {
            let kv = event.kv.as_ref().context("an event without a key")?;
            let revision = kv.mod_revision;
            if revision < watcher.last {
                bail!("revision {revision} after {}", watcher.last);
            }
            // Only a fragment may continue the revision of the answer before it.
            watcher.seen.torn_revision |= revision == before && !continues;
            watcher.last = revision;
            EventType::try_from(event.r#type)?;
            event.normalise(self.base);
            watcher.seen.events.push(event);
        }
        watcher.fragment = answer.fragment;
        Ok(())
    }
}
