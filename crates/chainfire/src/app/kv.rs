//! Keys and values: range, put, delete, transaction, compaction.

use chainfire_engine::{Engine, EtcdError, Request as Asked};
use photon_proto::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest,
        TxnResponse, range_request::SortOrder, request_op::Request,
    },
    photon::chainfire::command::v1::{command::Op, reply},
};

use super::{App, Caller, blocking, unexpected_reply};

/// Ranges that may return more rows than this are read away from the request threads.
const INLINE_ROWS: i64 = 128;

impl App {
    /// Reads a key or a range; linearizable unless `request.serializable`.
    ///
    /// # Errors
    /// etcd's static checks, `permission denied`, future or compacted revision, no leader or timeout.
    pub async fn range(
        &self,
        caller: &Caller,
        request: RangeRequest,
    ) -> Result<RangeResponse, EtcdError> {
        self.engine.check_range(&request)?;
        if !request.serializable {
            self.linearize().await?;
        }
        self.authorize(caller, Asked::Range(&request))?;
        let mut response = if is_short(&request) {
            self.engine.range(&request)?
        } else {
            let engine = self.engine.clone();
            blocking(move || engine.range(&request)).await?
        };
        self.still_allowed(caller)?;
        let revision = revision_of(response.header.as_ref());
        response.header = Some(self.header_at(revision));
        Ok(response)
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
        if is_deeper_than(&request, MAX_NESTING) {
            return Err(EtcdError::TOO_MANY_OPS);
        }
        self.engine.check_txn(&request)?;
        if Engine::is_read_only(&request) {
            return self.read_txn(caller, request).await;
        }
        self.authorize(caller, Asked::Txn(&request))?;
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
    ) -> Result<TxnResponse, EtcdError> {
        if !is_serializable(&request) {
            self.linearize().await?;
        }
        self.authorize(caller, Asked::Txn(&request))?;
        let engine = self.engine.clone();
        let mut response = blocking(move || engine.read_txn(&request)).await?;
        self.still_allowed(caller)?;
        let revision = revision_of(response.header.as_ref());
        response.header = Some(self.header_at(revision));
        Ok(response)
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
    fn only_serializable_ranges_may_be_read_locally() {
        let inner = nested(txn(vec![range(true)]));
        assert!(is_serializable(&txn(vec![range(true), inner])));
        assert!(!is_serializable(&txn(vec![range(true), range(false)])));
        assert!(!is_serializable(&txn(vec![])));
    }
}
