//! Transactions: compares, then one of two lists of operations, all at one revision.

use std::{collections::HashSet, fmt, sync::Arc};

use axum::extract::State;
use bytes::Bytes;
use photon_core::Error;
use photon_proto::etcdserverpb::{
    self as etcd, Compare as EtcdCompare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    ResponseOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use photon_server::rest::{Data, Json, RestResult};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{OneOfBuilder, RefOr, Schema},
};

use super::{
    asking::Asking,
    encoding::Encoding,
    error::from_etcd,
    item::Item,
    openapi::{Envelope, Failure},
    scan::{MAX_ROWS, Span, row_limit},
    size::ANSWER,
};
use crate::app::App;

/// A transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TxnBody {
    /// All of them must hold for `success` to run; else `failure` does. None: `success` runs.
    #[serde(default)]
    compare: Vec<Compare>,
    #[serde(default)]
    success: Vec<Op>,
    #[serde(default)]
    failure: Vec<Op>,
}

/// A condition on one key, as it stands before the transaction. A missing key has 0 for every number, and no value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Compare {
    key: String,
    target: Target,
    #[serde(default)]
    operator: Operator,
    /// A string for target `value`, a number for the others.
    value: Expected,
    /// How a string `value` stands for the bytes.
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Target {
    Value,
    Version,
    CreateRevision,
    ModRevision,
    Lease,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Operator {
    #[default]
    Equal,
    NotEqual,
    Greater,
    Less,
}

#[derive(Debug)]
enum Expected {
    Number(i64),
    Text(String),
}

impl PartialSchema for Expected {
    fn schema() -> RefOr<Schema> {
        let one_of = OneOfBuilder::new()
            .item(i64::schema())
            .item(String::schema());
        one_of.into()
    }
}

impl ToSchema for Expected {}

/// By hand, because the derived one says only that nothing matched.
impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExpectedVisitor)
    }
}

struct ExpectedVisitor;

impl Visitor<'_> for ExpectedVisitor {
    type Value = Expected;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer below 2^63")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Expected, E> {
        Ok(Expected::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Expected, E> {
        i64::try_from(number)
            .map(Expected::Number)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
        Ok(Expected::Text(text.to_owned()))
    }
}

/// One operation; exactly one of the three.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Op {
    Put(Put),
    Get(Get),
    Delete(Delete),
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Put {
    key: String,
    value: String,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    lease: i64,
}

/// One key, or the keys of a prefix or of a range.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Get {
    key: Option<String>,
    /// Keys that begin with this; not together with `start` and `end`.
    prefix: Option<String>,
    /// First key.
    start: Option<String>,
    /// The key before which to end.
    end: Option<String>,
    /// Rows of a prefix or a range; 10,000 without it, and at most.
    #[schema(minimum = 1, maximum = 10000)]
    limit: Option<i64>,
}

/// One key, or every key of a prefix.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Delete {
    key: Option<String>,
    prefix: Option<String>,
}

/// What a transaction did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TxnDone {
    /// Whether all compares held.
    succeeded: bool,
    /// One result per operation that ran, in order.
    results: Vec<OpDone>,
    /// The store's revision after it.
    revision: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OpDone {
    Put { revision: i64 },
    Get(Found),
    Delete { deleted: i64 },
}

/// What a get found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Found {
    /// Of a key: the item, or null when it does not exist.
    One(Option<Item>),
    /// Of a prefix or a range.
    Many {
        items: Vec<Item>,
        /// Keys in the whole range.
        count: i64,
        /// Whether the range has more than the limit let through.
        more: bool,
    },
}

/// Runs a transaction. What its gets answer is limited to 64 MiB in all, as the answer is sent: more is 400, asking for a
/// `limit`, and nothing is written. Of a transaction that also writes, both branches have to be within that.
#[utoipa::path(
    post, path = "/api/v1/txn", tag = "kv", operation_id = "txn",
    request_body = TxnBody,
    responses((status = 200, body = Envelope<TxnDone>), Failure)
)]
pub(super) async fn txn(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Json(body): Json<TxnBody>,
) -> RestResult<TxnDone> {
    let request = body.parse(app.engine().max_txn_ops())?;
    let lists = [lists(&request.failure), lists(&request.success)];
    let answer = app.txn_within(&caller, request, ANSWER).await;
    let answer = answer.map_err(from_etcd)?;
    let revision = answer.header.map_or(0, |header| header.revision);
    let [failure, success] = lists;
    let ran = if answer.succeeded { success } else { failure };
    Ok(Data(TxnDone {
        succeeded: answer.succeeded,
        results: answer
            .responses
            .into_iter()
            .zip(ran)
            .map(|(op, list)| done(op, list, revision))
            .collect::<Result<_, _>>()?,
        revision,
    }))
}

/// Of each operation, whether it is a get of many keys: etcd's answers do not tell.
fn lists(ops: &[RequestOp]) -> Vec<bool> {
    let list = |op: &RequestOp| matches!(&op.request, Some(Request::RequestRange(range)) if !range.range_end.is_empty());
    ops.iter().map(list).collect()
}

impl TxnBody {
    fn parse(self, max_ops: usize) -> Result<TxnRequest, Error> {
        check_length("compare", self.compare.len(), max_ops)?;
        check_length("success", self.success.len(), max_ops)?;
        check_length("failure", self.failure.len(), max_ops)?;
        let request = TxnRequest {
            compare: each(self.compare, "compare", Compare::parse)?,
            success: each(self.success, "success", Op::parse)?,
            failure: each(self.failure, "failure", Op::parse)?,
        };
        check_writes("success", &request.success)?;
        check_writes("failure", &request.failure)?;
        Ok(request)
    }
}

fn check_length(field: &str, length: usize, most: usize) -> Result<(), Error> {
    if length > most {
        let text = format!("{field} has {length} elements; at most {most} are taken");
        return Err(Error::validation(field, "maximum", text));
    }
    Ok(())
}

/// etcd's rule, with the place: a branch changes no key twice, in whatever order.
fn check_writes(branch: &str, ops: &[RequestOp]) -> Result<(), Error> {
    let mut keys = HashSet::new();
    for (at, op) in ops.iter().enumerate() {
        let Some(Request::RequestPut(put)) = &op.request else {
            continue;
        };
        let field = format!("{branch}[{at}].put.key");
        if !keys.insert(&put.key) {
            let text = format!("{field} is put twice in one transaction");
            return Err(Error::validation(&field, "unique", text));
        }
        if let Some(by) = ops.iter().position(|op| deletes(op, &put.key)) {
            let text = format!("{field} is deleted in the same transaction, by {branch}[{by}]");
            return Err(Error::validation(&field, "exclusive", text));
        }
    }
    Ok(())
}

fn deletes(op: &RequestOp, key: &Bytes) -> bool {
    match &op.request {
        Some(Request::RequestDeleteRange(delete)) if delete.range_end.is_empty() => {
            delete.key == key
        }
        Some(Request::RequestDeleteRange(delete)) => delete.key <= key && *key < delete.range_end,
        _ => false,
    }
}

/// Parses the elements of an array of the body; an error names the field by its whole path.
fn each<T, U>(
    list: Vec<T>,
    name: &str,
    parse: impl Fn(T) -> Result<U, Error>,
) -> Result<Vec<U>, Error> {
    let parsed = list.into_iter().enumerate().map(|(at, element)| {
        parse(element).map_err(|error| error.within(&format!("{name}[{at}]")))
    });
    parsed.collect()
}

/// A key must have a byte; etcd says so without saying which of a transaction's keys has none.
fn key(key: String) -> Result<Bytes, Error> {
    if key.is_empty() {
        return Err(Error::required("key"));
    }
    Ok(key.into())
}

impl Compare {
    fn parse(self) -> Result<EtcdCompare, Error> {
        let number = || match &self.value {
            Expected::Number(number) => Ok(*number),
            Expected::Text(_) => Err(Error::validation(
                "value",
                "number",
                "value is a number for every target but value",
            )),
        };
        let (target, expected) = match self.target {
            Target::Version => (CompareTarget::Version, TargetUnion::Version(number()?)),
            Target::CreateRevision => (
                CompareTarget::Create,
                TargetUnion::CreateRevision(number()?),
            ),
            Target::ModRevision => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
            Target::Lease => (CompareTarget::Lease, TargetUnion::Lease(number()?)),
            Target::Value => match self.value {
                Expected::Text(text) => (
                    CompareTarget::Value,
                    TargetUnion::Value(self.encoding.decode(text, "value")?),
                ),
                Expected::Number(_) => {
                    return Err(Error::validation(
                        "value",
                        "string",
                        "value is a string for target value",
                    ));
                }
            },
        };
        let result = match self.operator {
            Operator::Equal => CompareResult::Equal,
            Operator::NotEqual => CompareResult::NotEqual,
            Operator::Greater => CompareResult::Greater,
            Operator::Less => CompareResult::Less,
        };
        Ok(EtcdCompare {
            result: result.into(),
            target: target.into(),
            key: key(self.key)?,
            target_union: Some(expected),
            ..EtcdCompare::default()
        })
    }
}

impl Op {
    fn parse(self) -> Result<RequestOp, Error> {
        let request = match self {
            Self::Put(put) => put
                .parse()
                .map(Request::RequestPut)
                .map_err(|error| error.within("put"))?,
            Self::Get(get) => get
                .parse()
                .map(Request::RequestRange)
                .map_err(|error| error.within("get"))?,
            Self::Delete(delete) => delete
                .parse()
                .map(Request::RequestDeleteRange)
                .map_err(|error| error.within("delete"))?,
        };
        Ok(RequestOp {
            request: Some(request),
        })
    }
}

impl Put {
    fn parse(self) -> Result<PutRequest, Error> {
        Ok(PutRequest {
            key: key(self.key)?,
            value: self.encoding.decode(self.value, "value")?,
            lease: self.lease,
            ..PutRequest::default()
        })
    }
}

impl Get {
    fn parse(self) -> Result<RangeRequest, Error> {
        let of_many = [
            ("prefix", self.prefix.is_some()),
            ("start", self.start.is_some()),
            ("end", self.end.is_some()),
            ("limit", self.limit.is_some()),
        ];
        let given = of_many.iter().find(|(_, given)| *given);
        match (self.key, given) {
            (Some(one), None) => {
                return Ok(RangeRequest {
                    key: key(one)?,
                    ..RangeRequest::default()
                });
            }
            (Some(_), Some((field, _))) => {
                let text = format!("{field} does not go with key");
                return Err(Error::validation(field, "exclusive", text));
            }
            (None, None | Some(("limit", _))) => return Err(Error::required("key")),
            (None, Some(_)) => {}
        }
        let limit = row_limit(self.limit)?.unwrap_or(MAX_ROWS);
        let Span { key, range_end } = Span::parse(
            self.prefix.as_deref(),
            self.start.as_deref(),
            self.end.as_deref(),
        )?;
        Ok(RangeRequest {
            key,
            range_end,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            ..RangeRequest::default()
        })
    }
}

impl Delete {
    fn parse(self) -> Result<DeleteRangeRequest, Error> {
        match (self.key, self.prefix) {
            (Some(one), None) => Ok(DeleteRangeRequest {
                key: key(one)?,
                ..DeleteRangeRequest::default()
            }),
            // Everything at once must not be what a forgotten variable in a script asks for.
            (None, Some(prefix)) if prefix.is_empty() => Err(Error::required("prefix")),
            (None, Some(prefix)) => {
                let Span { key, range_end } = Span::prefix(&prefix);
                Ok(DeleteRangeRequest {
                    key,
                    range_end,
                    ..DeleteRangeRequest::default()
                })
            }
            (Some(_), Some(_)) => Err(Error::validation(
                "prefix",
                "exclusive",
                "prefix does not go with key",
            )),
            (None, None) => Err(Error::required("key")),
        }
    }
}

fn done(op: ResponseOp, list: bool, revision: i64) -> Result<OpDone, Error> {
    Ok(match op.response {
        Some(Response::ResponsePut(_)) => OpDone::Put { revision },
        Some(Response::ResponseRange(range)) => {
            let mut items = range.kvs.into_iter().map(Item::from);
            OpDone::Get(if list {
                Found::Many {
                    items: items.collect(),
                    count: range.count,
                    more: range.more,
                }
            } else {
                Found::One(items.next())
            })
        }
        Some(Response::ResponseDeleteRange(etcd::DeleteRangeResponse { deleted, .. })) => {
            OpDone::Delete { deleted }
        }
        Some(Response::ResponseTxn(_)) | None => {
            return Err(Error::internal(
                "an operation was answered that was not asked",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;

    fn parse(body: Value) -> Result<TxnRequest, Error> {
        serde_json::from_value::<TxnBody>(body).unwrap().parse(4)
    }

    #[test]
    fn a_compare_and_put_is_etcds() {
        let txn = parse(json!({
            "compare": [{"key": "k", "target": "mod_revision", "value": 7}],
            "success": [{"put": {"key": "k", "value": "djE=", "encoding": "base64"}}],
            "failure": [{"get": {"key": "k"}}, {"delete": {"prefix": "p/"}}],
        }))
        .unwrap();
        assert_eq!(
            txn.compare[0].target_union,
            Some(TargetUnion::ModRevision(7))
        );
        assert!(
            matches!(&txn.success[0].request, Some(Request::RequestPut(put)) if put.value == "v1")
        );
        assert!(
            matches!(&txn.failure[1].request, Some(Request::RequestDeleteRange(delete)) if delete.range_end == "p0")
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_its_whole_path() {
        let good = json!({"get": {"key": "k"}});
        let put = json!({"put": {"key": "k", "value": ""}});
        let compare = json!({"key": "k", "target": "version", "value": 1});
        for (body, field, constraint) in [
            (
                json!({"compare": [{"key": "k", "target": "value", "value": 7}]}),
                "compare[0].value",
                "string",
            ),
            (
                json!({"compare": [{"key": "k", "target": "version", "value": "7"}]}),
                "compare[0].value",
                "number",
            ),
            (
                json!({"compare": [{"key": "", "target": "version", "value": 7}]}),
                "compare[0].key",
                "required",
            ),
            (
                json!({"success": [good, {"put": {"key": "", "value": ""}}]}),
                "success[1].put.key",
                "required",
            ),
            (
                json!({"failure": [good, good, {"put": {"key": "k", "value": "*", "encoding": "base64"}}]}),
                "failure[2].put.value",
                "base64",
            ),
            (
                json!({"success": [{"delete": {"prefix": ""}}]}),
                "success[0].delete.prefix",
                "required",
            ),
            (
                json!({"success": [{"delete": {}}]}),
                "success[0].delete.key",
                "required",
            ),
            (
                json!({"success": [{"get": {}}]}),
                "success[0].get.key",
                "required",
            ),
            (
                json!({"success": [{"get": {"key": ""}}]}),
                "success[0].get.key",
                "required",
            ),
            (
                json!({"success": [{"get": {"key": "k", "prefix": "p"}}]}),
                "success[0].get.prefix",
                "exclusive",
            ),
            (
                json!({"success": [{"get": {"key": "k", "limit": 1}}]}),
                "success[0].get.limit",
                "exclusive",
            ),
            (
                json!({"success": [{"get": {"prefix": "k", "limit": 0}}]}),
                "success[0].get.limit",
                "minimum",
            ),
            (
                json!({"success": [{"get": {"prefix": "k", "limit": -1}}]}),
                "success[0].get.limit",
                "minimum",
            ),
            (
                json!({"success": [put, good, put]}),
                "success[2].put.key",
                "unique",
            ),
            (
                json!({"failure": [put, {"delete": {"prefix": "k"}}]}),
                "failure[0].put.key",
                "exclusive",
            ),
            (
                json!({"success": [{"delete": {"key": "k"}}, put]}),
                "success[1].put.key",
                "exclusive",
            ),
            (
                json!({"success": [good, good, good, good, good]}),
                "success",
                "maximum",
            ),
            (
                json!({"failure": [good, good, good, good, good]}),
                "failure",
                "maximum",
            ),
            (json!({"compare": vec![compare; 5]}), "compare", "maximum"),
            (
                json!({"success": [{"get": {"prefix": "k", "start": "k"}}]}),
                "success[0].get.start",
                "exclusive",
            ),
        ] {
            let error = parse(body.clone()).unwrap_err();
            let details = error.details().unwrap();
            assert_eq!(
                (&details["field"], &details["constraint"]),
                (&json!(field), &json!(constraint)),
                "{body}"
            );
            assert!(
                error.message().starts_with(field),
                "{body}: {}",
                error.message()
            );
        }
    }

    #[test]
    fn a_get_may_be_of_a_prefix_or_a_range() {
        let txn = parse(json!({"success": [
            {"get": {"prefix": "p/"}},
            {"get": {"start": "a", "end": "c", "limit": 7}},
            {"get": {"prefix": ""}},
            {"get": {"key": "k"}},
        ]}))
        .unwrap();
        let ranges: Vec<_> = txn
            .success
            .iter()
            .map(|op| match &op.request {
                Some(Request::RequestRange(range)) => {
                    (range.key.as_ref(), range.range_end.as_ref(), range.limit)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: [(&[u8], &[u8], i64); 4] = [
            (b"p/", b"p0", 10_000),
            (b"a", b"c", 7),
            (b"\0", b"\0", 10_000),
            (b"k", b"", 0),
        ];
        assert_eq!(ranges, expected);
        assert_eq!(lists(&txn.success), [true, true, true, false]);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_in_jsons_words() {
        for (value, said) in [
            ("true", "not true"),
            ("null", "not null"),
            ("{}", "not an object"),
            ("1.5", "not the number 1.5"),
            ("9223372036854775808", "not the number 9223372036854775808"),
        ] {
            let body = format!(
                r#"{{"compare": [{{"key": "k", "target": "version", "value": {value}}}]}}"#
            );
            let error = photon_server::rest::from_json::<TxnBody>(body.as_bytes()).unwrap_err();
            let expected = "compare[0].value must be a string or an integer below 2^63";
            assert_eq!(error.message(), format!("{expected}, {said}"));
        }
    }

    #[test]
    fn unknown_operations_and_fields_are_refused() {
        for body in [
            json!({"success": [{"increment": {"key": "k"}}]}),
            json!({"success": [{"get": {"key": "k", "revision": 1}}]}),
            json!({"compare": [{"key": "k", "target": "age", "value": 1}]}),
            json!({"then": []}),
        ] {
            assert!(
                serde_json::from_value::<TxnBody>(body.clone()).is_err(),
                "{body}"
            );
        }
    }
}
