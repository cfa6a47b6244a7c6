//! The thread that brings lagging watchers up to date, sends periodic progress and drops the stalled.
//!
//! Each round takes watchers from the streams in turn, reads one piece of history at the first
//! one's cursor (from the ring, else from the disk, without any lock), and serves every taken watcher
//! whose cursor lies in that piece. So a thousand watchers that reconnect at the same revision cost
//! one read, and one that is far behind delays nobody by more than a piece.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Shared,
    matcher::Matcher,
    queue::Part,
    shared::Revision,
    state::{Lagging, Outcome, admitted, matches},
};
use crate::events::History;

/// Watchers served in one round, and of one stream.
const ROUND: usize = 512;
const ROUND_PER_STREAM: usize = 64;
/// One piece of history.
const PIECE_REVISIONS: usize = 1000;
const PIECE_BYTES: usize = 8 << 20;
/// Bytes of one message; larger only if one revision is. Below the 4 MiB most gRPC clients accept.
const MESSAGE_BYTES: usize = 1 << 20;
/// The longest pause between two looks at clocks.
const PAUSE: Duration = Duration::from_secs(1);

struct Piece {
    revisions: Vec<Arc<Revision>>,
    /// The first revision it does not cover.
    next: i64,
    /// Whether it came from the ring, where no compaction can have thinned it.
    from_ring: bool,
}

/// Runs until the hub is dropped or the history is gone.
pub(super) fn run(shared: &Shared) {
    let mut next_stall_check = Instant::now();
    loop {
        let now = Instant::now();
        let batch = {
            let mut state = shared.state.lock();
            if shared.stopping() {
                return;
            }
            let mut wake_at = now + PAUSE;
            if let Some(due) = state.notify_progress(now) {
                wake_at = wake_at.min(due);
            }
            if state.has_blocked() {
                if now >= next_stall_check {
                    let dropped = state.drop_stalled(now);
                    shared.forget(&dropped);
                    next_stall_check = now + (state.options.stall_timeout / 8).min(PAUSE);
                }
                wake_at = wake_at.min(next_stall_check);
            }
            if !state.has_lagging() {
                shared.work.wait_until(&mut state, wake_at);
                if shared.stopping() {
                    return;
                }
            }
            state.take_lagging(ROUND, ROUND_PER_STREAM)
        };
        if !batch.is_empty() {
            let Some(history) = shared.history.upgrade() else {
                return;
            };
            serve(shared, history.as_ref(), batch);
        }
    }
}

fn serve(shared: &Shared, history: &dyn History, batch: Vec<Lagging>) {
    let from = batch[0].cursor;
    let piece = match read(shared, history, from) {
        Ok(piece) => piece,
        Err(error) => {
            tracing::error!(%error, from, "reading history for watchers failed");
            let mut state = shared.state.lock();
            for lagging in batch {
                let outcome = if lagging.cursor == from {
                    Outcome::Failed
                } else {
                    Outcome::Reached(lagging.cursor)
                };
                let ended = state.settle(lagging.key, outcome);
                shared.forget(ended.as_slice());
            }
            return;
        }
    };
    // Asked after the read: what was compacted meanwhile may be missing from the piece.
    let compacted = history.compacted();
    let mut found = find(&batch, &piece);
    for (index, lagging) in batch.iter().enumerate() {
        let parts = std::mem::take(&mut found[index]);
        if lagging.spec.prev_kv {
            for part in &parts {
                for event in &part.events {
                    look_up(history, &part.revision, *event as usize);
                }
            }
        }
        let mut state = shared.state.lock();
        state.compacted = state.compacted.max(compacted);
        // The ring still knows what a compaction has taken from the disk.
        let gone = lagging.cursor < state.compacted && !state.ring.covers(lagging.cursor);
        let intact = piece.from_ring || lagging.cursor >= compacted;
        let served = (from..piece.next).contains(&lagging.cursor);
        let outcome = if served && intact {
            state.deliver(lagging, messages(parts), piece.next)
        } else if gone {
            Some(Outcome::Compacted)
        } else {
            Some(Outcome::Reached(lagging.cursor))
        };
        if let Some(outcome) = outcome {
            let ended = state.settle(lagging.key, outcome);
            shared.forget(ended.as_slice());
        }
    }
}

fn read(shared: &Shared, history: &dyn History, from: i64) -> io::Result<Piece> {
    let through = {
        let state = shared.state.lock();
        if state.ring.covers(from) {
            let (revisions, left_out) = state.ring.read(from, PIECE_REVISIONS, PIECE_BYTES);
            let next = left_out.unwrap_or(state.revision + 1);
            return Ok(Piece {
                revisions,
                next,
                from_ring: true,
            });
        }
        state.revision
    };
    let revisions: Vec<_> = history
        .events(from, through, PIECE_REVISIONS, PIECE_BYTES)?
        .into_iter()
        .map(|events| Arc::new(Revision::from(events)))
        .collect();
    let next = revisions
        .last()
        .map_or(through + 1, |last| last.revision + 1);
    Ok(Piece {
        revisions,
        next,
        from_ring: false,
    })
}

/// For each watcher of the batch, what it wants of the piece.
fn find(batch: &[Lagging], piece: &Piece) -> Vec<Vec<Part>> {
    let mut matcher = Matcher::default();
    for (index, lagging) in (0u64..).zip(batch) {
        matcher.insert(&lagging.range, index);
    }
    let mut found: Vec<Vec<Part>> = batch.iter().map(|_| Vec::new()).collect();
    for revision in &piece.revisions {
        for (index, events) in matches(&matcher, revision) {
            let Ok(index) = usize::try_from(index) else {
                continue;
            };
            let lagging = &batch[index];
            if revision.revision < lagging.cursor {
                continue;
            }
            let events = admitted(&lagging.spec, revision, events);
            if !events.is_empty() {
                found[index].push(Part {
                    revision: Arc::clone(revision),
                    events,
                });
            }
        }
    }
    found
}

/// Cuts what a watcher gets into messages of bounded size, never within a revision.
fn messages(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut messages: Vec<Vec<Part>> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        let size = part.revision.size;
        match messages.last_mut() {
            Some(message) if bytes + size <= MESSAGE_BYTES => {
                message.push(part);
                bytes += size;
            }
            _ => {
                messages.push(vec![part]);
                bytes = size;
            }
        }
    }
    messages
}

/// Makes sure that the pair before an event is known, if history still has it.
pub(super) fn look_up(history: &dyn History, revision: &Revision, event: usize) {
    revision.events[event].resolve_previous(|key| {
        history
            .previous(key, revision.revision)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "reading the pair before a watched event failed");
                None
            })
    });
}
