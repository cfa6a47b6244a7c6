//! `/api/v1/images`.

use std::sync::Arc;

use axum::extract::State;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Envelope, RestResult};
use photon_service::{openapi::Failure, rest::IdText};
use serde::Serialize;
use utoipa::ToSchema;

use super::shown;
use crate::{app::App, rest::schema::ImageDigestText};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new().get("/api/v1/images", "plasmavmc.images.list", list)
}

/// An image that a host holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Image)]
pub(crate) struct Answer {
    /// What a VM names: its name.
    #[schema(value_type = IdText, example = "photon-mini")]
    id: Name,
    /// Names exactly this one.
    #[schema(value_type = ImageDigestText)]
    digest: String,
    #[schema(example = "x86_64")]
    arch: String,
    size_bytes: u64,
}

/// Images.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Images)]
pub(crate) struct ListAnswer {
    images: Vec<Answer>,
}

/// Lists the images that hosts hold.
#[utoipa::path(
    get, path = "/api/v1/images", tag = "images", operation_id = "list_images",
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, ctx: Context) -> RestResult<ListAnswer> {
    ctx.allow_somewhere()?;
    let images = app.hosts.images().into_iter().map(|image| Answer {
        digest: shown(image.digest()),
        id: image.name,
        arch: image.arch,
        size_bytes: image.bytes,
    });
    Ok(Data(ListAnswer {
        images: images.collect(),
    }))
}
