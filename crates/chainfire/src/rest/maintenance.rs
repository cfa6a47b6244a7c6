//! Compaction and the snapshot download.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};
use photon_core::Error;
use photon_proto::etcdserverpb::CompactionRequest;
use photon_server::rest::{Data, Json, RestError, RestResult};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};

use super::{
    asking::Asking,
    error::{from_etcd, told},
    openapi::{Envelope, Failure},
};
use crate::app::App;

/// How far to forget.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompactBody {
    /// Everything older than this revision is given up; what is readable at it stays so.
    revision: i64,
    /// Answer only when the space is free.
    #[serde(default)]
    physical: bool,
}

/// What a compaction did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CompactDone {
    compacted_revision: i64,
    /// The store's newest revision.
    revision: i64,
}

/// The bytes of a file.
pub(super) struct File;

impl PartialSchema for File {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
            .into()
    }
}

impl ToSchema for File {}

/// Gives up the history before a revision.
#[utoipa::path(
    post, path = "/api/v1/compact", tag = "maintenance", operation_id = "compact",
    request_body = CompactBody,
    responses((status = 200, body = Envelope<CompactDone>), Failure)
)]
pub(super) async fn compact(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
    Json(body): Json<CompactBody>,
) -> RestResult<CompactDone> {
    if body.revision < 1 {
        return Err(Error::validation("revision", "minimum", "revision is at least 1").into());
    }
    let request = CompactionRequest {
        revision: body.revision,
        physical: body.physical,
    };
    let answer = app.compact(&caller, request).await;
    let answer = answer.map_err(|error| told(&app, error))?;
    Ok(Data(CompactDone {
        compacted_revision: body.revision,
        revision: answer.header.map_or(0, |header| header.revision),
    }))
}

/// Downloads a consistent copy of the whole store, for `chainfire snapshot verify` and `restore`.
#[utoipa::path(
    get, path = "/api/v1/snapshot", tag = "maintenance", operation_id = "snapshot",
    responses((status = 200, content_type = "application/octet-stream", body = inline(File)), Failure)
)]
pub(super) async fn snapshot(
    State(app): State<Arc<App>>,
    Asking(caller): Asking,
) -> Result<Response, RestError> {
    let snapshot = app.snapshot(&caller).await.map_err(from_etcd)?;
    let size = snapshot.size;
    let mut response = Body::from_stream(ReceiverStream::new(snapshot.chunks)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"chainfire.snapshot\""),
    );
    headers.insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}
