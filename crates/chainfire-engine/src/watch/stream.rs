//! One client's watch stream: the half that takes requests and the half that is read.

use std::sync::Arc;

use super::{
    Shared,
    queue::{Popped, Queue},
    spec::{CreateError, WatchItem, WatchSpec},
    state::StreamKey,
};

/// Takes a stream's requests. Dropping it ends the stream.
#[derive(Debug)]
pub struct WatchStream {
    pub(super) shared: Arc<Shared>,
    pub(super) key: StreamKey,
    pub(super) queue: Arc<Queue>,
}

impl WatchStream {
    /// Waits until the client has read enough of the answers to its earlier requests. A door calls this
    /// before it takes the next request, so that a client which only sends cannot make the queue grow.
    /// Lasts as long as the client does not read; false when the stream has ended.
    /// Cancel safe.
    pub async fn ready(&self) -> bool {
        self.queue.control_room().await
    }

    /// Creates a watcher. The answer ([`WatchItem::Created`], or [`WatchItem::Rejected`] for every error
    /// but [`CreateError::Closed`]) comes through the receiver, before anything else about the watcher.
    ///
    /// # Errors
    /// As the variants of [`CreateError`] say.
    pub fn create(&self, spec: WatchSpec) -> Result<i64, CreateError> {
        self.shared.create(self.key, spec)
    }

    /// Refuses a creation for a reason the door found (permission, for example).
    pub fn reject(&self, reason: impl Into<String>) {
        let current = self.shared.current();
        self.shared
            .state
            .lock()
            .reject(self.key, reason.into(), current);
    }

    /// Cancels a watcher; what was queued for it before still arrives, then [`WatchItem::Canceled`].
    /// False, and no answer, when there is no such watcher.
    pub fn cancel(&self, watch_id: i64) -> bool {
        let current = self.shared.current();
        let ended = self.shared.state.lock().cancel(self.key, watch_id, current);
        self.shared.forget(ended.as_slice());
        ended.is_some()
    }

    /// Asks for one [`WatchItem::Progress`] with watch id -1, which comes as soon as every watcher of the
    /// stream is up to date, and only if it has any. Requests that wait are answered together.
    pub fn request_progress(&self) {
        self.shared.state.lock().request_progress(self.key);
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.shared.close(self.key);
    }
}

/// What a stream's client is to be sent. Dropping it ends the stream.
#[derive(Debug)]
pub struct WatchReceiver {
    pub(super) shared: Arc<Shared>,
    pub(super) key: StreamKey,
    pub(super) queue: Arc<Queue>,
}

impl WatchReceiver {
    /// The next thing the client is to hear; nothing when the stream has ended. Cancel safe.
    pub async fn recv(&mut self) -> Option<WatchItem> {
        loop {
            match self.pop() {
                Popped::Item(item) => return Some(item),
                Popped::Closed => return None,
                Popped::Empty => self.queue.arrived().await,
            }
        }
    }

    /// As [`WatchReceiver::recv`], but what is not there yet is not waited for.
    pub fn try_recv(&mut self) -> Option<WatchItem> {
        match self.pop() {
            Popped::Item(item) => Some(item),
            Popped::Empty | Popped::Closed => None,
        }
    }

    fn pop(&mut self) -> Popped {
        let (popped, resume) = self.queue.pop();
        if resume {
            self.shared.state.lock().resume(self.key);
            self.shared.work.notify_one();
        }
        popped
    }
}

impl Drop for WatchReceiver {
    fn drop(&mut self) {
        self.shared.close(self.key);
    }
}
