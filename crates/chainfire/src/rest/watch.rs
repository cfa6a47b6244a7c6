//! `GET /api/v1/watch`: changes as server-sent events.
//!
//! ```text
//!   id: 41   event: ready      data: {"revision":41}                              everything after 41 follows
//!   id: 42   event: change     data: {"revision":42,"events":[{"type":"put","item":{…}}]}
//!   id: 57   event: progress   data: {"revision":57}                              nothing else up to 57
//!            event: error      data: {"error":{"code":"NO_QUORUM",…}}             the last one, always
//!   : alive                                                                       a comment, every 15 s
//! ```
//! The id is a revision: a browser's `EventSource` that reconnects sends it back as `Last-Event-ID`, and the watch
//! goes on behind it. One event holds everything of one revision.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::sse::{self, KeepAlive, Sse},
};
use futures::Stream;
use http::HeaderMap;
use photon_core::Error;
use photon_proto::mvccpb::{self, event::EventType};
use photon_server::rest::{Query, RestError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    asking::Asking,
    changes::{Changes, Follow, Update},
    encoding::KeyText,
    item::Item,
    openapi::Failure,
    scan::Span,
};
use crate::app::App;

/// A comment this often tells proxies and clients that the watch lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: &str = "last-event-id";

/// What to follow; without `prefix` and `key`, every key.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WatchQuery {
    /// Keys that begin with this; not together with `key`.
    prefix: Option<String>,
    /// One key.
    key: Option<String>,
    /// First revision to hear of; without it, what happens from now on. `Last-Event-ID` takes precedence.
    from_revision: Option<i64>,
    /// Show what each key was before.
    #[serde(default)]
    with_previous: bool,
}

/// The content of a `change` event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Change {
    revision: i64,
    events: Vec<KeyChange>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
enum KeyChange {
    Put {
        item: Item,
        /// The key before; only when asked for, and absent when it did not exist.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Item>,
    },
    Delete {
        #[serde(flatten)]
        key: KeyText,
        /// The key before; only when asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Item>,
    },
}

/// Follows changes as server-sent events: `ready`, `change`, `progress`, and `error` as the last. After `NO_QUORUM` and
/// `UNAVAILABLE` go on at another member, after `COMPACTED` list again. What is compacted already is refused with 410.
#[utoipa::path(
    get, path = "/api/v1/watch", tag = "watch", operation_id = "watch",
    params(WatchQuery, ("Last-Event-ID" = Option<i64>, Header, description = "The revision of the last event seen.")),
    responses((status = 200, content_type = "text/event-stream", body = Change), Failure)
)]
pub(super) async fn watch(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    headers: HeaderMap,
    Query(query): Query<WatchQuery>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, RestError> {
    let follow = Follow {
        span: span(&query)?,
        from_revision: match last_event_id(&headers)? {
            Some(seen) => seen + 1,
            None => query.from_revision.unwrap_or_default(),
        },
        with_previous: query.with_previous,
    };
    let changes = Changes::open(&app, caller, follow).await?;
    let events = futures::stream::unfold(changes, |mut changes| async {
        let update = changes.next().await?;
        Some((Ok(rendered(update)), changes))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("alive")))
}

fn span(query: &WatchQuery) -> Result<Span, Error> {
    match (&query.prefix, &query.key) {
        (Some(_), Some(_)) => Err(Error::validation(
            "key",
            "exclusive",
            "key does not go with prefix",
        )),
        (None, Some(key)) if key.is_empty() => Err(Error::required("key")),
        (None, Some(key)) => Ok(Span::single(key)),
        (prefix, None) => Ok(Span::prefix(prefix.as_deref().unwrap_or_default())),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    match value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok())
    {
        Some(revision) if (0..i64::MAX).contains(&revision) => Ok(Some(revision)),
        _ => Err(Error::validation(
            "Last-Event-ID",
            "revision",
            "Last-Event-ID is a revision",
        )),
    }
}

fn rendered(update: Result<Update, Error>) -> sse::Event {
    match update {
        Ok(Update::Ready { revision }) => {
            event("ready", Some(revision), &json!({ "revision": revision }))
        }
        Ok(Update::Progress { revision }) => {
            event("progress", Some(revision), &json!({ "revision": revision }))
        }
        Ok(Update::Change { revision, events }) => {
            let events = events.into_iter().filter_map(KeyChange::new).collect();
            event("change", Some(revision), &Change { revision, events })
        }
        Err(error) => event("error", None, &shown(&error)),
    }
}

/// The guide's error object; inside a stream it has no request of its own to report about.
fn shown(error: &Error) -> Value {
    json!({ "error": { "code": error.code().name, "message": error.message(), "details": error.details() } })
}

fn event(name: &str, id: Option<i64>, data: &impl Serialize) -> sse::Event {
    // serde_json writes no line break, and none of our types can fail to be written.
    let data = serde_json::to_string(data).unwrap_or_default();
    let event = sse::Event::default().event(name).data(data);
    match id {
        Some(id) => event.id(id.to_string()),
        None => event,
    }
}

impl KeyChange {
    fn new(event: mvccpb::Event) -> Option<Self> {
        let kind = event.r#type();
        let kv = event.kv?;
        let previous = event.prev_kv.map(Item::from);
        Some(match kind {
            EventType::Put => Self::Put {
                item: kv.into(),
                previous,
            },
            EventType::Delete => Self::Delete {
                key: KeyText::from(&kv.key),
                previous,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn headers(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), id.parse().unwrap())])
    }

    #[test]
    fn a_watch_goes_on_behind_the_last_event() {
        assert_eq!(last_event_id(&HeaderMap::new()).unwrap(), None);
        assert_eq!(last_event_id(&headers("41")).unwrap(), Some(41));
        for bad in ["", "-1", "x", "9223372036854775807", "99999999999999999999"] {
            assert_eq!(
                last_event_id(&headers(bad)).unwrap_err().details().unwrap()["field"],
                "Last-Event-ID"
            );
        }
    }

    #[test]
    fn a_deleted_key_that_is_not_text_is_told_in_base64() {
        let kv = mvccpb::KeyValue {
            key: vec![0xff].into(),
            mod_revision: 3,
            ..Default::default()
        };
        let event = mvccpb::Event {
            r#type: EventType::Delete.into(),
            kv: Some(kv),
            prev_kv: None,
        };
        let shown = serde_json::to_value(KeyChange::new(event).unwrap()).unwrap();
        assert_eq!(
            shown,
            json!({ "type": "delete", "key": "/w==", "key_encoding": "base64" })
        );
    }
}
