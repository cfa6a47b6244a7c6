//! `etcdserverpb.Watch`: one conversation per stream.
//!
//! ```text
//!   client --create, cancel, progress--> conversation --> session (engine's hub)
//!   client <-------- responses --------- conversation <-- updates, in order
//! ```
//!
//! A client that does not read stops its conversation; the hub notices that updates are not taken and ends
//! the session's watches, so nobody else waits for it.

use std::{collections::HashSet, sync::Arc};

use chainfire_engine::{
    EtcdError,
    watch::{WatchItem, WatchSpec},
};
use photon_proto::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
    watch_server::Watch,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::enter::{enter_to_watch, refuse, wants_leader};
use crate::app::{App, WatchRefused, WatchSession, WatchUpdates, lost_rights};

/// Responses that wait for the connection to take them.
const WAITING: usize = 8;

/// The id of answers that are about no watch of the stream.
const NO_WATCH: i64 = -1;

pub(super) struct WatchDoor(pub(super) Arc<App>);

#[tonic::async_trait]
impl Watch for WatchDoor {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let requires_leader = wants_leader(request.metadata());
        let (caller, requests) = enter_to_watch(&self.0, request).await?;
        self.0.recovered().await.map_err(refuse)?;
        let (session, updates) = self.0.watch(caller).map_err(refuse)?;
        let (responses, stream) = mpsc::channel(WAITING);
        let conversation = Conversation {
            app: Arc::clone(&self.0),
            session,
            responses,
            fragmented: HashSet::new(),
        };
        self.0
            .spawn(conversation.hold(requests, updates, requires_leader));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Conversation {
    app: Arc<App>,
    session: WatchSession,
    responses: mpsc::Sender<Result<WatchResponse, Status>>,
    /// Watches whose client can put split responses together.
    fragmented: HashSet<i64>,
}

/// The client has gone away.
struct Gone;

impl Conversation {
    async fn hold(
        mut self,
        mut requests: Streaming<WatchRequest>,
        mut updates: WatchUpdates,
        requires_leader: bool,
    ) {
        let app = Arc::clone(&self.app);
        let lost = async {
            if requires_leader {
                app.leader_lost().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(lost);
        // A client that has said all it will say still hears.
        let mut listening = true;
        loop {
            let outcome = tokio::select! {
                () = app.stopping().cancelled() => self.end(EtcdError::STOPPED).await,
                () = &mut lost => self.end(EtcdError::NO_LEADER).await,
                () = self.responses.closed() => Err(Gone),
                update = updates.recv() => match update {
                    Some(item) => self.tell(item).await,
                    None => Err(Gone),
                },
                request = requests.message(), if listening => match request {
                    Ok(Some(request)) => {
                        self.hear(request);
                        Ok(())
                    }
                    Ok(None) => {
                        listening = false;
                        Ok(())
                    }
                    Err(_) => Err(Gone),
                },
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    fn hear(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create),
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.session.cancel(cancel.watch_id);
            }
            Some(RequestUnion::ProgressRequest(_)) => self.session.request_progress(),
            None => {}
        }
    }

    fn create(&mut self, create: &WatchCreateRequest) {
        match self.session.create(WatchSpec::from(create)) {
            Ok(watch_id) => {
                if create.fragment {
                    self.fragmented.insert(watch_id);
                }
            }
            // The hub answers what it refuses itself, in its turn.
            Err(WatchRefused::Hub(_)) => {}
            Err(WatchRefused::Rights(error)) => self.session.reject(as_go_prints_it(&error)),
        }
    }

    async fn tell(&mut self, item: WatchItem) -> Result<(), Gone> {
        match item {
            WatchItem::Created { watch_id, revision } => {
                let response = WatchResponse {
                    created: true,
                    ..self.response(watch_id, revision)
                };
                self.say(response).await
            }
            WatchItem::Rejected { reason, revision } => {
                let response = WatchResponse {
                    created: true,
                    canceled: true,
                    cancel_reason: reason,
                    ..self.response(NO_WATCH, revision)
                };
                self.say(response).await
            }
            WatchItem::Events {
                watch_id,
                revision,
                events,
            } => {
                let response = WatchResponse {
                    events,
                    ..self.response(watch_id, revision)
                };
                if self.fragmented.contains(&watch_id) {
                    let limit = self.app.config().limits.request_bytes;
                    for fragment in fragments(response, limit) {
                        self.say(fragment).await?;
                    }
                    Ok(())
                } else {
                    self.say(response).await
                }
            }
            WatchItem::Progress { watch_id, revision } => {
                self.say(self.response(watch_id, revision)).await
            }
            WatchItem::Compacted {
                watch_id,
                revision,
                compact_revision,
            } => {
                self.fragmented.remove(&watch_id);
                let response = WatchResponse {
                    canceled: true,
                    compact_revision,
                    ..self.response(watch_id, revision)
                };
                self.say(response).await
            }
            WatchItem::Canceled {
                watch_id,
                revision,
                reason,
            } => {
                self.fragmented.remove(&watch_id);
                let cancel_reason = match lost_rights(&reason) {
                    Some(error) => as_go_prints_it(&error),
                    None => reason,
                };
                let response = WatchResponse {
                    canceled: true,
                    cancel_reason,
                    ..self.response(watch_id, revision)
                };
                self.say(response).await
            }
        }
    }

    fn response(&self, watch_id: i64, revision: i64) -> WatchResponse {
        WatchResponse {
            header: Some(self.app.header_at(revision)),
            watch_id,
            ..Default::default()
        }
    }

    async fn say(&self, response: WatchResponse) -> Result<(), Gone> {
        self.responses.send(Ok(response)).await.map_err(|_| Gone)
    }

    /// Ends the stream with a status. A client that reads nothing more is not waited for.
    async fn end(&self, error: EtcdError) -> Result<(), Gone> {
        let patience = self.app.config().leaderless_limit();
        let send = self.responses.send(Err(refuse(error)));
        // Sent or not, the stream ends when the conversation is dropped.
        let _sent = tokio::time::timeout(patience, send).await;
        Err(Gone)
    }
}

/// etcd's `cancel_reason` for missing rights is what Go prints for a gRPC status; its client takes it apart.
fn as_go_prints_it(error: &EtcdError) -> String {
    let code = Code::from_i32(error.code);
    format!("rpc error: code = {code:?} desc = {error}")
}

/// Splits a response so that no part exceeds `limit` bytes unless a single event does. All parts but the
/// last say `fragment`.
fn fragments(mut response: WatchResponse, limit: usize) -> Vec<WatchResponse> {
    if response.events.len() < 2 || response.encoded_len() < limit {
        return vec![response];
    }
    let events = std::mem::take(&mut response.events);
    let empty = response;
    let frame = empty.encoded_len();
    let mut parts = Vec::new();
    let mut part = empty.clone();
    let mut size = frame;
    for event in events {
        // A tag and a length of at most five bytes stand before each event.
        let bytes = event.encoded_len() + 6;
        if !part.events.is_empty() && size + bytes >= limit {
            part.fragment = true;
            parts.push(std::mem::replace(&mut part, empty.clone()));
            size = frame;
        }
        size += bytes;
        part.events.push(event);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use photon_proto::mvccpb::{Event, KeyValue};

    use super::*;

    fn event(bytes: usize) -> Event {
        Event {
            kv: Some(KeyValue {
                value: vec![7; bytes].into(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn response(sizes: &[usize]) -> WatchResponse {
        WatchResponse {
            watch_id: 3,
            events: sizes.iter().map(|size| event(*size)).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn small_responses_stay_whole() {
        let parts = fragments(response(&[10, 10]), 1000);
        assert_eq!(parts.len(), 1);
        assert!(!parts[0].fragment);
    }

    #[test]
    fn parts_keep_order_and_limit_and_only_the_last_is_final() {
        let whole = response(&[400, 400, 400, 5000, 10, 10]);
        let parts = fragments(whole.clone(), 1000);
        let joined: Vec<_> = parts.iter().flat_map(|part| part.events.clone()).collect();
        assert_eq!(joined, whole.events);
        assert!(parts.iter().all(|part| part.watch_id == 3));
        assert!(
            parts
                .iter()
                .all(|part| part.events.len() == 1 || part.encoded_len() < 1000)
        );
        let (last, rest) = parts.split_last().unwrap_or_else(|| unreachable!());
        assert!(!last.fragment);
        assert!(rest.iter().all(|part| part.fragment));
        assert_eq!(parts.len(), 4);
    }

    #[test]
    fn missing_rights_read_as_etcd_prints_them() {
        assert_eq!(
            as_go_prints_it(&EtcdError::PERMISSION_DENIED),
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        );
    }
}
