//! The checks etcd's door makes before a request goes anywhere. They look at the request only.
//!
//! Source of rules and order: etcd 3.6, `server/etcdserver/api/v3rpc/key.go`.

use std::collections::HashSet;

use bytes::Bytes;
use photon_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    range_request::{SortOrder, SortTarget},
    request_op,
};

use crate::error::EtcdError;

type Checked = Result<(), EtcdError>;

pub(crate) fn range(request: &RangeRequest) -> Checked {
    if request.key.is_empty() {
        return Err(EtcdError::EMPTY_KEY);
    }
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if known {
        Ok(())
    } else {
        Err(EtcdError::INVALID_SORT_OPTION)
    }
}

pub(crate) fn put(request: &PutRequest) -> Checked {
    if request.key.is_empty() {
        return Err(EtcdError::EMPTY_KEY);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(EtcdError::VALUE_PROVIDED);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(EtcdError::LEASE_PROVIDED);
    }
    Ok(())
}

pub(crate) fn delete(request: &DeleteRangeRequest) -> Checked {
    if request.key.is_empty() {
        return Err(EtcdError::EMPTY_KEY);
    }
    Ok(())
}

pub(crate) fn txn(request: &TxnRequest, max_ops: usize) -> Checked {
    shape(request, max_ops)?;
    // After the counts, so that the overlap check has a bounded size.
    intervals(&request.success)?;
    intervals(&request.failure)?;
    Ok(())
}

fn shape(request: &TxnRequest, max_ops: usize) -> Checked {
    let ops = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    // Nested transactions share the budget of the one around them.
    let Some(left) = max_ops.checked_sub(ops) else {
        return Err(EtcdError::TOO_MANY_OPS);
    };
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(EtcdError::EMPTY_KEY);
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(request_op::Request::RequestRange(inner)) => range(inner)?,
            Some(request_op::Request::RequestPut(inner)) => put(inner)?,
            Some(request_op::Request::RequestDeleteRange(inner)) => delete(inner)?,
            Some(request_op::Request::RequestTxn(inner)) => shape(inner, left)?,
            None => return Err(EtcdError::KEY_NOT_FOUND),
        }
    }
    Ok(())
}

/// What a branch may write: the keys it puts, the ranges it deletes.
#[derive(Default)]
struct Writes {
    puts: HashSet<Bytes>,
    deletes: Vec<(Bytes, Bytes)>,
}

impl Writes {
    /// As etcd's interval tree sees it: the bounds are compared as they are, so that `\0` as an end, which
    /// deletes everything from `start` on, never meets a put.
    fn deletes(&self, key: &Bytes) -> bool {
        self.deletes.iter().any(|(start, end)| {
            if end.is_empty() {
                start == key
            } else {
                start <= key && key < end
            }
        })
    }

    fn add_put(&mut self, key: &Bytes) -> Checked {
        if self.puts.contains(key) || self.deletes(key) {
            return Err(EtcdError::DUPLICATE_KEY);
        }
        self.puts.insert(key.clone());
        Ok(())
    }
}

/// Refuses a branch that puts a key twice, or puts and deletes it, whatever the order.
///
/// One gap is etcd's and kept: what a later nested transaction deletes is not compared with what an earlier one puts.
fn intervals(ops: &[RequestOp]) -> Result<Writes, EtcdError> {
    let mut writes = Writes::default();
    for op in ops {
        if let Some(request_op::Request::RequestDeleteRange(delete)) = &op.request {
            writes
                .deletes
                .push((delete.key.clone(), delete.range_end.clone()));
        }
    }
    for op in ops {
        let Some(request_op::Request::RequestTxn(nested)) = &op.request else {
            continue;
        };
        let then = intervals(&nested.success)?;
        let otherwise = intervals(&nested.failure)?;
        for key in &then.puts {
            writes.add_put(key)?;
        }
        for key in &otherwise.puts {
            // Only one of the two branches runs: both may put a key.
            if then.puts.contains(key) && !writes.deletes(key) {
                continue;
            }
            writes.add_put(key)?;
        }
        writes.deletes.extend(then.deletes);
        writes.deletes.extend(otherwise.deletes);
    }
    for op in ops {
        if let Some(request_op::Request::RequestPut(put)) = &op.request {
            writes.add_put(&put.key)?;
        }
    }
    Ok(writes)
}

/// Whether neither branch, at any depth, writes.
pub(crate) fn is_read_only(request: &TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .all(|op| match &op.request {
            Some(request_op::Request::RequestTxn(nested)) => is_read_only(nested),
            Some(
                request_op::Request::RequestPut(_) | request_op::Request::RequestDeleteRange(_),
            ) => false,
            Some(request_op::Request::RequestRange(_)) | None => true,
        })
}

/// Whether all comparisons and operations, at any depth, are of single keys.
pub(crate) fn is_of_points(request: &TxnRequest) -> bool {
    let compared = request.compare.iter().all(|one| one.range_end.is_empty());
    let mut operations = request.success.iter().chain(&request.failure);
    compared
        && operations.all(|op| match &op.request {
            Some(request_op::Request::RequestRange(range)) => range.range_end.is_empty(),
            Some(request_op::Request::RequestDeleteRange(range)) => range.range_end.is_empty(),
            Some(request_op::Request::RequestTxn(nested)) => is_of_points(nested),
            Some(request_op::Request::RequestPut(_)) | None => true,
        })
}

/// Whether a branch, at any depth, puts: such a transaction needs space.
pub(crate) fn puts(request: &TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .any(|op| match &op.request {
            Some(request_op::Request::RequestTxn(nested)) => puts(nested),
            Some(request_op::Request::RequestPut(_)) => true,
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn op(request: request_op::Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    fn put_op(key: &'static str) -> RequestOp {
        op(request_op::Request::RequestPut(PutRequest {
            key: Bytes::from_static(key.as_bytes()),
            ..PutRequest::default()
        }))
    }

    fn delete_op(key: &'static str, end: &'static str) -> RequestOp {
        op(request_op::Request::RequestDeleteRange(
            DeleteRangeRequest {
                key: Bytes::from_static(key.as_bytes()),
                range_end: Bytes::from_static(end.as_bytes()),
                prev_kv: false,
            },
        ))
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        op(request_op::Request::RequestTxn(TxnRequest {
            compare: vec![],
            success,
            failure,
        }))
    }

    fn check(success: Vec<RequestOp>) -> Checked {
        let request = TxnRequest {
            compare: vec![],
            success,
            failure: vec![],
        };
        txn(&request, 128)
    }

    #[test]
    fn keys_may_not_be_written_twice() {
        let refused = Err(EtcdError::DUPLICATE_KEY);
        assert_eq!(check(vec![put_op("a"), put_op("b")]), Ok(()));
        assert_eq!(check(vec![put_op("a"), put_op("a")]), refused);
        assert_eq!(check(vec![put_op("b"), delete_op("a", "c")]), refused);
        assert_eq!(check(vec![delete_op("a", "c"), put_op("c")]), Ok(()));
        assert_eq!(
            check(vec![delete_op("a", "c"), delete_op("b", "d")]),
            Ok(())
        );
        assert_eq!(check(vec![put_op("a"), delete_op("a", "")]), refused);
        assert_eq!(
            check(vec![put_op("a"), nested(vec![put_op("a")], vec![])]),
            refused
        );
        assert_eq!(
            check(vec![put_op("b"), nested(vec![], vec![delete_op("a", "c")])]),
            refused
        );
    }

    #[test]
    fn branches_of_one_nested_transaction_exclude_each_other() {
        assert_eq!(
            check(vec![nested(vec![put_op("a")], vec![put_op("a")])]),
            Ok(())
        );
        assert_eq!(
            check(vec![
                nested(vec![put_op("a")], vec![]),
                nested(vec![], vec![put_op("a")])
            ]),
            Err(EtcdError::DUPLICATE_KEY)
        );
    }

    #[test]
    fn etcds_gaps_are_kept() {
        let later_delete = vec![
            nested(vec![put_op("a")], vec![]),
            nested(vec![delete_op("a", "b")], vec![]),
        ];
        assert_eq!(check(later_delete), Ok(()));
        assert_eq!(check(vec![delete_op("a", "\0"), put_op("b")]), Ok(()));
        assert_eq!(check(vec![delete_op("a", "\0"), put_op("a")]), Ok(()));
    }

    #[test]
    fn nested_transactions_share_the_budget() {
        let many = |n: usize| (0..n).map(|_| delete_op("a", "")).collect::<Vec<_>>();
        assert_eq!(check(many(128)), Ok(()));
        assert_eq!(check(many(129)), Err(EtcdError::TOO_MANY_OPS));
        let mut outer = many(28);
        outer[0] = nested(many(100), vec![]);
        assert_eq!(check(outer.clone()), Ok(()));
        outer[0] = nested(many(101), vec![]);
        assert_eq!(check(outer), Err(EtcdError::TOO_MANY_OPS));
    }

    #[test]
    fn empty_operations_and_unknown_sorts_are_refused() {
        assert_eq!(
            check(vec![RequestOp { request: None }]),
            Err(EtcdError::KEY_NOT_FOUND)
        );
        let mut request = RangeRequest {
            key: Bytes::from_static(b"a"),
            ..RangeRequest::default()
        };
        assert_eq!(range(&request), Ok(()));
        request.sort_order = 9;
        assert_eq!(range(&request), Err(EtcdError::INVALID_SORT_OPTION));
        assert_eq!(range(&RangeRequest::default()), Err(EtcdError::EMPTY_KEY));
    }
}
