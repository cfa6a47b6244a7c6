//! Keys and values: range, put, delete, transaction, compaction.

use chainfire_engine::{Budget, Cost, Engine, EtcdError, Request as Asked};
use photon_proto::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest,
        TxnResponse, range_request::SortOrder, request_op::Request,
    },
    photon::chainfire::command::v1::{command::Op, reply},
};

use super::{App, Caller, NOT_JOINED, blocking, unexpected_reply};

/// The most that one answer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLimit {
    /// In all.
    pub(crate) bytes: usize,
    /// What each row takes of it.
    pub(crate) cost: Cost,
    /// The most that one byte of a row can cost.
    pub(crate) per_byte: usize,
}

impl AnswerLimit {
    fn budget(self) -> Budget {
        Budget::new(self.bytes, self.cost)
    }
}

/// Ranges that may return more rows than this are read away from the request threads.
const INLINE_ROWS: i64 = 128;

impl App {
    /// Reads a key or a range; linearizable unless `request.serializable`.
    ///
    /// # Errors
    /// etcd's static checks, `permission denied`, future or compacted revision, no leader or timeout; unavailable on a
    /// node that is in no cluster yet.
    pub async fn range(
        &self,
        caller: &Caller,
        request: RangeRequest,
    ) -> Result<RangeResponse, EtcdError> {
        let inline = is_short(&request);
        self.read(caller, request, Budget::unlimited(), inline)
            .await
    }

    /// Reads as many rows of a range, in the order of the keys, as the limit holds: `more` says that there are others.
    ///
    /// # Errors
    /// As [`App::range`].
    pub(crate) async fn range_within(
        &self,
        caller: &Caller,
        request: RangeRequest,
        limit: AnswerLimit,
    ) -> Result<RangeResponse, EtcdError> {
        self.read(caller, request, limit.budget(), false).await
    }

    async fn read(
        &self,
        caller: &Caller,
        request: RangeRequest,
        budget: Budget,
        inline: bool,
    ) -> Result<RangeResponse, EtcdError> {
        self.engine.check_range(&request)?;
        if request.serializable {
            self.readable_locally().await?;
        } else {
            self.linearize().await?;
        }
        self.authorize(caller, Asked::Range(&request))?;
        let mut response = if inline {
            self.engine.range_within(&request, budget)?
        } else {
            let engine = self.engine.clone();
            blocking(move || engine.range_within(&request, budget)).await?
        };
        self.still_allowed(caller)?;
        let revision = revision_of(response.header.as_ref());
        response.header = Some(self.header_at(revision));
        Ok(response)
    }

    /// Returns when what this node has may be shown as it is. A node that waits to be added says so at once.
    async fn readable_locally(&self) -> Result<(), EtcdError> {
        if self.cluster_id() == 0 && !self.raft.borrow().joined {
            return Err(NOT_JOINED);
        }
        self.recovered().await?;
        self.require_cluster()
    }

    /// Writes one key.
    ///
    /// # Errors
    /// etcd's static checks, `permission denied`, `requested lease not found`, `database space exceeded`, and
    /// what every proposal may answer.
    pub async fn put(
        &self,
        caller: &Caller,
        request: PutRequest,
    ) -> Result<PutResponse, EtcdError> {
        self.engine.check_put(&request)?;
        self.authorize(caller, Asked::Put(&request))?;
        self.require_space().await?;
        let applied = self.propose(caller, Op::Put(request)).await?;
        let header = Some(self.header_of(&applied));
        match applied.result {
            Some(reply::Result::Put(response)) => Ok(PutResponse { header, ..response }),
            _ => Err(unexpected_reply()),
        }
    }

    /// Deletes a key or a range.
    ///
    /// # Errors
    /// etcd's static checks, `permission denied`, and what every proposal may answer.
    pub async fn delete_range(
        &self,
        caller: &Caller,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, EtcdError> {
        self.engine.check_delete(&request)?;
        self.authorize(caller, Asked::Delete(&request))?;
        let applied = self.propose(caller, Op::DeleteRange(request)).await?;
        let header = Some(self.header_of(&applied));
        match applied.result {
            Some(reply::Result::DeleteRange(response)) => {
                Ok(DeleteRangeResponse { header, ..response })
            }
            _ => Err(unexpected_reply()),
        }
    }

    /// Runs a transaction. One that only reads never goes through the log.
    ///
    /// # Errors
    /// etcd's static checks, those of every operation in it, and what every proposal may answer.
    pub async fn txn(
        &self,
        caller: &Caller,
        request: TxnRequest,
    ) -> Result<TxnResponse, EtcdError> {
        self.run_txn(caller, request, None).await
    }

    /// Runs a transaction whose ranges together answer no more than the limit.
    ///
    /// One that only reads is refused while its answer is collected. What is in the log every member carries out to its
    /// end, so of a transaction that writes both branches are measured before it is proposed, on a state that has
    /// everything acknowledged by then; what others write between that and its turn is not in the measure.
    ///
    /// # Errors
    /// As [`App::txn`]; `ANSWER_TOO_LARGE`, and then nothing was written.
    pub(crate) async fn txn_within(
        &self,
        caller: &Caller,
        request: TxnRequest,
        limit: AnswerLimit,
    ) -> Result<TxnResponse, EtcdError> {
        self.run_txn(caller, request, Some(limit)).await
    }

    async fn run_txn(
        &self,
        caller: &Caller,
        request: TxnRequest,
        limit: Option<AnswerLimit>,
    ) -> Result<TxnResponse, EtcdError> {
        if is_deeper_than(&request, MAX_NESTING) {
            return Err(EtcdError::TOO_MANY_OPS);
        }
        self.engine.check_txn(&request)?;
        if Engine::is_read_only(&request) {
            let budget = limit.map_or_else(Budget::unlimited, AnswerLimit::budget);
            return self.read_txn(caller, request, budget).await;
        }
        self.authorize(caller, Asked::Txn(&request))?;
        if let Some(limit) = limit {
            self.measure(&request, limit).await?;
        }
        if puts(&request) {
            self.require_space().await?;
        }
        let applied = self.propose(caller, Op::Txn(request)).await?;
        let header = Some(self.header_of(&applied));
        match applied.result {
            Some(reply::Result::Txn(response)) => Ok(TxnResponse { header, ..response }),
            _ => Err(unexpected_reply()),
        }
    }

    async fn read_txn(
        &self,
        caller: &Caller,
        request: TxnRequest,
        budget: Budget,
    ) -> Result<TxnResponse, EtcdError> {
        if is_serializable(&request) {
            self.readable_locally().await?;
        } else {
            self.linearize().await?;
        }
        self.authorize(caller, Asked::Txn(&request))?;
        let engine = self.engine.clone();
        let mut response = blocking(move || engine.read_txn_within(&request, budget)).await?;
        self.still_allowed(caller)?;
        let revision = revision_of(response.header.as_ref());
        response.header = Some(self.header_at(revision));
        Ok(response)
    }

    /// Whether each branch's ranges, as the keys are now, answer no more than the limit.
    async fn measure(&self, request: &TxnRequest, limit: AnswerLimit) -> Result<(), EtcdError> {
        let largest_row = self.config.limits.request_bytes * limit.per_byte;
        let branches: Vec<Reads> = [&request.success, &request.failure]
            .into_iter()
            .map(|ops| Reads::of(ops, limit.cost))
            .filter(|reads| !reads.surely_within(limit.bytes, largest_row))
            .collect();
        if branches.is_empty() {
            return Ok(());
        }
        self.linearize().await?;
        let engine = self.engine.clone();
        blocking(move || {
            for Reads { ranges, put } in branches {
                let left = limit.bytes.checked_sub(put);
                let left = left.ok_or(EtcdError::ANSWER_TOO_LARGE)?;
                let asked = TxnRequest {
                    success: ranges,
                    ..TxnRequest::default()
                };
                engine.read_txn_within(&asked, Budget::new(left, limit.cost))?;
            }
            Ok(())
        })
        .await
    }

    /// Gives up the history before a revision. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`, compacted or future revision, and what every proposal may answer.
    pub async fn compact(
        &self,
        caller: &Caller,
        request: CompactionRequest,
    ) -> Result<CompactionResponse, EtcdError> {
        self.require_root(caller)?;
        let CompactionRequest { revision, physical } = request;
        let applied = self.propose(caller, Op::Compact(request)).await?;
        if physical {
            let engine = self.engine.clone();
            let deadline = self.deadline().into_std();
            let removed = blocking(move || Ok(engine.wait_compacted(revision, deadline))).await?;
            if !removed {
                return Err(EtcdError::TIMEOUT);
            }
        }
        Ok(CompactionResponse {
            header: Some(self.header_of(&applied)),
        })
    }
}

/// Transactions within transactions, at most. Each adds two messages to the depth of the command, of its reply and of
/// the answer, and protobuf decoders follow a hundred: what goes into the log must come out of it.
const MAX_NESTING: usize = 32;

fn is_deeper_than(request: &TxnRequest, levels: usize) -> bool {
    let mut branches = request.success.iter().chain(&request.failure);
    branches.any(|op| match &op.request {
        Some(Request::RequestTxn(nested)) => levels == 0 || is_deeper_than(nested, levels - 1),
        _ => false,
    })
}

/// What the ranges of a branch may find, as a transaction of its own on the state before.
#[derive(Debug, Default)]
struct Reads {
    ranges: Vec<RequestOp>,
    /// What rows that the branch itself puts cost, wherever they are read again.
    put: usize,
}

impl Reads {
    fn of(ops: &[RequestOp], cost: Cost) -> Self {
        let mut reads = Self::default();
        let mut before = Before::default();
        reads.add(ops, cost, &mut before);
        reads
    }

    fn add<'a>(&mut self, ops: &'a [RequestOp], cost: Cost, before: &mut Before<'a>) {
        for op in ops {
            match &op.request {
                Some(Request::RequestRange(range)) => {
                    let found = before.puts.iter().filter(|put| covers(range, &put.key));
                    self.put += found.map(|put| cost(&put.key, &put.value)).sum::<usize>();
                    let range = Request::RequestRange(before.widened(range));
                    self.ranges.push(RequestOp {
                        request: Some(range),
                    });
                }
                Some(Request::RequestPut(put)) => before.puts.push(put),
                Some(Request::RequestDeleteRange(delete)) if delete.range_end.is_empty() => {
                    before.deleted += 1;
                }
                Some(Request::RequestDeleteRange(_)) => before.deleted_ranges = true,
                // Either of its branches may run.
                Some(Request::RequestTxn(nested)) => {
                    self.add(&nested.success, cost, before);
                    self.add(&nested.failure, cost, before);
                }
                None => {}
            }
        }
    }

    /// Whether it need not be looked at: a few single keys, each as large as a request lets it be.
    fn surely_within(&self, bytes: usize, largest_row: usize) -> bool {
        let point = |op: &RequestOp| matches!(&op.request, Some(Request::RequestRange(range)) if range.range_end.is_empty());
        self.ranges.iter().all(point) && self.ranges.len().saturating_mul(largest_row) <= bytes
    }
}

/// What a branch has changed before a range of it is read.
#[derive(Default)]
struct Before<'a> {
    puts: Vec<&'a PutRequest>,
    /// Single keys.
    deleted: i64,
    deleted_ranges: bool,
}

impl Before<'_> {
    /// The range on the state before: with as many more rows as were deleted, which let others move up.
    fn widened(&self, range: &RangeRequest) -> RangeRequest {
        let limit = match range.limit {
            limit if limit <= 0 || self.deleted_ranges => 0,
            limit => limit.saturating_add(self.deleted),
        };
        RangeRequest {
            limit,
            ..range.clone()
        }
    }
}

fn covers(range: &RangeRequest, key: &[u8]) -> bool {
    match &range.range_end[..] {
        [] => range.key == key,
        [0] => range.key <= key,
        end => range.key <= key && key < end,
    }
}

/// Whether reading it costs no more than serving another request meanwhile would.
fn is_short(request: &RangeRequest) -> bool {
    let in_key_order = request.sort_order == SortOrder::None as i32
        && request.min_mod_revision == 0
        && request.max_mod_revision == 0
        && request.min_create_revision == 0
        && request.max_create_revision == 0;
    request.range_end.is_empty()
        || (request.count_only && request.revision == 0)
        || (in_key_order && (1..=INLINE_ROWS).contains(&request.limit))
}

fn revision_of(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// Whether a transaction that only reads may be read locally: every range in it allows it, and there is one.
/// Without any, its answer is the outcome of its compares, which are linearizable.
fn is_serializable(request: &TxnRequest) -> bool {
    let mut ranges = 0;
    let all_allow = visit(request, &mut |op| match &op.request {
        Some(Request::RequestRange(range)) => {
            ranges += 1;
            range.serializable
        }
        _ => true,
    });
    all_allow && ranges > 0
}

/// Whether a branch may put.
fn puts(request: &TxnRequest) -> bool {
    !visit(request, &mut |op| {
        !matches!(op.request, Some(Request::RequestPut(_)))
    })
}

/// Calls `see` for each operation of the whole tree until it answers false; whether it never did.
fn visit(request: &TxnRequest, see: &mut impl FnMut(&RequestOp) -> bool) -> bool {
    request.success.iter().chain(&request.failure).all(|op| {
        see(op)
            && match &op.request {
                Some(Request::RequestTxn(nested)) => visit(nested, see),
                _ => true,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(serializable: bool) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestRange(RangeRequest {
                key: "k".into(),
                serializable,
                ..Default::default()
            })),
        }
    }

    fn put() -> RequestOp {
        RequestOp {
            request: Some(Request::RequestPut(PutRequest {
                key: "key".into(),
                value: "value".into(),
                ..Default::default()
            })),
        }
    }

    fn txn(success: Vec<RequestOp>) -> TxnRequest {
        TxnRequest {
            success,
            ..Default::default()
        }
    }

    fn nested(inner: TxnRequest) -> RequestOp {
        RequestOp {
            request: Some(Request::RequestTxn(inner)),
        }
    }

    #[test]
    fn a_put_at_any_depth_needs_space() {
        assert!(puts(&txn(vec![range(false), put()])));
        assert!(puts(&txn(vec![nested(txn(vec![put()]))])));
        assert!(!puts(&txn(vec![nested(txn(vec![range(true)]))])));
    }

    #[test]
    fn what_a_branch_reads_is_measured_on_the_state_before() {
        let op = |request| RequestOp {
            request: Some(request),
        };
        let list = |end: &'static str, limit| {
            op(Request::RequestRange(RangeRequest {
                key: "a".into(),
                range_end: end.into(),
                limit,
                ..Default::default()
            }))
        };
        let delete = |end: &'static str| {
            op(Request::RequestDeleteRange(DeleteRangeRequest {
                key: "d".into(),
                range_end: end.into(),
                ..Default::default()
            }))
        };
        let branch = [
            list("z", 7),
            put(),
            delete(""),
            list("z", 7),
            list("b", 0),
            delete("e"),
            list("\0", 7),
            range(false),
        ];
        let cost: Cost = |key, value| key.len() + value.len();
        let reads = Reads::of(&branch, cost);
        let limits: Vec<i64> = reads
            .ranges
            .iter()
            .map(|op| match &op.request {
                Some(Request::RequestRange(range)) => range.limit,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(limits, [7, 8, 0, 0, 0]);
        // "key" and "value", in both ranges read after the put that they are in.
        assert_eq!(reads.put, 2 * 8);
        assert!(!reads.surely_within(usize::MAX, 1));
        let points = Reads::of(&[range(false), put(), range(false)], cost);
        assert!(points.surely_within(20, 10));
        assert!(!points.surely_within(19, 10));
    }

    #[test]
    fn only_serializable_ranges_may_be_read_locally() {
        let inner = nested(txn(vec![range(true)]));
        assert!(is_serializable(&txn(vec![range(true), inner])));
        assert!(!is_serializable(&txn(vec![range(true), range(false)])));
        assert!(!is_serializable(&txn(vec![])));
    }
}
