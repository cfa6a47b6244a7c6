//! Range requests with all their options, in etcd's order: filter, sort, limit.
//!
//! Source of the semantics: etcd 3.6, `server/etcdserver/txn/range.go`.

use std::cmp::Ordering;

use photon_proto::{
    etcdserverpb::{
        RangeRequest, RangeResponse, ResponseHeader,
        range_request::{SortOrder, SortTarget},
    },
    mvccpb::KeyValue,
};

use crate::{
    budget::Budget,
    codec::Meta,
    error::{Answer, EtcdError},
    span::Span,
    view::{Reader, Rows, Value},
};

/// A header as the state machine knows it: the door fills in who and where it is.
pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

/// Answers a range request; `revision` in the header is the reader's newest.
///
/// Rows that the budget does not hold are left out, and `more` is set. A range in another order than the keys' cannot be
/// cut: it is refused.
pub(crate) fn execute(
    reader: &dyn Reader,
    request: &RangeRequest,
    budget: &mut Budget,
) -> Answer<RangeResponse> {
    let revision = reader.revision();
    let at = match request.revision {
        wanted if wanted > revision => return Err(EtcdError::FUTURE_REV.into()),
        wanted if wanted <= 0 => revision,
        wanted => wanted,
    };
    if at < reader.compacted() {
        return Err(EtcdError::COMPACTED.into());
    }
    let span = Span::new(&request.key, &request.range_end);
    let mut response = RangeResponse {
        header: header(revision),
        ..RangeResponse::default()
    };
    if request.count_only {
        response.count = count(reader, &span, at)?;
        return Ok(response);
    }
    let plan = Plan::new(request);
    let mut rows = collect(reader, request, &span, at, &plan, budget)?;
    if budget.is_spent() {
        if plan.order.is_some() {
            return Err(EtcdError::ANSWER_TOO_LARGE.into());
        }
        response.more = true;
    }
    plan.sort(&mut rows);
    let limit = usize::try_from(request.limit).unwrap_or(0);
    if limit > 0 && rows.len() > limit {
        rows.truncate(limit);
        response.more = true;
    }
    if request.keys_only {
        for row in &mut rows {
            row.value.clear();
        }
    }
    response.count = match span {
        // A single key was counted by looking at it, unless a filter hid it.
        Span::Point(_) if !plan.filtered => i64::from(!rows.is_empty()),
        _ => count(reader, &span, at)?,
    };
    response.kvs = rows;
    Ok(response)
}

fn count(reader: &dyn Reader, span: &Span<'_>, at: i64) -> Answer<i64> {
    Ok(i64::try_from(reader.count(span, at)?).unwrap_or(i64::MAX))
}

/// What the options mean for the scan.
struct Plan {
    filtered: bool,
    /// How to compare, and whether backwards; `None`: the order of the keys.
    order: Option<(SortTarget, bool)>,
    /// Keys to look at before stopping.
    fetch: usize,
    reads_values: bool,
}

impl Plan {
    fn new(request: &RangeRequest) -> Self {
        let (target, order) = (request.sort_target(), request.sort_order());
        let filtered = request.min_mod_revision != 0
            || request.max_mod_revision != 0
            || request.min_create_revision != 0
            || request.max_create_revision != 0;
        // As in etcd, a limit without a sort order takes the first keys even if they are then sorted by something else.
        let in_key_order =
            order == SortOrder::None || (target == SortTarget::Key && order == SortOrder::Ascend);
        let limit = usize::try_from(request.limit).unwrap_or(0);
        let fetch = if limit == 0 || !in_key_order || filtered {
            usize::MAX
        } else {
            limit.saturating_add(1)
        };
        let order = match (target, order) {
            (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => None,
            (target, order) => Some((target, order == SortOrder::Descend)),
        };
        let reads_values = !request.keys_only || matches!(order, Some((SortTarget::Value, _)));
        Self {
            filtered,
            order,
            fetch,
            reads_values,
        }
    }

    fn sort(&self, rows: &mut [KeyValue]) {
        let Some((target, descending)) = self.order else {
            return;
        };
        if target == SortTarget::Key {
            if descending {
                rows.reverse();
            }
            return;
        }
        let compare = |a: &KeyValue, b: &KeyValue| -> Ordering {
            match target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            }
        };
        if descending {
            rows.sort_by(|a, b| compare(b, a));
        } else {
            rows.sort_by(compare);
        }
    }
}

fn passes(request: &RangeRequest, meta: &Meta) -> bool {
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(
        meta.modified,
        request.min_mod_revision,
        request.max_mod_revision,
    ) && within(
        meta.create,
        request.min_create_revision,
        request.max_create_revision,
    )
}

fn collect(
    reader: &dyn Reader,
    request: &RangeRequest,
    span: &Span<'_>,
    at: i64,
    plan: &Plan,
    budget: &mut Budget,
) -> Answer<Vec<KeyValue>> {
    if let Span::Point(key) = *span {
        let found = reader.get(key, at)?;
        let row = found.filter(|(meta, value)| passes(request, meta) && budget.take(key, value));
        return Ok(row
            .map(|(meta, value)| meta.with(request.key.clone(), value))
            .into_iter()
            .collect());
    }
    let mut rows = Rows::with_capacity(plan.fetch.min(256));
    reader.scan(span, at, &mut |key, meta, value| {
        if plan.filtered && !passes(request, meta) {
            return true;
        }
        let value = plan.reads_values.then_some(value);
        // The row behind the limit only shows that there is one: it is not answered.
        let answered = plan.fetch == usize::MAX || rows.kvs.len() + 1 < plan.fetch;
        if answered && !budget.take(key, value.as_ref().map_or(&[], Value::bytes)) {
            return false;
        }
        rows.push(key, meta, value);
        rows.kvs.len() < plan.fetch
    })?;
    Ok(rows.kvs)
}
