//! Keys and values: put, get, delete, list.

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use photon_core::{Code, Error};
use photon_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use photon_server::rest::{Data, Json, Nothing, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    asking::Asking,
    encoding::Encoding,
    error::{from_etcd, told},
    item::Item,
    key::{Action, key_and_action_of, key_of},
    openapi::{Envelope, Failure},
    scan::{self, Span, check_revision, row_limit, scan},
};
use crate::app::{App, Caller};

/// How fresh a read has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Consistency {
    /// Everything acknowledged before the read shows.
    #[default]
    Linearizable,
    /// What the member that is asked has; served without a quorum.
    Stale,
}

/// Options of a read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetQuery {
    /// `stale` reads locally.
    #[serde(default)]
    #[param(inline)]
    consistency: Consistency,
    /// An older revision to read at.
    revision: Option<i64>,
}

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Keys that begin with this; not together with `start` and `end`.
    prefix: Option<String>,
    /// First key.
    start: Option<String>,
    /// The key before which to end.
    end: Option<String>,
    /// Rows per page, at most 10,000. Without it everything is listed, up to 10,000 rows.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<i64>,
    /// Where the page before ended: its `next_page_token`.
    page_token: Option<String>,
    /// An older revision to read at.
    revision: Option<i64>,
    /// Leave the values out.
    #[serde(default)]
    keys_only: bool,
    /// `stale` reads locally.
    #[serde(default)]
    #[param(inline)]
    consistency: Consistency,
}

/// A list of keys at one revision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Items {
    items: Vec<Item>,
    /// Keys in the whole range.
    count: i64,
    /// The revision the list was read at.
    revision: i64,
    /// Continues the list; absent at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// A value to store.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutBody {
    #[schema(example = "myvalue")]
    value: String,
    /// How `value` stands for the bytes.
    #[serde(default)]
    encoding: Encoding,
    /// The lease the key is to end with; 0 for none.
    #[serde(default)]
    lease: i64,
}

/// What a put did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PutDone {
    key: String,
    /// The store's revision after it.
    revision: i64,
}

/// What a delete did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeleteDone {
    key: String,
    /// Keys deleted: 0 when there was none.
    deleted: i64,
    /// The store's revision after it.
    revision: i64,
}

/// Reads one key.
#[utoipa::path(
    get, path = "/api/v1/kv/{key}", tag = "kv", operation_id = "get_key",
    params(("key" = String, Path, description = "May contain slashes."), GetQuery),
    responses((status = 200, body = Envelope<Item>), Failure)
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<GetQuery>,
) -> RestResult<Item> {
    let key = key_of(&uri)?;
    let revision = query.revision.unwrap_or_default();
    check_revision(revision)?;
    let request = RangeRequest {
        key: key.clone().into(),
        revision,
        serializable: query.consistency == Consistency::Stale,
        ..RangeRequest::default()
    };
    let answer = app.range(&caller, request).await;
    let answer = answer.map_err(|error| told(&app, error))?;
    match answer.kvs.into_iter().next() {
        Some(kv) => Ok(Data(kv.into())),
        None => Err(Error::not_found(format!("key {key}")).into()),
    }
}

/// Lists the keys of a prefix or a range.
#[utoipa::path(
    get, path = "/api/v1/kv", tag = "kv", operation_id = "list_keys",
    params(ListQuery),
    responses((status = 200, body = Envelope<Items>), Failure)
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Query(query): Query<ListQuery>,
) -> RestResult<Items> {
    let span = Span::parse(
        query.prefix.as_deref(),
        query.start.as_deref(),
        query.end.as_deref(),
    )?;
    let keys_only = query.keys_only;
    let query = scan::Query {
        span,
        limit: row_limit(query.limit)?,
        page_token: query.page_token,
        revision: query.revision.unwrap_or_default(),
        keys_only,
        stale: query.consistency == Consistency::Stale,
    };
    let page = scan(&app, &caller, query).await?;
    Ok(Data(Items {
        items: page
            .items
            .into_iter()
            .map(|kv| match keys_only {
                true => Item::without_value(&kv),
                false => kv.into(),
            })
            .collect(),
        count: page.count,
        revision: page.revision,
        next_page_token: page.next_page_token,
    }))
}

/// A POST below a key: its last segment says what to do. Only a put takes a body.
pub(super) async fn change(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    OriginalUri(uri): OriginalUri,
    body: axum::extract::Request,
) -> Result<axum::response::Response, RestError> {
    use axum::{extract::FromRequest as _, response::IntoResponse as _};
    let (key, action) = key_and_action_of(&uri)?;
    Ok(match action {
        Action::Put => {
            let Json(body) = Json::<PutBody>::from_request(body, &()).await?;
            put(&app, &caller, key, body).await.into_response()
        }
        Action::Delete => {
            let Json(Nothing {}) = Json::from_request(body, &()).await?;
            delete(&app, &caller, key).await.into_response()
        }
    })
}

/// Writes one key.
#[utoipa::path(
    post, path = "/api/v1/kv/{key}/put", tag = "kv", operation_id = "put_key",
    params(("key" = String, Path, description = "May contain slashes: the last segment of the path is the action.")),
    request_body = PutBody,
    responses((status = 200, body = Envelope<PutDone>), Failure)
)]
async fn put(app: &App, caller: &Caller, key: String, body: PutBody) -> RestResult<PutDone> {
    let request = PutRequest {
        key: key.clone().into(),
        value: body.encoding.decode(body.value, "value")?,
        lease: body.lease,
        ..PutRequest::default()
    };
    let answer = app.put(caller, request).await.map_err(from_etcd)?;
    Ok(Data(PutDone {
        key,
        revision: answer.header.map_or(0, |header| header.revision),
    }))
}

/// Deletes one key. One that does not exist is no error: `deleted` is 0.
#[utoipa::path(
    post, path = "/api/v1/kv/{key}/delete", tag = "kv", operation_id = "delete_key",
    params(("key" = String, Path, description = "May contain slashes: the last segment of the path is the action.")),
    responses((status = 200, body = Envelope<DeleteDone>), Failure)
)]
async fn delete(app: &App, caller: &Caller, key: String) -> RestResult<DeleteDone> {
    let request = DeleteRangeRequest {
        key: key.clone().into(),
        ..DeleteRangeRequest::default()
    };
    let answer = app.delete_range(caller, request).await.map_err(from_etcd)?;
    Ok(Data(DeleteDone {
        key,
        deleted: answer.deleted,
        revision: answer.header.map_or(0, |header| header.revision),
    }))
}

/// A path below `/api/v1/kv/` without a key.
pub(super) async fn no_key() -> RestError {
    Error::required("key").into()
}

/// A method that keys do not have.
pub(super) async fn wrong_method() -> RestError {
    Error::new(
        Code::METHOD_NOT_ALLOWED,
        "a key is read with GET and changed with POST to …/put or …/delete",
    )
    .into()
}
