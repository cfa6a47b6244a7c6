//! Standing in line, which locks and elections share: one key per lease under a common prefix; whoever's key
//! was created first has its turn, and the others wait until all keys created before theirs are gone.
//!
//! ```text
//!   name/2f  create_revision 10   <- has its turn
//!   name/1a  create_revision 14   <- waits for name/2f
//!   name/77  create_revision 15   <- waits for name/1a
//! ```
//!
//! Source of the keys and their order: etcd's `client/v3/concurrency`, which etcd's own lock and election
//! services run on the server. A key goes away when its lease ends, so its holder may believe to have its turn
//! while the next one has it: what is done under a lock must be fenced by the key's create revision.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chainfire_engine::{
    EtcdError,
    watch::{WatchItem, WatchSpec},
};
use photon_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse,
        RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op, response_op,
    },
    mvccpb::{Event, KeyValue, event::EventType},
};
use tokio::sync::oneshot;
use tonic::{Code, Request, Status};

use super::enter::{Origin, common_name, enter, origin, resolve, token};
use crate::app::{App, Caller, WatchRefused, WatchSession, WatchUpdates};

/// What etcd grants to callers who bring no lease of their own.
const DEFAULT_TTL_SECONDS: i64 = 60;

/// Rest before looking again after a watch ended for another reason than an event.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Whoever called, for calls that go on for long: rights are looked up anew for every step.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) app: Arc<App>,
    token: Option<String>,
    common_name: Option<String>,
    origin: Origin,
}

/// A place in line.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: Bytes,
    /// The create revision of the key.
    pub(super) revision: i64,
    pub(super) lease: i64,
    /// As of the moment from which the place was the first.
    pub(super) header: ResponseHeader,
    /// Whether this call made the key; otherwise an earlier call with the same lease did.
    created: bool,
    /// The key that was last waited for.
    behind: Option<Bytes>,
    /// Whether it was the first from the start.
    first: bool,
}

impl Asker {
    /// The caller of a call, admitted.
    pub(super) async fn admit<T>(app: &Arc<App>, request: Request<T>) -> Result<(Self, T), Status> {
        let asker = Self {
            app: Arc::clone(app),
            token: token(request.metadata()).map(str::to_owned),
            common_name: common_name(request.extensions()).map(str::to_owned),
            origin: origin(request.extensions()),
        };
        let (_, message) = enter(app, request).await?;
        Ok((asker, message))
    }

    fn caller(&self) -> Result<Caller, EtcdError> {
        let (token, common_name) = (self.token.as_deref(), self.common_name.as_deref());
        resolve(&self.app, token, common_name, self.origin)
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, EtcdError> {
        self.app.txn(&self.caller()?, request).await
    }

    pub(super) async fn delete(&self, key: Bytes) -> Result<ResponseHeader, EtcdError> {
        let request = DeleteRangeRequest {
            key,
            ..Default::default()
        };
        let response = self.app.delete_range(&self.caller()?, request).await?;
        Ok(response.header.unwrap_or_default())
    }

    /// The first in line under `prefix`, and the revision it was read at.
    pub(super) async fn first(
        &self,
        prefix: &Bytes,
    ) -> Result<(ResponseHeader, Option<KeyValue>), EtcdError> {
        let request = first_created(prefix);
        let response = self.app.range(&self.caller()?, request).await?;
        let header = response.header.unwrap_or_default();
        Ok((header, response.kvs.into_iter().next()))
    }

    /// Watches keys from a revision on.
    pub(super) fn watch(
        &self,
        specs: impl IntoIterator<Item = WatchSpec>,
    ) -> Result<(WatchSession, WatchUpdates), EtcdError> {
        let (session, updates) = self.app.watch(self.caller()?)?;
        for spec in specs {
            match session.create(spec) {
                // What the hub refuses it also says through the updates.
                Ok(_) | Err(WatchRefused::Hub(_)) => {}
                Err(WatchRefused::Rights(error)) => return Err(error),
            }
        }
        Ok((session, updates))
    }

    /// The lease to stand in line with: the caller's own, or a new one that nobody keeps alive.
    async fn lease(&self, given: i64) -> Result<i64, EtcdError> {
        if given != 0 {
            return Ok(given);
        }
        let grant = LeaseGrantRequest {
            ttl: DEFAULT_TTL_SECONDS,
            id: 0,
        };
        let granted = self.app.lease_grant(&self.caller()?, grant).await?;
        Ok(granted.id)
    }

    /// Takes a place in line and waits for its turn, in a task of its own: should the caller go away, the
    /// place is given up.
    ///
    /// # Errors
    /// As a refusal of etcd's; `lost` when the key went away while it waited.
    pub(super) async fn take_turn(
        self,
        line: Bytes,
        lease: i64,
        value: Bytes,
        lost: EtcdError,
    ) -> Result<Place, Status> {
        let app = Arc::clone(&self.app);
        let (reply, outcome) = oneshot::channel();
        app.spawn(self.stand_in_line(line, lease, value, lost, reply));
        match outcome.await {
            Ok(outcome) => outcome.map_err(refuse),
            Err(_) => Err(refuse(EtcdError::STOPPED)),
        }
    }

    async fn stand_in_line(
        self,
        line: Bytes,
        lease: i64,
        value: Bytes,
        lost: EtcdError,
        mut reply: oneshot::Sender<Result<Place, EtcdError>>,
    ) {
        // Not given up half-way: a key that is about to appear must be known to be removed.
        let mut place = match self.join(&line, lease, value).await {
            Ok(place) => place,
            Err(error) => {
                // Whoever asked may be gone.
                let _told = reply.send(Err(error));
                return;
            }
        };
        let outcome = tokio::select! {
            biased;
            () = self.app.stopping().cancelled() => Err(EtcdError::STOPPED),
            () = reply.closed() => Err(EtcdError::STOPPED),
            turn = self.wait(&line, &mut place, lost) => turn,
        };
        match outcome {
            Ok(()) => {
                if let Err(Ok(place)) = reply.send(Ok(place)) {
                    self.leave(&place).await;
                }
            }
            Err(error) => {
                self.leave(&place).await;
                let _told = reply.send(Err(error));
            }
        }
    }

    /// Makes the key, or finds the one an earlier call with the same lease made.
    async fn join(&self, line: &Bytes, lease: i64, value: Bytes) -> Result<Place, EtcdError> {
        let lease = self.lease(lease).await?;
        let key = key(line, lease);
        let put = PutRequest {
            key: key.clone(),
            value,
            lease,
            ..Default::default()
        };
        let mine = RangeRequest {
            key: key.clone(),
            ..Default::default()
        };
        let response = self
            .txn(TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![op_put(put), op_range(first_created(line))],
                failure: vec![op_range(mine), op_range(first_created(line))],
            })
            .await?;
        let header = response.header.unwrap_or_default();
        let revision = if response.succeeded {
            header.revision
        } else {
            let found = one(&response.responses, 0);
            found.map_or(header.revision, |kv| kv.create_revision)
        };
        let first = one(&response.responses, 1).is_none_or(|kv| kv.create_revision == revision);
        Ok(Place {
            key,
            revision,
            lease,
            header,
            created: response.succeeded,
            behind: None,
            first,
        })
    }

    /// Returns when no key that was created before this one is left.
    async fn wait(
        &self,
        line: &Bytes,
        place: &mut Place,
        lost: EtcdError,
    ) -> Result<(), EtcdError> {
        if place.first {
            return Ok(());
        }
        loop {
            let before = RangeRequest {
                max_create_revision: place.revision - 1,
                sort_order: SortOrder::Descend as i32,
                ..first_created(line)
            };
            let mine = RangeRequest {
                key: place.key.clone(),
                keys_only: true,
                ..Default::default()
            };
            let response = self
                .txn(TxnRequest {
                    compare: vec![created_at(&place.key, place.revision)],
                    success: vec![op_range(before), op_range(mine)],
                    failure: Vec::new(),
                })
                .await?;
            if !response.succeeded {
                return Err(lost);
            }
            let header = response.header.unwrap_or_default();
            let Some(ahead) = one(&response.responses, 0) else {
                place.header = header;
                return Ok(());
            };
            place.behind = Some(ahead.key.clone());
            let keys = [ahead.key.clone(), place.key.clone()];
            self.until_deleted(keys, header.revision + 1).await?;
        }
    }

    /// Returns when one of the keys may have been deleted at or after a revision.
    async fn until_deleted(&self, keys: [Bytes; 2], from: i64) -> Result<(), EtcdError> {
        let specs = keys.map(|key| WatchSpec {
            key,
            start_revision: from,
            no_put: true,
            ..Default::default()
        });
        let (_session, mut updates) = self.watch(specs)?;
        loop {
            match updates.recv().await {
                Some(WatchItem::Created { .. } | WatchItem::Progress { .. }) => {}
                Some(WatchItem::Events { .. }) => return Ok(()),
                Some(_) | None => {
                    rest().await;
                    return Ok(());
                }
            }
        }
    }

    /// Removes the key of a place that is given up, unless the place may be the first by another call that
    /// stands in line with the same lease.
    pub(super) async fn leave(&self, place: &Place) {
        let mut compare = vec![created_at(&place.key, place.revision)];
        if !place.created {
            let Some(ahead) = &place.behind else { return };
            compare.push(exists(ahead));
        }
        let given_up = self
            .txn(TxnRequest {
                compare,
                success: vec![op_delete(place.key.clone())],
                failure: Vec::new(),
            })
            .await;
        if let Err(error) = given_up {
            // It goes with its lease.
            tracing::warn!(%error, "could not remove the key of a caller that no longer waits");
        }
    }
}

/// A pause after a watch that ended by itself, so that looking again is no busy loop.
pub(super) async fn rest() {
    tokio::time::sleep(LOOK_AGAIN).await;
}

/// etcd's lock and election services pass on what their own client library returns, whose errors carry no
/// gRPC code: clients tell them by their text.
pub(super) fn refuse(error: EtcdError) -> Status {
    if error == EtcdError::STOPPED {
        return super::enter::refuse(error);
    }
    Status::new(Code::Unknown, error.message)
}

/// What all keys of a line begin with.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

fn key(line: &Bytes, lease: i64) -> Bytes {
    // As Go prints a negative number in hexadecimal.
    let sign = if lease < 0 { "-" } else { "" };
    let lease = format!("{sign}{:x}", lease.unsigned_abs());
    [line, lease.as_bytes()].concat().into()
}

/// The end of the range of all keys that begin with a prefix, which ends in `/` and so can be counted up.
pub(super) fn range_end(line: &Bytes) -> Bytes {
    let mut end = line.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

fn first_created(line: &Bytes) -> RangeRequest {
    RangeRequest {
        key: line.clone(),
        range_end: range_end(line),
        limit: 1,
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Create as i32,
        ..Default::default()
    }
}

/// Whether the key was created at this revision; 0: whether there is none.
pub(super) fn created_at(key: &Bytes, revision: i64) -> Compare {
    compare_created(key, CompareResult::Equal, revision)
}

fn exists(key: &Bytes) -> Compare {
    compare_created(key, CompareResult::Greater, 0)
}

fn compare_created(key: &Bytes, result: CompareResult, revision: i64) -> Compare {
    Compare {
        result: result as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

pub(super) fn op_put(put: PutRequest) -> RequestOp {
    RequestOp {
        request: Some(request_op::Request::RequestPut(put)),
    }
}

pub(super) fn op_delete(key: Bytes) -> RequestOp {
    let delete = DeleteRangeRequest {
        key,
        ..Default::default()
    };
    RequestOp {
        request: Some(request_op::Request::RequestDeleteRange(delete)),
    }
}

pub(super) fn op_range(range: RangeRequest) -> RequestOp {
    RequestOp {
        request: Some(request_op::Request::RequestRange(range)),
    }
}

/// The first row of the range that was the `index`th operation.
pub(super) fn one(responses: &[ResponseOp], index: usize) -> Option<&KeyValue> {
    match &responses.get(index)?.response {
        Some(response_op::Response::ResponseRange(RangeResponse { kvs, .. })) => kvs.first(),
        _ => None,
    }
}

pub(super) fn is_delete(event: &Event) -> bool {
    event.r#type == EventType::Delete as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_etcd_names_them() {
        let line = prefix(b"name");
        assert_eq!(key(&line, 0x399_0da2), "name/3990da2");
        assert_eq!(key(&line, -255), "name/-ff");
        assert_eq!(range_end(&line), "name0");
    }
}
