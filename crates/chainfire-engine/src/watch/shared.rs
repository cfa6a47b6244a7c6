//! Revisions as the hub keeps them: shared by the ring and every stream, copied by none.

use std::sync::{Arc, OnceLock};

use photon_proto::mvccpb::{Event, KeyValue, event::EventType};

use crate::events::RevisionEvents;

/// What an event costs besides its bytes, roughly: the structs and allocator overhead.
const EVENT_OVERHEAD: usize = 192;

/// One change of one key.
#[derive(Debug)]
pub(super) struct SharedEvent {
    event: Arc<Event>,
    /// The pair before the event; unset until somebody who wants it had it looked up.
    previous: OnceLock<Option<KeyValue>>,
}

impl SharedEvent {
    fn new(event: Arc<Event>) -> Self {
        let previous = if is_create(&event) {
            OnceLock::from(None)
        } else if let Some(pair) = &event.prev_kv {
            OnceLock::from(Some(pair.clone()))
        } else {
            OnceLock::new()
        };
        Self { event, previous }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.event.kv.as_ref().map_or(&[], |kv| &kv.key)
    }

    pub(super) fn is_delete(&self) -> bool {
        self.event.r#type == i32::from(EventType::Delete)
    }

    /// Looks the previous pair up, at most once however many watchers want it.
    pub(super) fn resolve_previous(&self, look_up: impl FnOnce(&[u8]) -> Option<KeyValue>) {
        self.previous.get_or_init(|| look_up(self.key()));
    }

    /// The event as a client sees it.
    pub(super) fn to_proto(&self, with_previous: bool) -> Event {
        Event {
            r#type: self.event.r#type,
            kv: self.event.kv.clone(),
            prev_kv: with_previous
                .then(|| self.previous.get().cloned().flatten())
                .flatten(),
        }
    }

    fn size(&self) -> usize {
        let pair =
            |kv: &Option<KeyValue>| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
        EVENT_OVERHEAD + pair(&self.event.kv) + pair(&self.event.prev_kv)
    }
}

fn is_create(event: &Event) -> bool {
    event.r#type == i32::from(EventType::Put)
        && event
            .kv
            .as_ref()
            .is_some_and(|kv| kv.create_revision == kv.mod_revision)
}

/// All changes of one revision, in the order they were made.
#[derive(Debug)]
pub(super) struct Revision {
    pub(super) revision: i64,
    pub(super) events: Vec<SharedEvent>,
    /// Approximate bytes of memory, as counted against the hub's limits.
    pub(super) size: usize,
}

impl From<RevisionEvents> for Revision {
    fn from(source: RevisionEvents) -> Self {
        let events: Vec<_> = source.events.into_iter().map(SharedEvent::new).collect();
        Self {
            revision: source.revision,
            size: EVENT_OVERHEAD + events.iter().map(SharedEvent::size).sum::<usize>(),
            events,
        }
    }
}
