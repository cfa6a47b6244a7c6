//! Watches: a session per stream over the engine's hub, with the caller's rights checked over the whole range.
//!
//! A right may be taken away while a watch stands. The first thing that arrives after users or roles changed
//! makes the session look at every watch again; those that are no longer allowed are ended before it is handed
//! on. So no event that happens after the change is seen. (etcd checks only when a watch is created.)

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use chainfire_engine::{
    EtcdError, Request,
    auth::AuthStatus,
    watch::{CreateError, WatchItem, WatchReceiver, WatchSpec, WatchStream},
};
use parking_lot::Mutex;

use super::{App, Caller};

/// The watches of one stream. Dropping it ends them.
pub struct WatchSession {
    rights: Arc<Rights>,
    stream: Arc<WatchStream>,
}

impl std::fmt::Debug for WatchSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchSession").finish_non_exhaustive()
    }
}

/// What happens on the watches of one session, in order and bounded.
pub struct WatchUpdates {
    receiver: WatchReceiver,
    rights: Arc<Rights>,
    /// Gone with the session.
    stream: Weak<WatchStream>,
    /// Watches that were ended because rights changed, with the reason, until the hub has said so.
    lost: HashMap<i64, EtcdError>,
}

impl std::fmt::Debug for WatchUpdates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchUpdates").finish_non_exhaustive()
    }
}

/// Who watches what, and what they were last found to be allowed.
struct Rights {
    app: Arc<App>,
    known: Mutex<Known>,
}

struct Known {
    caller: Caller,
    as_of: AuthStatus,
    watches: HashMap<i64, (Bytes, Bytes)>,
}

impl App {
    /// Opens a session without watches.
    ///
    /// # Errors
    /// `rpc not supported for learner`.
    pub fn watch(
        self: &Arc<Self>,
        caller: Caller,
    ) -> Result<(WatchSession, WatchUpdates), EtcdError> {
        self.require_voter()?;
        let (stream, receiver) = self.engine.watches().open();
        let stream = Arc::new(stream);
        let rights = Arc::new(Rights {
            known: Mutex::new(Known {
                as_of: self.engine.auth().status(),
                caller,
                watches: HashMap::new(),
            }),
            app: Arc::clone(self),
        });
        let updates = WatchUpdates {
            receiver,
            rights: Arc::clone(&rights),
            stream: Arc::downgrade(&stream),
            lost: HashMap::new(),
        };
        Ok((WatchSession { rights, stream }, updates))
    }
}

/// Why a watch was not created.
#[derive(Debug, Clone)]
pub enum WatchRefused {
    /// The caller may not read the whole range.
    Rights(EtcdError),
    /// The hub refused: duplicate id, an empty range, too many watches, a stream that ended.
    Hub(CreateError),
}

impl WatchSession {
    /// Creates a watch; its `Created` item arrives before any event.
    ///
    /// # Errors
    /// See [`WatchRefused`].
    pub fn create(&self, spec: WatchSpec) -> Result<i64, WatchRefused> {
        let range = (spec.key.clone(), spec.range_end.clone());
        // Held throughout, so that an update that arrives meanwhile finds the watch.
        let mut known = self.rights.known.lock();
        let caller = self.rights.app.renewed(&known.caller);
        caller
            .and_then(|caller| may_watch(&self.rights.app, &caller, &range))
            .map_err(WatchRefused::Rights)?;
        let watch_id = self.stream.create(spec).map_err(WatchRefused::Hub)?;
        known.watches.insert(watch_id, range);
        Ok(watch_id)
    }

    /// Refuses a watch in its turn: created and canceled at once, with this reason.
    pub fn reject(&self, reason: String) {
        self.stream.reject(reason);
    }

    /// Ends one watch; whether it existed. `Canceled` arrives as its last item.
    pub fn cancel(&self, watch_id: i64) -> bool {
        self.stream.cancel(watch_id)
    }

    /// Asks for one progress item for the whole session, sent when every watch is up to date.
    pub fn request_progress(&self) {
        self.stream.request_progress();
    }
}

impl WatchUpdates {
    /// The next thing the client is to hear; nothing when the stream has ended. A watch that is ended because
    /// rights changed says so as `Canceled` with etcd's text for the missing right; see [`lost_rights`].
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<WatchItem> {
        loop {
            let item = self.receiver.recv().await?;
            self.look_again();
            if let Some(item) = self.permitted(item) {
                return Some(item);
            }
        }
    }

    /// Ends the watches that are no longer allowed, if users or roles changed since the last look.
    fn look_again(&mut self) {
        let (app, mut known) = (&self.rights.app, self.rights.known.lock());
        let now = app.engine.auth().status();
        if now == known.as_of {
            return;
        }
        known.as_of = now;
        let caller = app.renewed(&known.caller);
        let refused = |range| match &caller {
            Ok(caller) => may_watch(app, caller, range).err(),
            Err(error) => Some(error.clone()),
        };
        let ended: Vec<_> = known
            .watches
            .iter()
            .filter_map(|(id, range)| Some((*id, refused(range)?)))
            .collect();
        for (watch_id, error) in ended {
            known.watches.remove(&watch_id);
            if let Some(stream) = self.stream.upgrade()
                && stream.cancel(watch_id)
            {
                self.lost.insert(watch_id, error);
            }
        }
    }

    /// What of an item may be seen.
    fn permitted(&mut self, item: WatchItem) -> Option<WatchItem> {
        match item {
            WatchItem::Events { watch_id, .. } | WatchItem::Progress { watch_id, .. }
                if self.lost.contains_key(&watch_id) =>
            {
                None
            }
            WatchItem::Canceled {
                watch_id,
                revision,
                reason,
            } => {
                self.rights.known.lock().watches.remove(&watch_id);
                let lost = self.lost.remove(&watch_id);
                Some(WatchItem::Canceled {
                    watch_id,
                    revision,
                    reason: lost.map_or(reason, |error| error.to_string()),
                })
            }
            WatchItem::Compacted { watch_id, .. } => {
                self.rights.known.lock().watches.remove(&watch_id);
                self.lost.remove(&watch_id);
                Some(item)
            }
            item => Some(item),
        }
    }
}

/// The missing right that a watch was canceled for, if that is the reason.
pub fn lost_rights(reason: &str) -> Option<EtcdError> {
    const RIGHTS: &[EtcdError] = &[
        EtcdError::PERMISSION_DENIED,
        EtcdError::USER_EMPTY,
        EtcdError::INVALID_AUTH_TOKEN,
    ];
    RIGHTS.iter().find(|error| error.message == reason).cloned()
}

fn may_watch(
    app: &App,
    caller: &Caller,
    (key, range_end): &(Bytes, Bytes),
) -> Result<(), EtcdError> {
    // As etcd: no key means the first one, which is not empty.
    let key: &[u8] = if key.is_empty() { b"\0" } else { key };
    app.authorize(caller, Request::Watch { key, range_end })
}
