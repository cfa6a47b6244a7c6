//! `/api/v1/volumes`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Envelope, Json, Path, Query, RestError, RestResult};
use photon_service::{
    listing::Ask,
    openapi::Failure,
    rest::{IdText, IfMatch, IfMatchHeader, OwnerQuery, Revised},
    scope::{Home, Owner},
    versioned::Versioned,
};
use plasmavmc_model::{Labels, VmId, VmName, Volume, VolumeId, pool};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewVolume, VolumeChange, VolumeFilter, service, size, vm_id};
use crate::{
    app::App,
    rest::schema::{LabelsText, VmNameText, VmText, VolumeStateText, VolumeText},
    vm::rest::sees_hosts,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    const ONE: &str = "/api/v1/volumes/{id}";
    Routes::new()
        .create("/api/v1/volumes", "plasmavmc.volumes.create", create)
        .get("/api/v1/volumes", "plasmavmc.volumes.list", list)
        .get(ONE, "plasmavmc.volumes.get", get)
        .patch(ONE, "plasmavmc.volumes.update", update)
        .delete(ONE, "plasmavmc.volumes.delete", delete)
        .post(
            "/api/v1/volumes/{id}/attach",
            "plasmavmc.volumes.attach",
            attach,
        )
        .post(
            "/api/v1/volumes/{id}/detach",
            "plasmavmc.volumes.detach",
            detach,
        )
        .post(
            "/api/v1/volumes/{id}/resize",
            "plasmavmc.volumes.resize",
            resize,
        )
}

/// A volume to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewVolume)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name, for people; need not be unique.
    #[schema(value_type = VmNameText)]
    name: VmName,
    /// In GiB.
    #[schema(minimum = 1, maximum = 16384)]
    size_gb: u64,
    /// The org that owns the project.
    #[schema(value_type = IdText)]
    org_id: Name,
    /// The project that owns it.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// Where it is to lie. Default `local`.
    #[schema(value_type = Option<IdText>, example = "local")]
    pool: Option<Name>,
    /// A VM of the project that is to have it: then it is made where that is.
    #[schema(value_type = Option<VmText>)]
    vm_id: Option<String>,
    /// What it is sorted by.
    #[serde(default)]
    #[schema(value_type = LabelsText, required = false)]
    labels: Labels,
}

/// What changes of a volume; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VolumeChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<VmNameText>)]
    name: Option<VmName>,
    /// All its labels.
    #[schema(value_type = Option<LabelsText>)]
    labels: Option<Labels>,
}

/// Who is to have a volume.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VolumeAttach)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttachBody {
    /// A VM of the volume's project.
    #[schema(value_type = VmText)]
    vm_id: String,
}

/// How large a volume is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VolumeResize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResizeBody {
    /// In GiB; not less than it has.
    #[schema(minimum = 1, maximum = 16384)]
    size_gb: u64,
}

/// Which volumes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this org.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// Only those of this project.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// Only those that this VM has.
    #[param(value_type = Option<VmText>)]
    vm_id: Option<String>,
    /// Only those of this name.
    name: Option<String>,
    /// Only those in this state.
    #[param(value_type = Option<VolumeStateText>)]
    state: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A volume.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Volume)]
pub(crate) struct Answer {
    #[schema(value_type = VolumeText)]
    id: VolumeId,
    name: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// In GiB.
    size_gb: u32,
    /// Where it lies.
    #[schema(value_type = IdText, example = "local")]
    pool: Name,
    #[schema(value_type = VolumeStateText)]
    state: &'static str,
    /// Why it is in that state, where there is something to say.
    state_reason: String,
    #[schema(value_type = String, format = DateTime)]
    state_since: Timestamp,
    /// Which VM has it; null: none.
    #[schema(value_type = Option<VmText>)]
    vm_id: Option<VmId>,
    /// By which its guest knows it.
    #[schema(example = "019ac8e53c0070018c00000000000006")]
    serial: String,
    #[schema(value_type = LabelsText)]
    labels: Labels,
    /// Where it is; null to those who may not see hosts.
    #[schema(value_type = Option<IdText>)]
    host_id: Option<Name>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Volumes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Volumes)]
pub(crate) struct ListAnswer {
    volumes: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// By which a guest knows a volume: what SCSI has room for.
pub(crate) fn serial(id: VolumeId) -> String {
    id.uuid().simple().to_string()
}

impl Answer {
    fn of(volume: Versioned<Volume>, sees_hosts: bool) -> Self {
        let Versioned { value, revision } = volume;
        Self {
            id: value.id,
            name: value.name.into(),
            org_id: value.org,
            project_id: value.project,
            size_gb: value.size_gib,
            pool: value.pool,
            state: value.status.state.as_str(),
            state_reason: value.status.reason,
            state_since: value.status.since,
            vm_id: value.attached.map(|attached| attached.vm),
            serial: serial(value.id),
            labels: value.labels,
            host_id: Some(value.host).filter(|_| sees_hosts),
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

fn ok(ctx: &Context, volume: Versioned<Volume>) -> Revised<Answer> {
    Revised::ok(volume.revision, Answer::of(volume, sees_hosts(ctx)))
}

/// Has a volume made. It is `Creating` until it is.
#[utoipa::path(
    post, path = "/api/v1/volumes", tag = "volumes", operation_id = "create_volume",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewVolume {
        name: body.name,
        home: Home {
            org: body.org_id,
            project: body.project_id,
        },
        size_gib: size(body.size_gb)?,
        pool: body.pool.unwrap_or_else(pool::local),
        vm: body.vm_id.as_deref().map(vm_id).transpose()?,
        labels: body.labels,
    };
    let volume = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(
        volume.revision,
        Answer::of(volume, sees_hosts(&ctx)),
    ))
}

/// Lists the volumes the caller may see.
#[utoipa::path(
    get, path = "/api/v1/volumes", tag = "volumes", operation_id = "list_volumes",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = VolumeFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        name: query.name,
        vm: query.vm_id.as_deref().map(vm_id).transpose()?,
        state: super::state(query.state.as_deref())?,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    let sees_hosts = sees_hosts(&ctx);
    let rows = listing.items.into_iter();
    Ok(Data(ListAnswer {
        volumes: rows.map(|volume| Answer::of(volume, sees_hosts)).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A volume.
#[utoipa::path(
    get, path = "/api/v1/volumes/{id}", tag = "volumes", operation_id = "get_volume",
    params(("id" = VolumeText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VolumeId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let volume = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(ok(&ctx, volume))
}

/// Changes what people call a volume and sort it by.
#[utoipa::path(
    patch, path = "/api/v1/volumes/{id}", tag = "volumes", operation_id = "update_volume",
    params(("id" = VolumeText, Path), OwnerQuery, IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VolumeId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = VolumeChange {
        name: body.name,
        labels: body.labels,
    };
    let volume = service::update(&app, &ctx, id, &owner.into(), &change, expected).await?;
    Ok(ok(&ctx, volume))
}

/// Has a volume deleted that no VM has, with all that is in it. It is `Deleting` until nothing of it is left.
#[utoipa::path(
    delete, path = "/api/v1/volumes/{id}", tag = "volumes", operation_id = "delete_volume",
    params(("id" = VolumeText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VolumeId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> Result<Revised<Answer>, RestError> {
    let volume = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(ok(&ctx, volume))
}

/// Gives an `Available` volume to a VM of its project, which may run.
#[utoipa::path(
    post, path = "/api/v1/volumes/{id}/attach", tag = "volumes", operation_id = "attach_volume",
    params(("id" = VolumeText, Path), OwnerQuery),
    request_body = AttachBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn attach(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VolumeId>,
    Query(owner): Query<OwnerQuery>,
    Json(body): Json<AttachBody>,
) -> Result<Revised<Answer>, RestError> {
    let vm = vm_id(&body.vm_id)?;
    let volume = service::attach(&app, &ctx, id, &owner.into(), vm).await?;
    Ok(ok(&ctx, volume))
}

/// Takes a volume from its VM. It is `Detaching` until the VM, which may run, does not have it open any more.
#[utoipa::path(
    post, path = "/api/v1/volumes/{id}/detach", tag = "volumes", operation_id = "detach_volume",
    params(("id" = VolumeText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn detach(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VolumeId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let volume = service::detach(&app, &ctx, id, &owner.into()).await?;
    Ok(ok(&ctx, volume))
}

/// Has a volume grow that is `Available`, or whose VM is stopped, and that has no snapshots.
#[utoipa::path(
    post, path = "/api/v1/volumes/{id}/resize", tag = "volumes", operation_id = "resize_volume",
    params(("id" = VolumeText, Path), OwnerQuery),
    request_body = ResizeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn resize(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VolumeId>,
    Query(owner): Query<OwnerQuery>,
    Json(body): Json<ResizeBody>,
) -> Result<Revised<Answer>, RestError> {
    let size_gib = size(body.size_gb)?;
    let volume = service::resize(&app, &ctx, id, &owner.into(), size_gib).await?;
    Ok(ok(&ctx, volume))
}
