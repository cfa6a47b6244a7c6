//! Recording what clients did, for the [`crate::linearizability`] checker.
//!
//! Time is one global counter, not a clock: an operation takes a number before its request leaves and another
//! after its answer came. Two operations overlap exactly when their number ranges do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One operation in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Which client did it; only for messages.
    pub client: usize,
    /// What was asked.
    pub input: I,
    /// What was answered. `None`: the outcome is unknown, it may have happened or not, also later.
    pub output: Option<O>,
    /// Its place in time when it was called.
    pub called: u64,
    /// Its place in time when it returned; `u64::MAX` when the outcome is unknown.
    pub returned: u64,
}

/// Collects operations from any number of tasks.
#[derive(Debug)]
pub struct Recorder<I, O> {
    shared: Arc<Shared<I, O>>,
}

#[derive(Debug)]
struct Shared<I, O> {
    clock: AtomicU64,
    operations: Mutex<Vec<Operation<I, O>>>,
}

impl<I, O> Clone for Recorder<I, O> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<I, O> Default for Recorder<I, O> {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                clock: AtomicU64::new(0),
                operations: Mutex::new(Vec::new()),
            }),
        }
    }
}

impl<I, O> Recorder<I, O> {
    /// Notes that a request is about to leave. Call this before sending, and one of [`Pending`]'s methods after the
    /// answer; dropping the [`Pending`] (a cancelled task) records an unknown outcome.
    pub fn call(&self, client: usize, input: I) -> Pending<I, O> {
        Pending {
            recorder: self.clone(),
            client,
            called: self.tick(),
            input: Some(input),
        }
    }

    /// Everything recorded so far. Operations still pending are missing: end the clients first.
    pub fn operations(&self) -> Vec<Operation<I, O>>
    where
        I: Clone,
        O: Clone,
    {
        self.lock().clone()
    }

    /// The number of operations recorded so far.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is recorded yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tick(&self) -> u64 {
        // The order of all ticks must agree with real time across threads.
        self.shared.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Operation<I, O>>> {
        // A client that panicked leaves whole operations behind: the lock is only held for a push.
        self.shared
            .operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An operation whose answer has not come yet.
#[derive(Debug)]
pub struct Pending<I, O> {
    recorder: Recorder<I, O>,
    client: usize,
    called: u64,
    input: Option<I>,
}

impl<I, O> Pending<I, O> {
    /// The answer came.
    pub fn returned(mut self, output: O) {
        let returned = self.recorder.tick();
        self.record(Some(output), returned);
    }

    /// It certainly did not happen and never will (refused before anything was done): it is left out.
    pub fn refused(mut self) {
        self.input = None;
    }

    /// Nobody knows whether it happened (timeout, lost connection). The same as dropping.
    pub fn unknown(self) {}

    fn record(&mut self, output: Option<O>, returned: u64) {
        if let Some(input) = self.input.take() {
            self.recorder.lock().push(Operation {
                client: self.client,
                input,
                output,
                called: self.called,
                returned,
            });
        }
    }
}

impl<I, O> Drop for Pending<I, O> {
    fn drop(&mut self) {
        self.record(None, u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_recorded_as_it_was() {
        let recorder = Recorder::<&str, u8>::default();
        let first = recorder.call(0, "a");
        let second = recorder.call(1, "b");
        first.returned(7);
        recorder.call(2, "refused").refused();
        recorder.call(3, "unknown").unknown();
        drop(second);

        let operations = recorder.operations();
        let inputs: Vec<_> = operations.iter().map(|op| op.input).collect();
        assert_eq!(inputs, ["a", "unknown", "b"]);
        assert_eq!(operations[0].output, Some(7));
        assert!(operations[0].called < operations[2].called);
        assert!(
            operations[2].called < operations[0].returned,
            "they overlap"
        );
        assert_eq!(
            (operations[1].output, operations[1].returned),
            (None, u64::MAX)
        );
    }
}
