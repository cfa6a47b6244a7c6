//! A followed range, for both of our own doors: every revision once, whole, in order.
//!
//! ```text
//!   Ready(r) -> Change(r1) -> Change(r2) -> Progress(r3) -> … -> an error, which is the last
//! ```
//! A watch from "now" is pinned to the revision this member has when it begins, and `Ready` says which: who comes
//! back with the revision it saw last misses nothing.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use chainfire_engine::watch::{CreateError, WatchItem, WatchSpec};
use photon_core::{Code, Error};
use photon_proto::mvccpb::Event;

use super::{
    error::{compacted, from_etcd},
    scan::Span,
};
use crate::app::{App, Caller, WatchRefused, WatchSession, WatchUpdates, lost_rights};

/// What to follow.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) span: Span,
    /// First revision to hear of; 0: from now on.
    pub(crate) from_revision: i64,
    pub(crate) with_previous: bool,
}

/// What is heard.
#[derive(Debug)]
pub(crate) enum Update {
    /// The watch stands: every change after `revision` follows.
    Ready { revision: i64 },
    /// Everything of one revision that lies in the range.
    Change { revision: i64, events: Vec<Event> },
    /// Nothing more has happened up to `revision`.
    Progress { revision: i64 },
}

/// A running watch. Dropping it ends it.
pub(crate) struct Changes {
    app: Arc<App>,
    /// Keeps the watch alive.
    _session: WatchSession,
    updates: WatchUpdates,
    ready: Option<i64>,
    /// Revisions that came in one piece, one by one.
    waiting: VecDeque<Update>,
    /// Done when this member has lost its leader for so long that another one should be asked.
    leader_lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl Changes {
    /// Starts to follow a range.
    ///
    /// # Errors
    /// A validation error on `from_revision` or the range; `FORBIDDEN`; `COMPACTED` when the history asked for is gone;
    /// `OVERLOADED` when there are too many watches; `NO_QUORUM` without a leader.
    pub(crate) async fn open(
        app: &Arc<App>,
        caller: Caller,
        follow: Follow,
    ) -> Result<Self, Error> {
        if follow.from_revision < 0 {
            return Err(Error::validation(
                "from_revision",
                "minimum",
                "from_revision is at least 0",
            ));
        }
        let (session, updates) = app.watch(caller).map_err(from_etcd)?;
        if !app.comes_to_be_led().await {
            return Err(leaderless());
        }
        let start = match follow.from_revision {
            0 => app.engine().revision() + 1,
            revision => revision,
        };
        let spec = WatchSpec {
            key: follow.span.key,
            range_end: follow.span.range_end,
            start_revision: start,
            prev_kv: follow.with_previous,
            progress_notify: true,
            ..WatchSpec::default()
        };
        session.create(spec).map_err(refused)?;
        // Asked after the watch was taken on: whatever is compacted from now on ends it with an error.
        let oldest = app.engine().compacted();
        if start < oldest {
            return Err(compacted(oldest));
        }
        let losing = Arc::clone(app);
        Ok(Self {
            leader_lost: Box::pin(async move { losing.leader_lost().await }),
            app: Arc::clone(app),
            _session: session,
            updates,
            ready: Some(start - 1),
            waiting: VecDeque::new(),
            ended: false,
        })
    }

    /// The next update; `None` after an error. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Update, Error>> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(revision) = self.ready.take() {
                return Some(Ok(Update::Ready { revision }));
            }
            if let Some(update) = self.waiting.pop_front() {
                return Some(Ok(update));
            }
            let item = tokio::select! {
                () = self.app.stopping().cancelled() => return self.end(stopping()),
                () = &mut self.leader_lost => return self.end(leaderless()),
                item = self.updates.recv() => item,
            };
            let Some(item) = item else {
                return self.end(stopping());
            };
            match item {
                WatchItem::Created { .. } => {}
                WatchItem::Events { events, .. } => self.waiting = by_revision(events),
                WatchItem::Progress { revision, .. } => {
                    return Some(Ok(Update::Progress { revision }));
                }
                WatchItem::Compacted {
                    compact_revision, ..
                } => return self.end(compacted(compact_revision)),
                WatchItem::Rejected { reason, .. } | WatchItem::Canceled { reason, .. } => {
                    return self.end(canceled(&reason));
                }
            }
        }
    }

    fn end(&mut self, error: Error) -> Option<Result<Update, Error>> {
        self.ended = true;
        Some(Err(error))
    }
}

/// Splits whole revisions that came together.
fn by_revision(events: Vec<Event>) -> VecDeque<Update> {
    let mut updates: VecDeque<Update> = VecDeque::new();
    for event in events {
        let at = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        match updates.back_mut() {
            Some(Update::Change { revision, events }) if *revision == at => events.push(event),
            _ => updates.push_back(Update::Change {
                revision: at,
                events: vec![event],
            }),
        }
    }
    updates
}

/// This member may be cut off from its cluster, and another one can serve its watches. etcd tells the same to
/// watches that require a leader.
fn leaderless() -> Error {
    let text = "no quorum: this member has no leader with a majority; watch another member";
    Error::new(Code::NO_QUORUM, text)
}

fn stopping() -> Error {
    Error::unavailable("this member stops; watch another member")
}

fn canceled(reason: &str) -> Error {
    if let Some(error) = lost_rights(reason) {
        return from_etcd(error);
    }
    Error::new(Code::OVERLOADED, format!("the watch was ended: {reason}"))
}

fn refused(refused: WatchRefused) -> Error {
    match refused {
        WatchRefused::Rights(error) => from_etcd(error),
        WatchRefused::Hub(CreateError::TooMany | CreateError::Closed) => Error::new(
            Code::OVERLOADED,
            "this member serves as many watches as it may",
        ),
        WatchRefused::Hub(error) => Error::new(Code::VALIDATION_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use photon_proto::mvccpb::KeyValue;

    use super::*;

    #[test]
    fn revisions_that_come_together_are_told_apart() {
        let event = |key: &str, revision| Event {
            kv: Some(KeyValue {
                key: key.to_owned().into(),
                mod_revision: revision,
                ..KeyValue::default()
            }),
            ..Event::default()
        };
        let updates = by_revision(vec![event("a", 3), event("b", 3), event("a", 4)]);
        let told: Vec<_> = updates
            .iter()
            .map(|update| match update {
                Update::Change { revision, events } => (*revision, events.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told, [(3, 2), (4, 1)]);
    }
}
