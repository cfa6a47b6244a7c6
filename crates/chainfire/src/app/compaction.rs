//! Automatic compaction: the leader gives up history older than the configured retention.
//!
//! Revisions carry no time, so the leader notes which revision it saw when. After a change of leadership the
//! new leader's notes start anew, and history is kept longer than configured, never shorter.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use chainfire_engine::EtcdError;
use photon_proto::{etcdserverpb::CompactionRequest, photon::chainfire::command::v1::command::Op};
use photon_raft::Role;
use tokio::time::Instant;

use super::{App, Caller};

/// Notes taken per retention period: history is kept for the retention plus at most this part of it.
const NOTES_PER_RETENTION: u32 = 24;

/// Revisions by when they were the newest.
#[derive(Default, Debug)]
struct Notes(VecDeque<(Instant, i64)>);

impl Notes {
    fn add(&mut self, now: Instant, revision: i64) {
        if self.0.back().is_none_or(|(_, newest)| *newest != revision) {
            self.0.push_back((now, revision));
        }
    }

    /// The newest revision that everything younger than `retention` can do without, if there is one.
    fn take_older(&mut self, now: Instant, retention: Duration) -> Option<i64> {
        let mut found = None;
        // A revision was the newest until the next note; it may go when that moment is old enough.
        while let [Some(_), Some((replaced, _))] = [self.0.front(), self.0.get(1)]
            && now.duration_since(*replaced) >= retention
        {
            found = self.0.pop_front().map(|(_, revision)| revision);
        }
        found
    }
}

/// Runs for the life of the node; acts only while it leads.
pub(super) async fn compact_while_leading(app: Arc<App>) {
    if let Some(retention) = app.config.history_retention() {
        compact_older_than(app, retention).await;
    }
}

async fn compact_older_than(app: Arc<App>, retention: Duration) {
    let mut notes = Notes::default();
    let mut tick = tokio::time::interval(retention / NOTES_PER_RETENTION);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if app.raft.borrow().role != Role::Leader {
            notes = Notes::default();
            continue;
        }
        let now = Instant::now();
        notes.add(now, app.engine.revision());
        if let Some(revision) = notes.take_older(now, retention)
            && revision > app.engine.compacted()
        {
            let compact = Op::Compact(CompactionRequest {
                revision,
                physical: false,
            });
            match app.propose(&Caller::SYSTEM, compact).await {
                Ok(_) => tracing::info!(revision, "history compacted"),
                Err(error) if error == EtcdError::COMPACTED => {}
                Err(error) => tracing::warn!(revision, %error, "automatic compaction failed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_proto::etcdserverpb::{PutRequest, RangeRequest};
    use photon_testkit::poll::eventually_true;

    use super::*;
    use crate::{
        config::Config,
        run::{self, Sockets},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_was_the_newest_within_the_retention_stays() {
        let start = Instant::now();
        let mut notes = Notes::default();
        for hour in 0..=24 {
            notes.add(start + HOUR * hour, i64::from(hour) * 10);
            assert_eq!(notes.take_older(start + HOUR * hour, 24 * HOUR), None);
        }
        notes.add(start + HOUR * 25, 250);
        assert_eq!(
            notes.take_older(start + HOUR * 25, 24 * HOUR),
            Some(0),
            "revision 0 was replaced 24 hours ago"
        );
        assert_eq!(notes.take_older(start + HOUR * 27, 24 * HOUR), Some(20));
    }

    #[test]
    fn an_idle_store_keeps_its_newest_revision() {
        let start = Instant::now();
        let mut notes = Notes::default();
        for hour in 0..100 {
            notes.add(start + HOUR * hour, 7);
            assert_eq!(notes.take_older(start + HOUR * hour, 24 * HOUR), None);
        }
    }

    /// With hours of retention by the configuration, and fractions of a second here: what is old goes by itself, and
    /// an idle store keeps what it has.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_leader_gives_up_old_history() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("data"));
        for address in [
            &mut config.rest.address,
            &mut config.grpc.address,
            &mut config.peer.address,
        ] {
            address.set_port(0);
        }
        let node = run::start(config, Sockets::default()).await.unwrap();
        let app = Arc::clone(node.app());
        assert_eq!(app.config.history_retention(), Some(24 * HOUR));
        app.spawn(compact_older_than(
            Arc::clone(&app),
            Duration::from_millis(240),
        ));
        let caller = Caller::SYSTEM;
        let put = |value: i32| PutRequest {
            key: "k".into(),
            value: value.to_string().into(),
            ..PutRequest::default()
        };
        let first = app.put(&caller, put(0)).await.unwrap();
        let first = first.header.unwrap().revision;
        // One write after the other: a revision ages once it has been replaced.
        let compacted = eventually_true("old history goes", Duration::from_secs(30), || async {
            app.put(&caller, put(1)).await.unwrap();
            app.engine.compacted() >= first
        });
        compacted.await.unwrap();
        let newest = app.engine.revision();
        let read = |revision| {
            app.range(
                &caller,
                RangeRequest {
                    key: "k".into(),
                    revision,
                    ..RangeRequest::default()
                },
            )
        };
        let refused = read(first - 1).await.unwrap_err();
        assert_eq!(refused, EtcdError::COMPACTED);
        assert_eq!(read(newest).await.unwrap().kvs.len(), 1);
        assert!(app.engine.compacted() < newest);
        node.stop().await;
    }
}
