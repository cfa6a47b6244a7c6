//! `/api/v1/images/{id}/data`: the content of images. Behind a door of its own, which takes other bodies than JSON, and larger and slower
//! ones.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, header};
use axum::{body::Body, extract::State};
use bytes::Bytes;
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Envelope, Path, Query, RestError, RestResult};
use photon_service::{
    openapi::Failure,
    rest::{IdText, Revised},
    scope::Owner,
};
use plasmavmc_model::ImageId;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::{
    rest::Answer,
    service,
    upload::{self, Piece, Progress},
};
use crate::{app::App, rest::schema::ImageText};

/// How long nothing may come of a body: uploads are few, and this one's place is another's.
const SILENCE: Duration = Duration::from_secs(30);

pub(crate) fn routes() -> Routes<Arc<App>> {
    const PATH: &str = "/api/v1/images/{id}/data";
    Routes::new().put(PATH, "plasmavmc.images.upload", put).get(
        PATH,
        "plasmavmc.images.upload",
        get,
    )
}

/// What of which image.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataQuery {
    /// The org that it must be of.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// The project that it must be of.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// `kernel` or `initramfs` of an image of format `kernel`.
    part: Option<String>,
    /// The SHA-256 of the whole, checked when it is there.
    sha256: Option<String>,
}

impl DataQuery {
    fn owner(&self) -> Owner {
        Owner {
            org: self.org_id.clone(),
            project: self.project_id.clone(),
        }
    }
}

/// How far an upload is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImageUpload)]
pub(crate) struct ProgressAnswer {
    #[schema(example = "disk")]
    part: &'static str,
    /// So many bytes are there: where the next piece begins.
    offset: u64,
    /// Of so many; none before the first piece.
    size_bytes: Option<u64>,
    /// Whether it is whole, and good.
    done: bool,
}

impl From<Progress> for ProgressAnswer {
    fn from(progress: Progress) -> Self {
        Self {
            part: progress.part.as_str(),
            offset: progress.offset,
            size_bytes: progress.total,
            done: progress.is_done,
        }
    }
}

/// Says how far the upload of an image's content is.
#[utoipa::path(
    get, path = "/api/v1/images/{id}/data", tag = "images", operation_id = "get_image_upload",
    params(("id" = ImageText, Path), DataQuery),
    responses((status = 200, body = Envelope<ProgressAnswer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ImageId>,
    Query(query): Query<DataQuery>,
) -> RestResult<ProgressAnswer> {
    let part = query.part.as_deref();
    let progress = upload::progress(&app, &ctx, id, &query.owner(), part).await?;
    Ok(Data(progress.into()))
}

/// Takes an image's content, whole or in pieces (`Content-Range: bytes FROM-TO/SIZE`), each from where the last one ended. With the last
/// byte it is checked.
#[utoipa::path(
    put, path = "/api/v1/images/{id}/data", tag = "images", operation_id = "put_image_data",
    params(
        ("id" = ImageText, Path), DataQuery,
        ("Content-Range" = Option<String>, Header, description = "`bytes FROM-TO/SIZE`; without it, the body is the whole"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ImageId>,
    Query(query): Query<DataQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Revised<Answer>, RestError> {
    let owner = query.owner();
    let image = service::find(&app, &ctx, id, &owner).await?;
    let part = upload::part(&image.value.form, query.part.as_deref())?;
    let sha256 = super::digest(query.sha256.as_deref())?;
    let (from, to, total) = range(&headers)?;
    let piece = Piece {
        part,
        from,
        to,
        total,
        sha256,
        data: pieces(body.into_data_stream(), SILENCE),
    };
    let image = upload::take(&app, &ctx, id, &owner, piece).await?;
    Ok(Revised::ok(image.revision, Answer::of(image)))
}

/// What comes of a body. It ends where it breaks off, and when nothing came for so long: what had come is kept, and asked for by GET.
fn pieces<E: Send + 'static>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    silence: Duration,
) -> BoxStream<'static, Bytes> {
    let pieces = stream::unfold(body.boxed(), move |mut body| async move {
        match timeout(silence, body.next()).await {
            Ok(Some(Ok(piece))) => Some((piece, body)),
            _ => None,
        }
    });
    pieces.boxed()
}

/// Where a piece begins, where it ends, and how much the whole has.
fn range(headers: &HeaderMap) -> Result<(u64, u64, u64), Error> {
    let text = |name: header::HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let wrong = || {
        let message = "Content-Range must be bytes FROM-TO/SIZE, or bytes */SIZE";
        Error::validation("Content-Range", "pattern", message)
    };
    let length = text(header::CONTENT_LENGTH).map(str::parse::<u64>);
    let Some(range) = text(header::CONTENT_RANGE) else {
        // Without a length nobody knows whether it is whole.
        let Some(Ok(length)) = length else {
            return Err(Error::required("Content-Length"));
        };
        return Ok((0, length, length));
    };
    let (range, size) = range
        .strip_prefix("bytes ")
        .and_then(|range| range.split_once('/'))
        .ok_or_else(wrong)?;
    let size: u64 = size.parse().map_err(|_| wrong())?;
    if range == "*" {
        return Ok((size, size, size));
    }
    let (from, to) = range.split_once('-').ok_or_else(wrong)?;
    let (from, to): (u64, u64) = (
        from.parse().map_err(|_| wrong())?,
        to.parse().map_err(|_| wrong())?,
    );
    if from > to || to >= size {
        return Err(wrong());
    }
    match length {
        Some(Ok(length)) if length != to - from + 1 => {
            let message = "Content-Length is not what Content-Range says";
            Err(Error::validation("Content-Length", "value", message))
        }
        _ => Ok((from, to + 1, size)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn of(length: Option<&str>, content_range: Option<&str>) -> Option<(u64, u64, u64)> {
        let mut headers = HeaderMap::new();
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.parse().unwrap());
        }
        if let Some(text) = content_range {
            headers.insert(header::CONTENT_RANGE, text.parse().unwrap());
        }
        range(&headers).ok()
    }

    #[test]
    fn a_piece_says_where_it_is() {
        assert_eq!(of(Some("5"), None), Some((0, 5, 5)));
        assert_eq!(of(Some("5"), Some("bytes 5-9/20")), Some((5, 10, 20)));
        assert_eq!(of(None, Some("bytes 5-9/20")), Some((5, 10, 20)));
        assert_eq!(of(Some("0"), Some("bytes */20")), Some((20, 20, 20)));
        for bad in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 5-9/*",
            "bytes 9-5/20",
            "bytes 5-20/20",
            "bytes -5/20",
            "items 5-9/20",
            "bytes 5-9/99999999999999999999999",
        ] {
            assert_eq!(of(Some("5"), Some(bad)), None, "{bad}");
        }
        assert_eq!(of(Some("4"), Some("bytes 5-9/20")), None);
        assert_eq!(of(None, None), None);
    }

    #[tokio::test]
    async fn a_body_ends_where_nothing_comes_any_more() {
        let silence = Duration::from_millis(50);
        let good = |text: &'static str| Ok(Bytes::from_static(text.as_bytes()));
        let all = async |body: BoxStream<'static, Result<Bytes, ()>>| {
            let came = pieces(body, silence).collect::<Vec<Bytes>>();
            let came = timeout(Duration::from_secs(10), came).await;
            let came: Vec<u8> = came.unwrap().into_iter().flatten().collect();
            String::from_utf8(came).unwrap()
        };
        let stuck = stream::iter([good("a"), good("b")]).chain(stream::pending());
        assert_eq!(all(stuck.boxed()).await, "ab");
        let broken = stream::iter([good("a"), Err(()), good("b")]);
        assert_eq!(all(broken.boxed()).await, "a");
    }
}
