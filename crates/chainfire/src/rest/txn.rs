//! Transactions: compares, then one of two lists of operations, all at one revision.

use std::sync::Arc;

use axum::extract::State;
use photon_core::Error;
use photon_proto::etcdserverpb::{
    self as etcd, Compare as EtcdCompare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    ResponseOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use photon_server::rest::{Data, Json, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    asking::Asking,
    encoding::Encoding,
    error::from_etcd,
    item::Item,
    openapi::{Envelope, Failure},
    scan::Span,
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Expected {
    Number(i64),
    Text(String),
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Get {
    key: String,
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
    Put {
        revision: i64,
    },
    /// The key, or null when it does not exist.
    Get(Option<Item>),
    Delete {
        deleted: i64,
    },
}

/// Runs a transaction.
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
    let answer = app.txn(&caller, body.parse()?).await.map_err(from_etcd)?;
    let revision = answer.header.map_or(0, |header| header.revision);
    Ok(Data(TxnDone {
        succeeded: answer.succeeded,
        results: answer
            .responses
            .into_iter()
            .map(|op| done(op, revision))
            .collect::<Result<_, _>>()?,
        revision,
    }))
}

impl TxnBody {
    fn parse(self) -> Result<TxnRequest, Error> {
        Ok(TxnRequest {
            compare: self
                .compare
                .into_iter()
                .map(Compare::parse)
                .collect::<Result<_, _>>()?,
            success: self
                .success
                .into_iter()
                .map(Op::parse)
                .collect::<Result<_, _>>()?,
            failure: self
                .failure
                .into_iter()
                .map(Op::parse)
                .collect::<Result<_, _>>()?,
        })
    }
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
            key: self.key.into(),
            target_union: Some(expected),
            ..EtcdCompare::default()
        })
    }
}

impl Op {
    fn parse(self) -> Result<RequestOp, Error> {
        let request = match self {
            Self::Put(put) => Request::RequestPut(PutRequest {
                key: put.key.into(),
                value: put.encoding.decode(put.value, "value")?,
                lease: put.lease,
                ..PutRequest::default()
            }),
            Self::Get(get) => Request::RequestRange(RangeRequest {
                key: get.key.into(),
                ..RangeRequest::default()
            }),
            Self::Delete(delete) => Request::RequestDeleteRange(delete.parse()?),
        };
        Ok(RequestOp {
            request: Some(request),
        })
    }
}

impl Delete {
    fn parse(self) -> Result<DeleteRangeRequest, Error> {
        match (self.key, self.prefix) {
            (Some(key), None) => Ok(DeleteRangeRequest {
                key: key.into(),
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
                "a delete has a key or a prefix",
            )),
            (None, None) => Err(Error::required("key")),
        }
    }
}

fn done(op: ResponseOp, revision: i64) -> Result<OpDone, Error> {
    Ok(match op.response {
        Some(Response::ResponsePut(_)) => OpDone::Put { revision },
        Some(Response::ResponseRange(range)) => {
            OpDone::Get(range.kvs.into_iter().next().map(Item::from))
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
        serde_json::from_value::<TxnBody>(body).unwrap().parse()
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
    fn what_does_not_fit_its_target_names_value() {
        for compare in [
            json!({"key": "k", "target": "value", "value": 7}),
            json!({"key": "k", "target": "version", "value": "7"}),
        ] {
            let error = parse(json!({ "compare": [compare] })).unwrap_err();
            assert_eq!(error.details().unwrap()["field"], "value");
        }
        assert!(parse(json!({"success": [{"delete": {"prefix": ""}}]})).is_err());
        assert!(parse(json!({"success": [{"delete": {}}]})).is_err());
    }

    #[test]
    fn unknown_operations_and_fields_are_refused() {
        for body in [
            json!({"success": [{"increment": {"key": "k"}}]}),
            json!({"success": [{"get": {"key": "k", "limit": 1}}]}),
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
