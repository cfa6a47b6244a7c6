//! What the engine must answer, computed the plain way: the whole state of every revision in a map.

use std::collections::BTreeMap;

use bytes::Bytes;
use chainfire_engine::EtcdError;
use photon_proto::{
    etcdserverpb::{
        CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse, LeaseGrantResponse,
        LeaseRevokeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp,
        ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op, response_op,
    },
    mvccpb::{Event, KeyValue, event::EventType},
    photon::chainfire::command::v1::{Failure, Reply, command::Op, reply},
};

type State = BTreeMap<Bytes, KeyValue>;

pub(crate) struct Model {
    /// The state after each revision; index 0 is revision 1.
    states: Vec<State>,
    /// All changes.
    pub(crate) events: BTreeMap<i64, Vec<Event>>,
    pub(crate) compacted: i64,
    leases: BTreeMap<i64, i64>,
    /// The transaction that is running.
    draft: State,
    changes: Vec<Event>,
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    match end {
        [] => key == start,
        [0] => key >= start,
        end => key >= start && key < end,
    }
}

type Refused<T> = Result<T, EtcdError>;

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            states: vec![State::new()],
            events: BTreeMap::new(),
            compacted: -1,
            leases: BTreeMap::new(),
            draft: State::new(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        self.states.len() as i64
    }

    fn current(&self) -> i64 {
        self.revision() + i64::from(!self.changes.is_empty())
    }

    fn at(&self, revision: i64) -> &State {
        if revision > self.revision() {
            &self.draft
        } else {
            &self.states[revision as usize - 1]
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) -> Reply {
        self.draft = self.states.last().unwrap().clone();
        let result = self.run(op).unwrap_or_else(|error| {
            reply::Result::Failure(Failure {
                code: error.code,
                message: error.message.into_owned(),
            })
        });
        Reply {
            revision: self.revision(),
            result: Some(result),
        }
    }

    fn commit(&mut self) {
        if self.changes.is_empty() {
            return;
        }
        self.states.push(self.draft.clone());
        self.events
            .insert(self.revision(), std::mem::take(&mut self.changes));
    }

    fn run(&mut self, op: &Op) -> Refused<reply::Result> {
        Ok(match op {
            Op::Put(request) => {
                if request.lease != 0 && !self.leases.contains_key(&request.lease) {
                    return Err(EtcdError::LEASE_NOT_FOUND);
                }
                self.check_put(request)?;
                let response = self.put(request);
                self.commit();
                reply::Result::Put(response)
            }
            Op::DeleteRange(request) => {
                let response = self.delete(request);
                self.commit();
                reply::Result::DeleteRange(response)
            }
            Op::Txn(request) => {
                let decided = self.decide(request);
                self.check(&decided)?;
                let mut response = self.execute(&decided)?;
                self.commit();
                response.header = header(self.revision());
                reply::Result::Txn(response)
            }
            Op::Compact(request) => {
                if request.revision <= self.compacted {
                    return Err(EtcdError::COMPACTED);
                }
                if request.revision > self.revision() {
                    return Err(EtcdError::FUTURE_REV);
                }
                self.compacted = request.revision;
                reply::Result::Compact(CompactionResponse {
                    header: header(self.revision()),
                })
            }
            Op::LeaseGrant(request) => {
                if self.leases.contains_key(&request.id) {
                    return Err(EtcdError::LEASE_EXIST);
                }
                self.leases.insert(request.id, request.ttl);
                reply::Result::LeaseGrant(LeaseGrantResponse {
                    header: header(self.revision()),
                    id: request.id,
                    ttl: request.ttl,
                    error: String::new(),
                })
            }
            Op::LeaseRevoke(request) => {
                if self.leases.remove(&request.id).is_none() {
                    return Err(EtcdError::LEASE_NOT_FOUND);
                }
                for key in self.lease_keys(request.id) {
                    self.delete_one(&key);
                }
                self.commit();
                reply::Result::LeaseRevoke(LeaseRevokeResponse {
                    header: header(self.revision()),
                })
            }
            other => panic!("the model does not know {other:?}"),
        })
    }

    pub(crate) fn lease_keys(&self, id: i64) -> Vec<Bytes> {
        let state = self.states.last().unwrap();
        let on_it = state.values().filter(|kv| kv.lease == id);
        on_it.map(|kv| kv.key.clone()).collect()
    }

    fn check_put(&self, request: &PutRequest) -> Refused<()> {
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && !self.states.last().unwrap().contains_key(&request.key) {
            return Err(EtcdError::KEY_NOT_FOUND);
        }
        if request.lease != 0 && !self.leases.contains_key(&request.lease) {
            return Err(EtcdError::LEASE_NOT_FOUND);
        }
        Ok(())
    }

    fn put(&mut self, request: &PutRequest) -> PutResponse {
        let revision = self.revision() + 1;
        let old = self.draft.get(&request.key).cloned();
        let before = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: request.key.clone(),
            create_revision: if old.is_some() {
                before.create_revision
            } else {
                revision
            },
            mod_revision: revision,
            version: before.version + 1,
            value: if request.ignore_value {
                before.value
            } else {
                request.value.clone()
            },
            lease: if request.ignore_lease {
                before.lease
            } else {
                request.lease
            },
        };
        self.draft.insert(kv.key.clone(), kv.clone());
        self.changes.push(Event {
            r#type: EventType::Put.into(),
            kv: Some(kv),
            prev_kv: None,
        });
        PutResponse {
            header: header(revision),
            prev_kv: old.filter(|_| request.prev_kv),
        }
    }

    fn delete_one(&mut self, key: &Bytes) {
        self.draft.remove(key);
        self.changes.push(Event {
            r#type: EventType::Delete.into(),
            kv: Some(KeyValue {
                key: key.clone(),
                mod_revision: self.revision() + 1,
                ..KeyValue::default()
            }),
            prev_kv: None,
        });
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let hit = |kv: &&KeyValue| within(&kv.key, &request.key, &request.range_end);
        let gone: Vec<KeyValue> = self.draft.values().filter(hit).cloned().collect();
        for kv in &gone {
            self.delete_one(&kv.key);
        }
        DeleteRangeResponse {
            header: header(self.current()),
            deleted: gone.len() as i64,
            prev_kvs: if request.prev_kv { gone } else { vec![] },
        }
    }

    pub(crate) fn range(&self, request: &RangeRequest) -> Refused<RangeResponse> {
        let revision = self.current();
        let at = if request.revision <= 0 {
            revision
        } else {
            request.revision
        };
        if at > revision {
            return Err(EtcdError::FUTURE_REV);
        }
        if at < self.compacted {
            return Err(EtcdError::COMPACTED);
        }
        let hit = |kv: &&KeyValue| within(&kv.key, &request.key, &request.range_end);
        let mut kvs: Vec<KeyValue> = self.at(at).values().filter(hit).cloned().collect();
        let mut response = RangeResponse {
            header: header(revision),
            count: kvs.len() as i64,
            ..RangeResponse::default()
        };
        if request.count_only {
            return Ok(response);
        }
        let limit = request.limit.max(0) as usize;
        let plain = request.sort_order() == SortOrder::None
            && request.min_mod_revision == 0
            && request.max_mod_revision == 0
            && request.min_create_revision == 0
            && request.max_create_revision == 0;
        if plain && limit > 0 {
            kvs.truncate(limit + 1);
        }
        let keep = |value: i64, min: i64, max: i64| {
            (min == 0 || value >= min) && (max == 0 || value <= max)
        };
        kvs.retain(|kv| {
            keep(
                kv.mod_revision,
                request.min_mod_revision,
                request.max_mod_revision,
            )
        });
        kvs.retain(|kv| {
            keep(
                kv.create_revision,
                request.min_create_revision,
                request.max_create_revision,
            )
        });
        kvs.sort_by(|a, b| {
            let order = match request.sort_target() {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if request.sort_order() == SortOrder::Descend {
                order.reverse()
            } else {
                order
            }
        });
        if limit > 0 && kvs.len() > limit {
            kvs.truncate(limit);
            response.more = true;
        }
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        response.kvs = kvs;
        Ok(response)
    }

    fn holds(&self, compare: &Compare) -> bool {
        let state = self.states.last().unwrap();
        let hit: Vec<_> = state
            .values()
            .filter(|kv| within(&kv.key, &compare.key, &compare.range_end))
            .collect();
        if hit.is_empty() {
            let target = compare.target();
            return target != CompareTarget::Value && holds_for(compare, &KeyValue::default());
        }
        hit.into_iter().all(|kv| holds_for(compare, kv))
    }

    fn decide<'r>(&self, request: &'r TxnRequest) -> Decided<'r> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let decide = |op: &'r RequestOp| match op.request.as_ref().unwrap() {
            request_op::Request::RequestTxn(nested) => Step::Txn(self.decide(nested)),
            other => Step::Plain(other),
        };
        Decided {
            succeeded,
            steps: ops.iter().map(decide).collect(),
        }
    }

    fn check(&self, decided: &Decided<'_>) -> Refused<()> {
        for step in &decided.steps {
            match step {
                Step::Txn(nested) => self.check(nested)?,
                Step::Plain(request_op::Request::RequestPut(put)) => self.check_put(put)?,
                Step::Plain(request_op::Request::RequestRange(range)) => {
                    if range.revision > self.revision() {
                        return Err(EtcdError::FUTURE_REV);
                    }
                    if range.revision != 0 && range.revision < self.compacted {
                        return Err(EtcdError::COMPACTED);
                    }
                }
                Step::Plain(_) => {}
            }
        }
        Ok(())
    }

    fn execute(&mut self, decided: &Decided<'_>) -> Refused<TxnResponse> {
        let mut responses = Vec::new();
        for step in &decided.steps {
            let response = match step {
                Step::Txn(nested) => response_op::Response::ResponseTxn(self.execute(nested)?),
                Step::Plain(request_op::Request::RequestPut(put)) => {
                    response_op::Response::ResponsePut(self.put(put))
                }
                Step::Plain(request_op::Request::RequestRange(range)) => {
                    response_op::Response::ResponseRange(self.range(range)?)
                }
                Step::Plain(request_op::Request::RequestDeleteRange(delete)) => {
                    response_op::Response::ResponseDeleteRange(self.delete(delete))
                }
                Step::Plain(request_op::Request::RequestTxn(_)) => unreachable!(),
            };
            responses.push(ResponseOp {
                response: Some(response),
            });
        }
        Ok(TxnResponse {
            header: Some(ResponseHeader::default()),
            succeeded: decided.succeeded,
            responses,
        })
    }
}

struct Decided<'r> {
    succeeded: bool,
    steps: Vec<Step<'r>>,
}

enum Step<'r> {
    Plain(&'r request_op::Request),
    Txn(Decided<'r>),
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match compare.target_union.as_ref().unwrap() {
        TargetUnion::Version(want) => kv.version.cmp(want),
        TargetUnion::CreateRevision(want) => kv.create_revision.cmp(want),
        TargetUnion::ModRevision(want) => kv.mod_revision.cmp(want),
        TargetUnion::Lease(want) => kv.lease.cmp(want),
        TargetUnion::Value(want) => kv.value.cmp(want),
    };
    match compare.result() {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}
