//! Transactions: compare everything on the state before, check everything, then run.
//!
//! Source of the semantics: etcd 3.6, `server/etcdserver/txn/txn.go`.

use std::cmp::Ordering;

use photon_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
    RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op, response_op,
};

use crate::{
    budget::Budget,
    codec::Meta,
    error::{Answer, EtcdError},
    range,
    span::Span,
    view::{Reader, Value},
};

/// A state in which a transaction runs.
pub(crate) trait Writer: Reader {
    /// Whether a lease exists.
    fn lease_exists(&self, id: i64) -> bool;
    /// Puts inside the open transaction.
    fn put(&mut self, request: &PutRequest) -> Answer<PutResponse>;
    /// Deletes inside the open transaction.
    fn delete_range(&mut self, request: &DeleteRangeRequest) -> Answer<DeleteRangeResponse>;
    /// For reading.
    fn reader(&self) -> &dyn Reader;
}

/// Which branch each transaction of the tree takes, in the order they are met.
type Path = Vec<bool>;

/// Runs a transaction inside an open one of the state machine. The header's revision is left to the caller.
///
/// One whose ranges hold more than the budget is refused when it has gone that far: only a transaction that changes
/// nothing may have one.
pub(crate) fn execute(
    state: &mut dyn Writer,
    request: &TxnRequest,
    budget: &mut Budget,
) -> Answer<TxnResponse> {
    let mut path = Path::new();
    decide(state.reader(), request, &mut path)?;
    check(state, request, &mut path.iter())?;
    run(state, request, &mut path.iter(), budget)
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded {
        &request.success
    } else {
        &request.failure
    }
}

/// Compares the whole tree on the state before any operation.
fn decide(state: &dyn Reader, request: &TxnRequest, path: &mut Path) -> Answer<()> {
    let mut succeeded = true;
    for compare in &request.compare {
        if !holds(state, compare)? {
            succeeded = false;
            break;
        }
    }
    path.push(succeeded);
    for op in branch(request, succeeded) {
        if let Some(request_op::Request::RequestTxn(nested)) = &op.request {
            decide(state, nested, path)?;
        }
    }
    Ok(())
}

fn holds(state: &dyn Reader, compare: &Compare) -> Answer<bool> {
    let span = Span::new(&compare.key, &compare.range_end);
    let at = state.revision();
    let (mut any, mut all) = (false, true);
    let mut visit = |_: &[u8], meta: &Meta, value: Value<'_>| {
        any = true;
        let value = match &value {
            Value::Borrowed(bytes) => bytes,
            Value::Shared(bytes) => &bytes[..],
        };
        all = compare_one(compare, meta, value);
        all
    };
    if let Span::Point(key) = span {
        if let Some((meta, value)) = state.get(key, at)? {
            visit(key, &meta, Value::Shared(&value));
        }
    } else {
        state.scan(&span, at, &mut visit)?;
    }
    if any {
        return Ok(all);
    }
    // There is no way to say "absent" as a value, so comparing one fails, even for "not equal".
    Ok(compare.target() != CompareTarget::Value && compare_one(compare, &Meta::default(), b""))
}

fn compare_one(compare: &Compare, meta: &Meta, value: &[u8]) -> bool {
    let number = |have: i64, want: Option<i64>| have.cmp(&want.unwrap_or(0));
    // A target whose union is missing or of another kind is compared with zero or nothing.
    let union = compare.target_union.as_ref();
    let ordering = match CompareTarget::try_from(compare.target) {
        Ok(CompareTarget::Version) => number(
            meta.version,
            union.and_then(|union| match union {
                TargetUnion::Version(number) => Some(*number),
                _ => None,
            }),
        ),
        Ok(CompareTarget::Create) => number(
            meta.create,
            union.and_then(|union| match union {
                TargetUnion::CreateRevision(number) => Some(*number),
                _ => None,
            }),
        ),
        Ok(CompareTarget::Mod) => number(
            meta.modified,
            union.and_then(|union| match union {
                TargetUnion::ModRevision(number) => Some(*number),
                _ => None,
            }),
        ),
        Ok(CompareTarget::Lease) => number(
            meta.lease,
            union.and_then(|union| match union {
                TargetUnion::Lease(number) => Some(*number),
                _ => None,
            }),
        ),
        Ok(CompareTarget::Value) => match union {
            Some(TargetUnion::Value(want)) => value.cmp(&want[..]),
            _ => value.cmp(b""),
        },
        Err(_) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => ordering.is_eq(),
        Ok(CompareResult::NotEqual) => ordering.is_ne(),
        Ok(CompareResult::Greater) => ordering.is_gt(),
        Ok(CompareResult::Less) => ordering.is_lt(),
        Err(_) => true,
    }
}

fn next(path: &mut std::slice::Iter<'_, bool>) -> bool {
    // `decide` pushed one entry for each transaction this walk meets.
    path.next().copied().unwrap_or(false)
}

/// Refuses the whole transaction before it has changed anything.
fn check(
    state: &dyn Writer,
    request: &TxnRequest,
    path: &mut std::slice::Iter<'_, bool>,
) -> Answer<()> {
    for op in branch(request, next(path)) {
        match &op.request {
            Some(request_op::Request::RequestRange(range)) => check_range(state.reader(), range)?,
            Some(request_op::Request::RequestPut(put)) => check_put(state, put)?,
            Some(request_op::Request::RequestTxn(nested)) => check(state, nested, path)?,
            Some(request_op::Request::RequestDeleteRange(_)) | None => {}
        }
    }
    Ok(())
}

fn check_range(state: &dyn Reader, request: &RangeRequest) -> Answer<()> {
    match request.revision {
        0 => Ok(()),
        wanted if wanted > state.revision() => Err(EtcdError::FUTURE_REV.into()),
        wanted if wanted < state.compacted() => Err(EtcdError::COMPACTED.into()),
        _ => Ok(()),
    }
}

/// A put's conditions, on the state before the transaction.
pub(crate) fn check_put(state: &dyn Writer, request: &PutRequest) -> Answer<()> {
    if (request.ignore_value || request.ignore_lease)
        && state.get(&request.key, state.revision())?.is_none()
    {
        return Err(EtcdError::KEY_NOT_FOUND.into());
    }
    if request.lease != 0 && !state.lease_exists(request.lease) {
        return Err(EtcdError::LEASE_NOT_FOUND.into());
    }
    Ok(())
}

fn run(
    state: &mut dyn Writer,
    request: &TxnRequest,
    path: &mut std::slice::Iter<'_, bool>,
    budget: &mut Budget,
) -> Answer<TxnResponse> {
    let succeeded = next(path);
    let mut responses = Vec::with_capacity(branch(request, succeeded).len());
    for op in branch(request, succeeded) {
        let response = match &op.request {
            Some(request_op::Request::RequestRange(range)) => {
                let found = range::execute(state.reader(), range, budget)?;
                if budget.is_spent() {
                    return Err(EtcdError::ANSWER_TOO_LARGE.into());
                }
                Some(response_op::Response::ResponseRange(found))
            }
            Some(request_op::Request::RequestPut(put)) => {
                Some(response_op::Response::ResponsePut(state.put(put)?))
            }
            Some(request_op::Request::RequestDeleteRange(delete)) => Some(
                response_op::Response::ResponseDeleteRange(state.delete_range(delete)?),
            ),
            Some(request_op::Request::RequestTxn(nested)) => Some(
                response_op::Response::ResponseTxn(run(state, nested, path, budget)?),
            ),
            None => None,
        };
        responses.push(ResponseOp { response });
    }
    Ok(TxnResponse {
        // Only the outermost header has a revision.
        header: Some(ResponseHeader::default()),
        succeeded,
        responses,
    })
}
