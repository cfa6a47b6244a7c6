//! The changes of one trail in one process: they wait for the trail's end, and as many as have nothing to do with each
//! other are written there in one transaction.
//!
//! ```text
//!   commit ──> waiting ──take──> batch ──one transaction──> done:    each is told its revision
//!   commit ──>    |                ^ |
//!   commit ──>    |                | +── a change's own requirement does not hold: it is told, the others go again
//!                 |                | +── the head has moved: read it, all go again
//!                 |                | +── refused for what one of them may be the reason of: one by one
//!              those that            +── nobody knows: neither does any of them
//!              do not go together
//! ```
//!
//! Nobody waits for company: what came while the last transaction was under way is the next batch. A task of the queue's
//! own writes it, so that a caller that goes away takes nobody along: its change is left out if it was not under way, and
//! happens as a whole, unheard, if it was.
//!
//! That each change decides for itself is [`Together`]'s: no change of a batch writes what another one reads or writes,
//! so what a refused batch has found of a change's own keys is what the change alone would have found in that moment.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Position, Trails, is_about};
use crate::backoff::Backoff;
use crate::record::Fields;
use crate::transaction::{Committed, Found, Outcome, Room, Together, Transaction};
use crate::{Error, Result};

/// Changes that wait for one trail. Each is a request that somebody waits for.
const MOST_WAITING: usize = 10_000;
/// Of those that wait, how many are looked at for a batch.
const LOOK_AT: usize = 200;
/// What the head takes of a transaction.
const HEAD: Room = Room {
    requirements: 1,
    writes: 1,
    bytes: 1 << 10,
};
/// What a change's record takes, about.
const RECORD: Room = Room {
    requirements: 1,
    writes: 1,
    bytes: 1 << 10,
};

/// A trail's.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Whoever holds it writes; what it holds is the head after the last write of this process, as far as that is known.
    end: tokio::sync::Mutex<Option<Position>>,
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Change>,
    /// Somebody takes them.
    served: bool,
    next_ticket: u64,
}

struct Change {
    ticket: u64,
    transaction: Transaction,
    entry: Fields,
    /// It is not tried again after that.
    until: Instant,
    answer: oneshot::Sender<Result<Committed>>,
}

impl Change {
    /// Whoever has gone away does not mind.
    fn tell(self, answer: Result<Committed>) {
        let _gone = self.answer.send(answer);
    }
}

/// [`Trails::commit`].
pub(super) async fn commit(
    trails: &Trails,
    trail: &str,
    queue: &Arc<Queue>,
    transaction: Transaction,
    entry: Fields,
) -> Result<Committed> {
    let until = Instant::now() + trails.store.options().contention_timeout;
    let (answer, mut told) = oneshot::channel();
    let ticket = {
        let mut waiting = queue.waiting();
        if waiting.changes.len() >= MOST_WAITING {
            return Err(too_long(trail));
        }
        let ticket = waiting.next_ticket;
        waiting.next_ticket += 1;
        waiting.changes.push_back(Change {
            ticket,
            transaction,
            entry,
            until,
            answer,
        });
        if !waiting.served {
            waiting.served = true;
            let serving = Serving {
                queue: Arc::clone(queue),
                done: false,
            };
            tokio::spawn(serve(trails.clone(), trail.to_owned(), serving));
        }
        ticket
    };
    let answer = match tokio::time::timeout_at(until, &mut told).await {
        Ok(answer) => answer,
        Err(_) if queue.withdraw(ticket) => return Err(too_long(trail)),
        // Under way: it is told soon, as every call of the store ends.
        Err(_) => told.await,
    };
    answer.unwrap_or_else(|_| {
        Err(Error::Unknown {
            reason: "the process stopped writing".to_owned(),
        })
    })
}

pub(super) fn too_long(trail: &str) -> Error {
    Error::Unavailable {
        reason: format!("too many changes wait for the audit trail {trail}"),
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is written is nobody's business here.
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Waits until nobody writes, and keeps others from it.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, Option<Position>> {
        self.end.lock().await
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here can panic half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change out of the queue, if it is still there.
    fn withdraw(&self, ticket: u64) -> bool {
        let mut waiting = self.waiting();
        let place = waiting.changes.iter().position(|one| one.ticket == ticket);
        place.and_then(|at| waiting.changes.remove(at)).is_some()
    }

    /// The next changes to be done together; nobody takes them any more if there are none.
    fn take(&self) -> Vec<Change> {
        let mut waiting = self.waiting();
        waiting.changes.retain(|one| !one.answer.is_closed());
        let mut places = Vec::new();
        let room = Room {
            requirements: Room::ALL.requirements - HEAD.requirements,
            writes: Room::ALL.writes - HEAD.writes,
            bytes: Room::ALL.bytes - HEAD.bytes,
        };
        let mut together = Together::new(room, RECORD);
        for (place, one) in waiting.changes.iter().enumerate().take(LOOK_AT) {
            if together.is_full() {
                break;
            }
            if together.takes(&one.transaction) {
                places.push(place);
            }
        }
        drop(together);
        waiting.served = !places.is_empty();
        // From behind, so that the places before stay what they are.
        let taken = places.into_iter().rev();
        let mut batch: Vec<Change> = taken
            .filter_map(|place| waiting.changes.remove(place))
            .collect();
        batch.reverse();
        batch
    }
}

/// Sees to it that nobody waits for a task that has ended before its time: with its runtime, or in a panic.
struct Serving {
    queue: Arc<Queue>,
    /// Nobody waits, or somebody else serves them.
    done: bool,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut waiting = self.queue.waiting();
        waiting.served = false;
        for one in waiting.changes.drain(..) {
            one.tell(Err(Error::Unavailable {
                reason: "the process stopped writing".to_owned(),
            }));
        }
    }
}

async fn serve(trails: Trails, trail: String, mut serving: Serving) {
    let queue = Arc::clone(&serving.queue);
    loop {
        let mut end = queue.turn().await;
        let batch = queue.take();
        if batch.is_empty() {
            serving.done = true;
            return;
        }
        for one in write(&trails, &trail, &mut end, batch).await {
            if one.until <= Instant::now() {
                one.tell(Err(too_long(&trail)));
                continue;
            }
            let left = write(&trails, &trail, &mut end, vec![one]).await;
            debug_assert!(left.is_empty(), "one is told whatever becomes of it");
        }
    }
}

/// Does the changes of a batch, and tells each what became of it. Returns those that are to be done one by one, so that
/// the one that is the reason of a refusal has its own answer and the others theirs.
async fn write(
    trails: &Trails,
    trail: &str,
    end: &mut Option<Position>,
    mut batch: Vec<Change>,
) -> Vec<Change> {
    let mut backoff = Backoff::contention();
    loop {
        batch.retain(|one| !one.answer.is_closed());
        if batch.is_empty() {
            return batch;
        }
        // Forgotten while it is in use: a task that is dropped half-way leaves nothing to believe in.
        let position = match end.take() {
            Some(position) => Ok(position),
            None => trails.position(trail).await,
        };
        let planned = position.and_then(|from| Planned::of(trails, trail, from, &batch));
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => return tell_all(batch, &error),
        };
        let found = match planned.whole.attempt().await {
            Ok(Outcome::Done(committed)) => {
                *end = Some(Position {
                    head: planned.head,
                    revision: committed.revision,
                });
                for one in batch {
                    one.tell(Ok(committed));
                }
                return Vec::new();
            }
            Ok(Outcome::Refused(found)) => found,
            Err(error) => {
                if nothing_was_written(&error) {
                    *end = Some(planned.from);
                }
                if batch.len() == 1 || !may_be_of_one(&error) {
                    return tell_all(batch, &error);
                }
                return batch;
            }
        };
        let before = batch.len();
        batch = tell_refused(batch, &found);
        match found.broken(&planned.chain) {
            Some(error) if is_about(&error, &trails.head_key(trail)) => {
                let wake = Instant::now() + backoff.next();
                batch = tell_late(batch, wake, &error);
                if !batch.is_empty() {
                    tokio::time::sleep_until(wake).await;
                }
            }
            Some(Error::AlreadyExists { key }) => {
                let error = Error::Corrupt {
                    key,
                    reason: "an audit record stands where its trail ends".to_owned(),
                };
                return tell_all(batch, &error);
            }
            Some(error) => return tell_all(batch, &error),
            None => {
                *end = Some(planned.from);
                if batch.len() == before {
                    return tell_all(batch, &Found::no_reason());
                }
            }
        }
    }
}

/// A batch as one transaction.
struct Planned {
    whole: Transaction,
    /// The part of it that is the chain's: the head and the records.
    chain: Transaction,
    /// Where the trail ended before.
    from: Position,
    /// How it ends then.
    head: super::Head,
}

impl Planned {
    fn of(trails: &Trails, trail: &str, from: Position, batch: &[Change]) -> Result<Self> {
        let mut records = Vec::with_capacity(batch.len());
        let mut head = from.head.clone();
        for one in batch {
            let (record, next) = head.next(&one.entry, Timestamp::now())?;
            head = next;
            records.push(record);
        }
        let mut chain = trails.store.transaction();
        trails.move_head(&mut chain, trail, &from, &head)?;
        for record in &records {
            let key = trails.record_key(trail, record.seq);
            chain.absent(&key)?.put_raw(&key, record.stored(), 0)?;
        }
        let mut whole = trails.store.transaction();
        for one in batch {
            whole.join(&one.transaction);
        }
        whole.join(&chain);
        Ok(Self {
            whole,
            chain,
            from,
            head,
        })
    }
}

/// Tells those whose own requirements do not hold, and returns the others.
fn tell_refused(batch: Vec<Change>, found: &Found) -> Vec<Change> {
    let mut left = Vec::with_capacity(batch.len());
    for one in batch {
        match found.broken(&one.transaction) {
            Some(error) => one.tell(Err(error)),
            None => left.push(one),
        }
    }
    left
}

/// Tells those that cannot wait until `wake`, and returns the others.
fn tell_late(batch: Vec<Change>, wake: Instant, error: &Error) -> Vec<Change> {
    let (late, left): (Vec<Change>, Vec<Change>) =
        batch.into_iter().partition(|one| one.until <= wake);
    tell_all(late, error);
    left
}

/// Tells all of them the same, so that nobody is left.
fn tell_all(batch: Vec<Change>, error: &Error) -> Vec<Change> {
    for one in batch {
        one.tell(Err(error.clone()));
    }
    Vec::new()
}

/// Whether the head is certainly still where it was.
fn nothing_was_written(error: &Error) -> bool {
    matches!(error, Error::TooLarge { .. })
}

/// Whether the store refused all for what may be one's fault, before anything was done.
fn may_be_of_one(error: &Error) -> bool {
    matches!(
        error,
        Error::TooLarge { .. } | Error::Denied { .. } | Error::LeaseLost
    )
}
