//! Keys that are to be looked at.
//!
//! ```text
//!   add ──> due, by time ──next──> a Turn (nobody else gets the key) ──done, failed, dropped──> due again, or forgotten
//!              └── added again meanwhile: due at once when the turn ends ──┘
//! ```
//! A key is in it once, however often it is added: the queue is never longer than there are things. The earliest time wins.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The pause after the first failure; twice as long after each further one.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause after a failure.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Doublings after which the pause is the longest anyway.
const MOST_DOUBLINGS: u32 = 16;

/// A queue of keys. Clones are one.
pub struct Queue<K>(Arc<Inner<K>>);

struct Inner<K> {
    state: Mutex<State<K>>,
    /// Something became due earlier than whoever waits knows.
    sooner: Notify,
}

struct State<K> {
    entries: HashMap<K, Entry>,
    /// Of the keys that nobody works on. The number keeps those of one moment apart, in the order they came.
    due: BTreeMap<(Instant, u64), K>,
    number: u64,
}

#[derive(Default)]
struct Entry {
    /// When it is to be looked at.
    due: Option<Due>,
    working: bool,
    failures: u32,
}

#[derive(Clone, Copy)]
enum Due {
    /// It stands in [`State::due`] there.
    Queued(Instant, u64),
    /// When the present turn has ended, not before then.
    After(Instant),
}

/// A key whose turn it is: nobody else gets it until this is over. Dropped without a word it has failed.
#[must_use = "dropped at once it has failed"]
pub struct Turn<K: Clone + Eq + Hash> {
    queue: Queue<K>,
    key: K,
    is_over: bool,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Queue")
            .field("keys", &state.entries.len())
            .field("due", &state.due.len())
            .finish()
    }
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                entries: HashMap::new(),
                due: BTreeMap::new(),
                number: 0,
            }),
            sooner: Notify::new(),
        }))
    }

    /// Has a key looked at as soon as possible; after its turn, if it has it now: it may have looked already at what changed.
    pub fn add(&self, key: K) {
        self.add_at(key, Instant::now());
    }

    /// Has a key looked at not later than then.
    pub fn add_at(&self, key: K, at: Instant) {
        self.0.state.lock().add(key, at);
        self.0.sooner.notify_one();
    }

    /// How many keys wait or have their turn.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().entries.len()
    }

    /// Whether there is nothing to look at, now or later.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next key that is due. Nothing is lost if the future is dropped.
    pub async fn next(&self) -> Turn<K> {
        loop {
            let sooner = self.0.sooner.notified();
            let first = match self.0.state.lock().take(Instant::now()) {
                Ok(key) => {
                    // Whoever else waits may have slept for this one: there may be another.
                    self.0.sooner.notify_one();
                    return Turn {
                        queue: self.clone(),
                        key,
                        is_over: false,
                    };
                }
                Err(first) => first,
            };
            match first {
                Some(first) => tokio::select! {
                    () = sooner => {}
                    () = sleep_until(first) => {}
                },
                None => sooner.await,
            }
        }
    }

    fn end(&self, key: &K, then: Option<Instant>, failed: bool) {
        self.0.state.lock().end(key, then, failed);
        self.0.sooner.notify_one();
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K, at: Instant) {
        let number = self.number;
        let entry = self.entries.entry(key.clone()).or_default();
        match entry.due {
            Some(Due::Queued(due, _) | Due::After(due)) if due <= at => return,
            Some(Due::Queued(due, number)) => {
                self.due.remove(&(due, number));
            }
            _ => {}
        }
        if entry.working {
            entry.due = Some(Due::After(at));
            return;
        }
        entry.due = Some(Due::Queued(at, number));
        self.due.insert((at, number), key);
        self.number += 1;
    }

    /// The first key that is due; otherwise when the first one will be.
    fn take(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let Some(first) = self.due.first_entry() else {
            return Err(None);
        };
        let at = first.key().0;
        if at > now {
            return Err(Some(at));
        }
        let key = first.remove();
        let entry = self.entries.entry(key.clone()).or_default();
        entry.due = None;
        entry.working = true;
        Ok(key)
    }

    fn end(&mut self, key: &K, then: Option<Instant>, failed: bool) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.working = false;
        entry.failures = if failed {
            entry.failures.saturating_add(1)
        } else {
            0
        };
        let now = Instant::now();
        let pause = failed.then(|| now + pause(entry.failures));
        let meanwhile = match entry.due.take() {
            Some(Due::After(at) | Due::Queued(at, _)) => Some(at),
            None => None,
        };
        // Whatever came meanwhile, what fails is not looked at without a pause.
        let at = match (pause, meanwhile, then) {
            (Some(pause), _, _) => Some(pause),
            (None, Some(meanwhile), Some(then)) => Some(meanwhile.min(then)),
            (None, meanwhile, then) => meanwhile.or(then),
        };
        match at {
            Some(at) => self.add(key.clone(), at),
            None => {
                self.entries.remove(key);
            }
        }
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(MOST_DOUBLINGS);
    let pause = SHORTEST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE);
    // What failed together, as with one host, does not come back together.
    pause.mul_f64(rand::random_range(0.75..1.0))
}

impl<K: Clone + Eq + Hash> Turn<K> {
    /// Whose turn it is.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// It went well; to be looked at again then, or when it is added.
    pub fn done(mut self, then: Option<Instant>) {
        self.is_over = true;
        self.queue.end(&self.key, then, false);
    }

    /// It went wrong: to be looked at again after a pause, longer than the last one.
    pub fn failed(self) {
        drop(self);
    }
}

impl<K: Clone + Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        if !self.is_over {
            self.queue.end(&self.key, None, true);
        }
    }
}

impl<K: Clone + Eq + Hash + fmt::Debug> fmt::Debug for Turn<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turn").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The next key, if one is due within a time.
    async fn next(queue: &Queue<u32>, within: Duration) -> Option<Turn<u32>> {
        tokio::time::timeout(within, queue.next()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_there_once_and_in_order() {
        let queue = Queue::new();
        for key in [2, 1, 2, 2] {
            queue.add(key);
        }
        assert_eq!(queue.len(), 2);
        for key in [2, 1] {
            let turn = next(&queue, SECOND).await.unwrap();
            assert_eq!(*turn.key(), key);
            turn.done(None);
        }
        assert!(queue.is_empty() && next(&queue, SECOND).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_else_gets_a_key_and_what_came_meanwhile_is_not_lost() {
        let queue = Queue::new();
        queue.add(1);
        let turn = next(&queue, SECOND).await.unwrap();
        queue.add(1);
        queue.add(1);
        assert!(next(&queue, SECOND).await.is_none());
        turn.done(None);
        next(&queue, SECOND).await.unwrap().done(None);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_wins() {
        let queue = Queue::new();
        let now = Instant::now();
        queue.add_at(1, now + 10 * SECOND);
        queue.add_at(1, now + 5 * SECOND);
        queue.add_at(1, now + 20 * SECOND);
        assert!(next(&queue, 4 * SECOND).await.is_none());
        let turn = next(&queue, 2 * SECOND).await.unwrap();
        // Said at the end of the turn, and added meanwhile: the earlier one.
        queue.add_at(1, now + 30 * SECOND);
        turn.done(Some(now + 15 * SECOND));
        assert!(next(&queue, 9 * SECOND).await.is_none());
        next(&queue, 2 * SECOND).await.unwrap().done(None);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_who_waits_hears_of_what_comes_sooner() {
        let queue = Queue::new();
        queue.add_at(1, Instant::now() + 100 * SECOND);
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { *queue.next().await.key() }
        });
        tokio::time::sleep(SECOND).await;
        queue.add(2);
        assert_eq!(waiting.await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_wait_all_get_something() {
        let queue = Queue::new();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    let turn = queue.next().await;
                    let key = *turn.key();
                    turn.done(None);
                    key
                })
            })
            .collect();
        tokio::time::sleep(SECOND).await;
        (0..8).for_each(|key| queue.add(key));
        let mut found = Vec::new();
        for one in waiting {
            found.push(tokio::time::timeout(SECOND, one).await.unwrap().unwrap());
        }
        found.sort_unstable();
        assert_eq!(found, (0..8).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_comes_back_ever_later_and_holds_up_nobody() {
        let queue = Queue::new();
        queue.add(1);
        let mut before = Duration::ZERO;
        for _ in 0..12 {
            let from = Instant::now();
            let turn = queue.next().await;
            let waited = Instant::now() - from;
            assert!(
                waited >= before.mul_f64(0.75),
                "{waited:?} after {before:?}"
            );
            assert!(waited <= LONGEST_PAUSE);
            before = waited;
            // Others come at once, and news about the failing one does not bring it back without a pause.
            queue.add(2);
            let other = queue.next().await;
            assert_eq!(*other.key(), 2);
            other.done(None);
            queue.add(1);
            drop(turn);
        }
        assert!(before > 5 * SECOND, "{before:?}");
        // Once it went well, all is forgotten.
        queue.next().await.done(None);
        assert!(queue.is_empty());
        queue.add(1);
        next(&queue, Duration::from_millis(1))
            .await
            .unwrap()
            .failed();
        next(&queue, 2 * SHORTEST_PAUSE).await.unwrap().done(None);
    }
}
