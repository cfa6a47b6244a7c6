//! `/api/v1/snapshots`.

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
    scope::Owner,
    versioned::Versioned,
};
use plasmavmc_model::{Snapshot, SnapshotId, SnapshotOf, VmId, VmName, VolumeId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewSnapshot, SnapshotFilter, service};
use crate::{
    app::App,
    rest::schema::{SnapshotStateText, SnapshotText, VmNameText, VmText, VolumeText},
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/snapshots", "plasmavmc.snapshots.create", create)
        .get("/api/v1/snapshots", "plasmavmc.snapshots.list", list)
        .get("/api/v1/snapshots/{id}", "plasmavmc.snapshots.get", get)
        .delete(
            "/api/v1/snapshots/{id}",
            "plasmavmc.snapshots.delete",
            delete,
        )
        .post(
            "/api/v1/snapshots/{id}/revert",
            "plasmavmc.snapshots.revert",
            revert,
        )
}

/// A snapshot to be taken: of a VM, with its volumes, or of a volume.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewSnapshot)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name, for people; need not be unique.
    #[schema(value_type = VmNameText, example = "before-the-upgrade")]
    name: VmName,
    /// Of this VM: its root disk and its volumes at one moment, and its memory, if it runs or is paused.
    #[schema(value_type = Option<VmText>)]
    vm_id: Option<VmId>,
    /// Instead: of this volume.
    #[schema(value_type = Option<VolumeText>)]
    volume_id: Option<VolumeId>,
}

/// How to revert.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = SnapshotRevert)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevertBody {
    /// Whether the VM goes on from the memory in it, and runs then; without, its disks alone are reverted, while it is stopped. Default:
    /// whether there is any.
    memory: Option<bool>,
}

/// Which snapshots.
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
    /// Only those of this VM.
    #[param(value_type = Option<VmText>)]
    vm_id: Option<VmId>,
    /// Only those of this volume: its own, and those of VMs that had it.
    #[param(value_type = Option<VolumeText>)]
    volume_id: Option<VolumeId>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A snapshot.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Snapshot)]
pub(crate) struct Answer {
    #[schema(value_type = SnapshotText)]
    id: SnapshotId,
    name: String,
    #[schema(value_type = SnapshotStateText)]
    state: &'static str,
    /// Why it is in that state, where there is something to say.
    state_reason: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// The VM that it is of; null of a volume's.
    #[schema(value_type = Option<VmText>)]
    vm_id: Option<VmId>,
    /// The volume that it is of; null of a VM's.
    #[schema(value_type = Option<VolumeText>)]
    volume_id: Option<VolumeId>,
    /// Whether it has the memory.
    memory: bool,
    memory_bytes: u64,
    /// Null before it was taken.
    #[schema(value_type = Option<String>, format = DateTime)]
    taken_at: Option<Timestamp>,
    /// What the VM had: its memory fits nothing else. Null of a volume's, as are the two below.
    cpus: Option<u32>,
    /// In MiB.
    memory_mb: Option<u64>,
    /// In GiB; null: no disk.
    disk_size_gb: Option<u32>,
    /// The volumes that it had.
    #[schema(value_type = Vec<VolumeText>)]
    volume_ids: Vec<VolumeId>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

impl Answer {
    fn of(snapshot: Versioned<Snapshot>) -> Self {
        let Versioned { value, revision } = snapshot;
        let (vm_id, volume_id) = match value.of {
            SnapshotOf::Vm(vm) => (Some(vm), None),
            SnapshotOf::Volume(volume) => (None, Some(volume)),
        };
        let shape = value.shape.as_ref();
        Self {
            id: value.id,
            name: value.name.into(),
            state: value.state.as_str(),
            state_reason: value.reason,
            org_id: value.org,
            project_id: value.project,
            vm_id,
            volume_id,
            memory: value.memory,
            memory_bytes: value.memory_bytes,
            taken_at: value.taken_at,
            cpus: shape.map(|shape| shape.vcpus),
            memory_mb: shape.map(|shape| shape.memory_mib),
            disk_size_gb: shape.and_then(|shape| shape.disk_gib),
            volume_ids: shape.map_or_else(Vec::new, |shape| shape.volumes.clone()),
            created_at: value.created_at,
            revision,
        }
    }
}

/// Snapshots.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Snapshots)]
pub(crate) struct ListAnswer {
    snapshots: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// Has a snapshot taken. It is `Creating` until it is.
#[utoipa::path(
    post, path = "/api/v1/snapshots", tag = "snapshots", operation_id = "create_snapshot",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewSnapshot::new(body.name, body.vm_id, body.volume_id)?;
    let snapshot = service::create(&app, &ctx, &new).await?;
    Ok(Revised::created(snapshot.revision, Answer::of(snapshot)))
}

/// Lists the snapshots the caller may see.
#[utoipa::path(
    get, path = "/api/v1/snapshots", tag = "snapshots", operation_id = "list_snapshots",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = SnapshotFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        vm: query.vm_id,
        volume: query.volume_id,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        snapshots: listing.items.into_iter().map(Answer::of).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A snapshot.
#[utoipa::path(
    get, path = "/api/v1/snapshots/{id}", tag = "snapshots", operation_id = "get_snapshot",
    params(("id" = SnapshotText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<SnapshotId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let snapshot = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(snapshot.revision, Answer::of(snapshot)))
}

/// Has a snapshot deleted. It is `Deleting` until nothing of it is left.
#[utoipa::path(
    delete, path = "/api/v1/snapshots/{id}", tag = "snapshots", operation_id = "delete_snapshot",
    params(("id" = SnapshotText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<SnapshotId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> Result<Revised<Answer>, RestError> {
    let snapshot = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(Revised::ok(snapshot.revision, Answer::of(snapshot)))
}

/// Has a VM, or a volume, be as it was: what it has become since is lost. With its memory a VM runs then, from that moment on.
#[utoipa::path(
    post, path = "/api/v1/snapshots/{id}/revert", tag = "snapshots", operation_id = "revert_snapshot",
    params(("id" = SnapshotText, Path), OwnerQuery),
    request_body = RevertBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn revert(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<SnapshotId>,
    Query(owner): Query<OwnerQuery>,
    Json(body): Json<RevertBody>,
) -> Result<Revised<Answer>, RestError> {
    let snapshot = service::revert(&app, &ctx, id, &owner.into(), body.memory).await?;
    Ok(Revised::ok(snapshot.revision, Answer::of(snapshot)))
}
