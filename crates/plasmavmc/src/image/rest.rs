//! `/api/v1/images`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Envelope, Json, Path, Query, RestError, RestResult};
use photon_service::{
    listing::Ask,
    openapi::Failure,
    rest::{IdText, IfMatch, IfMatchHeader, OwnerQuery, Removed, Revised, removed},
    scope::{Home, Owner},
    versioned::Versioned,
};
use plasmavmc_model::{HeldImage, Image, ImageId, Part};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ImageChange, ImageFilter, NewImage, service, shown};
use crate::{
    app::App,
    rest::schema::{ImageDigestText, ImageText},
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/images", "plasmavmc.images.create", create)
        .get("/api/v1/images", "plasmavmc.images.list", list)
        .get("/api/v1/images/{id}", "plasmavmc.images.get", get)
        .patch("/api/v1/images/{id}", "plasmavmc.images.update", update)
        .delete("/api/v1/images/{id}", "plasmavmc.images.delete", delete)
}

/// An image to be registered. Its content comes by `PUT …/data`, or from `url`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewImage)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name; one image of that name in a project.
    #[schema(value_type = IdText, example = "debian-12")]
    name: Name,
    /// The org that owns the project.
    #[schema(value_type = IdText)]
    org_id: Name,
    /// The project that owns it.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// `qcow2`, `raw`: a disk. `kernel`: a kernel with its initramfs.
    #[schema(example = "qcow2")]
    format: String,
    /// `project`: only VMs of its project may boot it. `public`: all; for that one needs `plasmavmc.images.publish`.
    visibility: Option<String>,
    /// What else it is called.
    #[serde(default)]
    #[schema(max_items = 16)]
    aliases: Vec<String>,
    /// Whether VMs that name no image get it.
    #[serde(default)]
    default: bool,
    /// The SHA-256 of the disk: another content is refused.
    sha256: Option<String>,
    /// Where the disk is fetched from.
    url: Option<String>,
    /// The kernel's command line.
    cmdline: Option<String>,
}

/// What changes of an image; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ImageChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<IdText>)]
    name: Option<Name>,
    /// `project` or `public`.
    visibility: Option<String>,
    /// All that it is called besides.
    aliases: Option<Vec<String>>,
    /// Whether VMs that name no image get it.
    default: Option<bool>,
}

/// Which images.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Of those that are not public, only this org's.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// Of those that are not public, only this project's.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// Only those that are called so.
    name: Option<String>,
    /// At most so many rows.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// Where the last page ended.
    page_token: Option<String>,
}

/// An image.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Image)]
pub(crate) struct Answer {
    /// What a VM names, as it may its name or an alias; of one that an operator put on a host, its name.
    #[schema(value_type = String, example = "img-019ac8e5-3c00-7001-8c00-000000000004")]
    id: String,
    #[schema(value_type = IdText, example = "debian-12")]
    name: Name,
    /// `Pending` until its content is there; `Ready`; `Error`: it could not be fetched.
    #[schema(example = "Ready")]
    state: &'static str,
    state_reason: String,
    /// `qcow2`, `raw`, `kernel`.
    format: &'static str,
    /// `project`, `public`; `host`: an operator put it on hosts.
    visibility: &'static str,
    /// None of one that an operator put on hosts; nor are the members below.
    #[schema(value_type = Option<IdText>)]
    org_id: Option<Name>,
    #[schema(value_type = Option<IdText>)]
    project_id: Option<Name>,
    #[schema(value_type = Vec<String>)]
    aliases: Vec<Name>,
    default: bool,
    /// Names exactly this content; none before it is there.
    #[schema(value_type = Option<ImageDigestText>)]
    digest: Option<String>,
    #[schema(example = "x86_64")]
    arch: String,
    size_bytes: u64,
    /// The size of the disk that a guest sees: the least that a VM's may have.
    virtual_size_bytes: Option<u64>,
    url: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    revision: Option<i64>,
}

impl Answer {
    pub(crate) fn of(image: Versioned<Image>) -> Self {
        let Versioned { value, revision } = image;
        let disk = value.contents.get(&Part::Disk);
        Self {
            id: value.id.to_string(),
            state: state(&value),
            state_reason: reason(&value),
            format: value.form.as_str(),
            visibility: visibility(&value),
            digest: value.digest().map(shown),
            size_bytes: size(&value),
            virtual_size_bytes: disk.map(|disk| disk.virtual_bytes),
            name: value.name,
            org_id: Some(value.org),
            project_id: Some(value.project),
            aliases: value.aliases.into_iter().collect(),
            default: value.is_default,
            arch: value.arch,
            url: value.url,
            created_at: Some(value.created_at),
            updated_at: Some(value.updated_at),
            revision: Some(revision),
        }
    }

    fn held(image: HeldImage) -> Self {
        Self {
            id: image.name.to_string(),
            state: READY,
            state_reason: String::new(),
            format: "kernel",
            visibility: "host",
            digest: Some(shown(image.digest())),
            size_bytes: image.bytes,
            virtual_size_bytes: None,
            name: image.name,
            org_id: None,
            project_id: None,
            aliases: Vec::new(),
            default: false,
            arch: image.arch,
            url: None,
            created_at: None,
            updated_at: None,
            revision: None,
        }
    }
}

const READY: &str = "Ready";

/// How an image is, in a word.
pub(crate) fn state(image: &Image) -> &'static str {
    match (image.is_ready(), image.problem.is_empty(), &image.url) {
        (true, ..) => READY,
        // What was refused may be uploaded anew; what could not be fetched is not fetched again.
        (_, true, _) | (.., None) => "Pending",
        (_, false, Some(_)) => "Error",
    }
}

/// What its content waits for.
pub(crate) fn reason(image: &Image) -> String {
    let missing = || {
        let parts = image.form.parts().iter();
        let missing = parts.filter(|part| !image.contents.contains_key(part));
        let words: Vec<&str> = missing.map(|part| part.as_str()).collect();
        words.join(" and ")
    };
    match (image.is_ready(), image.problem.is_empty(), &image.url) {
        (true, ..) => String::new(),
        (_, false, Some(_)) => image.problem.clone(),
        (_, true, Some(_)) => "it is being fetched from its url".to_owned(),
        (_, true, None) => format!("its {} is to be uploaded", missing()),
        (_, false, None) => format!("its {} is to be uploaded: {}", missing(), image.problem),
    }
}

/// Who may boot it, in a word.
pub(crate) fn visibility(image: &Image) -> &'static str {
    match image.public {
        true => "public",
        false => "project",
    }
}

/// Bytes of all that is there.
pub(crate) fn size(image: &Image) -> u64 {
    image.contents.values().map(|content| content.bytes).sum()
}

/// Images.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Images)]
pub(crate) struct ListAnswer {
    images: Vec<Answer>,
    /// What continues the list, if there is more.
    next_page_token: Option<String>,
}

/// Registers an image.
#[utoipa::path(
    post, path = "/api/v1/images", tag = "images", operation_id = "create_image",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewImage {
        name: body.name,
        home: Home {
            org: body.org_id,
            project: body.project_id,
        },
        form: super::form(&body.format, body.cmdline)?,
        public: super::is_public(body.visibility.as_deref())?.unwrap_or(false),
        aliases: super::aliases(body.aliases)?,
        is_default: body.default,
        sha256: super::digest(body.sha256.as_deref())?,
        url: body.url,
    };
    let image = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(image.revision, Answer::of(image)))
}

/// Lists the images that the caller's VMs may boot: its projects', public ones, and on the first page what operators have put on hosts.
#[utoipa::path(
    get, path = "/api/v1/images", tag = "images", operation_id = "list_images",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    ctx.allow_somewhere()?;
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = ImageFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        name: query.name,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    let mut images = Vec::new();
    if query.page_token.is_none() {
        images.extend(service::on_hosts(&app, &filter).map(Answer::held));
    }
    images.extend(listing.items.into_iter().map(Answer::of));
    Ok(Data(ListAnswer {
        images,
        next_page_token: listing.next_page_token,
    }))
}

/// An image.
#[utoipa::path(
    get, path = "/api/v1/images/{id}", tag = "images", operation_id = "get_image",
    params(("id" = ImageText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ImageId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let image = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(image.revision, Answer::of(image)))
}

/// Changes what an image is called, who may boot it, and whether it is the default.
#[utoipa::path(
    patch, path = "/api/v1/images/{id}", tag = "images", operation_id = "update_image",
    params(("id" = ImageText, Path), OwnerQuery, IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ImageId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = ImageChange {
        name: body.name,
        public: super::is_public(body.visibility.as_deref())?,
        aliases: body.aliases.map(super::aliases).transpose()?,
        is_default: body.default,
    };
    let image = service::update(&app, &ctx, id, &owner.into(), &change, expected).await?;
    Ok(Revised::ok(image.revision, Answer::of(image)))
}

/// Forgets an image. VMs that were made of it keep what they were made of.
#[utoipa::path(
    delete, path = "/api/v1/images/{id}", tag = "images", operation_id = "delete_image",
    params(("id" = ImageText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<ImageId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> Result<Data<Removed>, RestError> {
    let revision = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(removed(id, revision))
}
