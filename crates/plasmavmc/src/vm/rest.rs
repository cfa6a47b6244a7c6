//! `/api/v1/vms`.

use std::{net::Ipv4Addr, sync::Arc};

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::{Permission, Scope};
use photon_core::{Error, Name};
use photon_server::rest::{Data, Envelope, Json, Path, Query, RestError, RestResult};
use photon_service::{
    listing::Ask,
    openapi::Failure,
    rest::{IdText, IfMatch, IfMatchHeader, OwnerQuery, Revised},
    scope::{Home, Owner},
    versioned::Versioned,
};
use plasmavmc_model::{
    Account, AskedPort, Hold, Hypervisor, Interface, Labels, OperationId, PortId, Power, SubnetId,
    Vm, VmId, VmName, VpcId, pool,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    GuestChange, NewVm, Size, VmChange, VmFilter, hypervisor, request::Request, reservation,
    resize::Resize, service,
};
use crate::{
    app::App,
    image, network,
    rest::{
        count::Count,
        schema::{
            GroupText, HypervisorText, ImageDigestText, LabelsText, OperationText, PortText,
            StateText, SubnetText, VmNameText, VmText, VpcText,
        },
    },
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/vms", "plasmavmc.vms.create", create)
        .get("/api/v1/vms", "plasmavmc.vms.list", list)
        .get("/api/v1/vms/{id}", "plasmavmc.vms.get", get)
        .patch("/api/v1/vms/{id}", "plasmavmc.vms.update", update)
        .delete("/api/v1/vms/{id}", "plasmavmc.vms.delete", delete)
        .get("/api/v1/vms/{id}/guest", "plasmavmc.vms.update", get_guest)
        .post("/api/v1/vms/{id}/start", "plasmavmc.vms.start", start)
        .post("/api/v1/vms/{id}/stop", "plasmavmc.vms.stop", stop)
        .post("/api/v1/vms/{id}/reboot", "plasmavmc.vms.reboot", reboot)
        .post("/api/v1/vms/{id}/pause", "plasmavmc.vms.pause", pause)
        .post("/api/v1/vms/{id}/resume", "plasmavmc.vms.resume", resume)
        .post("/api/v1/vms/{id}/suspend", "plasmavmc.vms.suspend", suspend)
        .post("/api/v1/vms/{id}/resize", "plasmavmc.vms.resize", resize)
}

/// A VM to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewVm)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name, for people; need not be unique.
    #[schema(value_type = VmNameText)]
    name: VmName,
    /// CPUs.
    #[schema(value_type = u64, minimum = 1, maximum = 256)]
    vcpus: Count,
    /// Memory, in MiB.
    #[schema(value_type = u64, minimum = 16, maximum = 4_194_304)]
    memory_mib: Count,
    /// The org that owns the project.
    #[schema(value_type = IdText)]
    org_id: Name,
    /// The project that owns it.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// What is to run it; KVM that is not there may be emulated, and `hypervisor_in_use` says so.
    #[schema(value_type = Option<HypervisorText>)]
    hypervisor: Option<String>,
    /// Its image, by name or `sha256:…`. Without one it is the default.
    #[schema(max_length = 200)]
    image_id: Option<String>,
    /// The size of its root disk, in GiB. Without it there is none.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 16384)]
    disk_size_gb: Option<Count>,
    /// Where its root disk is to lie. Default `local`.
    #[schema(value_type = Option<IdText>, example = "local")]
    pool: Option<Name>,
    /// What it is connected to, in order; isolated without any.
    #[serde(default)]
    #[schema(max_items = 8, required = false)]
    networks: Vec<NetworkBody>,
    /// Whether it is to run as soon as it is made.
    #[serde(default)]
    start: bool,
    /// A reservation of the project's own at CreditService that replaces what the first start would hold.
    #[schema(max_length = 200, example = "rsv-019ac8e5-3c00-7001-8c00-000000000001")]
    reservation_id: Option<String>,
    /// What it is sorted by.
    #[serde(default)]
    #[schema(value_type = LabelsText, required = false)]
    labels: Labels,
    /// Whether it is refused to be deleted.
    #[serde(default)]
    deletion_protection: bool,
    /// What its guest is called: letters, digits and hyphens, parted by dots. Without it, it is made from the name.
    #[schema(max_length = 63, example = "app-server-03")]
    hostname: Option<String>,
    /// Who may log in: public keys as OpenSSH writes them, without options, for cloud-init.
    #[schema(max_items = 16, example = json!(["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS ann"]))]
    ssh_keys: Option<Vec<String>>,
    /// What its guest runs at its first boot, by cloud-init: up to 64 KiB. Only shown to those who may change it.
    #[schema(max_length = 65536, example = "#cloud-config\npackages: [nginx]\n")]
    user_data: Option<String>,
}

/// An interface: a port that is made for the VM in a subnet, and goes with it; or one that is there.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewVmNetwork)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkBody {
    /// The subnet, one of the project's.
    #[schema(value_type = Option<SubnetText>)]
    subnet_id: Option<String>,
    /// Instead: a port of the project's, for a guest, that nobody uses.
    #[schema(value_type = Option<PortText>)]
    port_id: Option<String>,
    /// Of a port that is made. Without it: the project's default group.
    #[schema(value_type = Option<Vec<GroupText>>, max_items = 16)]
    security_group_ids: Option<Vec<String>>,
}

impl From<NetworkBody> for network::door::Given {
    fn from(body: NetworkBody) -> Self {
        Self {
            subnet: body.subnet_id,
            port: body.port_id,
            groups: body.security_group_ids,
        }
    }
}

/// What changes of a VM; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VmChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<VmNameText>)]
    name: Option<VmName>,
    /// All its labels.
    #[schema(value_type = Option<LabelsText>)]
    labels: Option<Labels>,
    /// Whether it is refused to be deleted.
    deletion_protection: Option<bool>,
    /// What its guest is called, from its next boot on.
    #[schema(max_length = 63)]
    hostname: Option<String>,
    /// All keys of those who may log in. A guest that has been set up does not look again.
    #[schema(max_items = 16)]
    ssh_keys: Option<Vec<String>>,
    /// What its guest runs; empty: nothing.
    #[schema(max_length = 65536)]
    user_data: Option<String>,
}

/// How a VM is to end what it runs.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = VmStop)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopBody {
    /// Powered off at once. Otherwise the guest is asked to shut down, and powered off when its time is over.
    #[serde(default)]
    force: bool,
}

/// How large a VM is to be; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = VmResize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResizeBody {
    /// CPUs.
    #[schema(minimum = 1, maximum = 256)]
    vcpus: Option<u64>,
    /// Memory, in MiB.
    #[schema(minimum = 16, maximum = 4_194_304)]
    memory_mib: Option<u64>,
    /// Its root disk, in GiB. It only grows.
    #[schema(minimum = 1, maximum = 16384)]
    disk_size_gb: Option<u64>,
}

/// Which VMs.
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
    /// Only those of this name.
    name: Option<String>,
    /// Only those in this state.
    #[param(value_type = Option<StateText>)]
    state: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A VM.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vm)]
pub(crate) struct Answer {
    #[schema(value_type = VmText)]
    id: VmId,
    name: String,
    #[schema(value_type = StateText)]
    state: &'static str,
    cpus: u32,
    /// In MiB.
    memory_mb: u64,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    /// Why it is in that state, where there is something to say.
    state_reason: String,
    #[schema(value_type = String, format = DateTime)]
    state_since: Timestamp,
    /// What was asked for last: `Running`, `Stopped`, `Paused` or `Suspended`.
    #[schema(example = "Running")]
    wanted_state: &'static str,
    /// In GiB; null: no disk.
    disk_size_gb: Option<u32>,
    /// Where its root disk lies; null: it has none.
    #[schema(value_type = Option<IdText>, example = "local")]
    pool: Option<Name>,
    /// What was asked to run it.
    #[schema(value_type = Option<HypervisorText>)]
    hypervisor: Option<&'static str>,
    /// What runs it in truth; null while nothing does.
    #[schema(value_type = Option<HypervisorText>)]
    hypervisor_in_use: Option<&'static str>,
    #[schema(value_type = IdText, example = "photon-mini")]
    image_id: Name,
    #[schema(value_type = ImageDigestText)]
    image_digest: String,
    /// Its interfaces, in order.
    networks: Vec<NetworkAnswer>,
    #[schema(value_type = LabelsText)]
    labels: Labels,
    deletion_protection: bool,
    /// What its guest is told that it is called; null of VMs from before there was anything to tell.
    hostname: Option<String>,
    /// Where it is; null to those who may not see hosts.
    #[schema(value_type = Option<IdText>)]
    host_id: Option<Name>,
    /// What is being done to it.
    #[schema(value_type = Option<OperationText>)]
    operation_id: Option<OperationId>,
    /// What is held for it at CreditService; null where nothing is.
    hold: Option<HoldAnswer>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// What a guest is told at its first boot.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VmGuest)]
pub(crate) struct GuestAnswer {
    hostname: Option<String>,
    ssh_keys: Vec<String>,
    /// As a text; what is none is shown by `user_data_base64`.
    user_data: Option<String>,
    /// In base64.
    user_data_base64: String,
}

/// An interface of a VM; without a port while it is being made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VmNetwork)]
pub(crate) struct NetworkAnswer {
    #[schema(value_type = Option<PortText>)]
    pub(crate) port_id: Option<PortId>,
    #[schema(value_type = Option<SubnetText>)]
    pub(crate) subnet_id: Option<SubnetId>,
    #[schema(value_type = Option<VpcText>)]
    pub(crate) vpc_id: Option<VpcId>,
    #[schema(value_type = Option<String>, format = Ipv4)]
    pub(crate) ip_address: Option<Ipv4Addr>,
    #[schema(example = "06:5a:00:00:00:01")]
    pub(crate) mac_address: Option<String>,
}

impl From<Interface> for NetworkAnswer {
    fn from(interface: Interface) -> Self {
        let (subnet, port) = match interface.asked {
            AskedPort::InSubnet { subnet, .. } => (Some(subnet), None),
            AskedPort::Named { port } => (None, Some(port)),
        };
        match interface.port {
            Some(bound) => Self {
                port_id: Some(bound.port),
                subnet_id: Some(bound.subnet),
                vpc_id: Some(bound.vpc),
                ip_address: Some(bound.ip_address),
                mac_address: Some(bound.mac_address),
            },
            None => Self {
                port_id: port,
                subnet_id: subnet,
                vpc_id: None,
                ip_address: None,
                mac_address: None,
            },
        }
    }
}

/// Money that is held for the time that a VM runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VmHold)]
pub(crate) struct HoldAnswer {
    /// The reservation.
    reservation_id: String,
    /// In minor units of the wallet's currency.
    amount: i64,
    /// When the period is over, and the next one is held; null before it runs.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl HoldAnswer {
    fn of(account: &Account) -> Option<Self> {
        let (hold, until) = held(account)?;
        Some(Self {
            reservation_id: hold.reservation.clone(),
            amount: hold.amount,
            until,
        })
    }
}

/// VMs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vms)]
pub(crate) struct ListAnswer {
    vms: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

/// What is held for a VM, and until when, if it costs anything.
pub(crate) fn held(account: &Account) -> Option<(&Hold, Option<Timestamp>)> {
    let bill = account.bill.as_ref()?;
    let hold = bill.hold.as_ref().filter(|hold| hold.amount > 0)?;
    Some((hold, bill.until))
}

/// The word for what was asked for.
pub(crate) fn wanted(power: Power) -> &'static str {
    match power {
        Power::Running => "Running",
        Power::Stopped => "Stopped",
        Power::Paused => "Paused",
        Power::Suspended => "Suspended",
    }
}

/// Where its root disk lies, if it has one.
pub(crate) fn shown_pool(vm: &Vm) -> Option<Name> {
    vm.disk_gib?;
    Some(vm.pool.clone().unwrap_or_else(pool::local))
}

/// Whether the caller is told where VMs are.
pub(crate) fn sees_hosts(ctx: &Context) -> bool {
    Permission::new("plasmavmc.hosts.list").is_ok_and(|list| ctx.is_given(&list, &Scope::System))
}

impl Answer {
    fn of(vm: Versioned<Vm>, sees_hosts: bool) -> Self {
        let Versioned { value, revision } = vm;
        let pool = shown_pool(&value);
        Self {
            id: value.id,
            name: value.name.into(),
            state: value.status.state.as_str(),
            cpus: value.vcpus,
            memory_mb: value.memory_mib,
            org_id: value.org,
            project_id: value.project,
            state_reason: value.status.reason,
            state_since: value.status.since,
            wanted_state: wanted(value.wanted.power),
            disk_size_gb: value.disk_gib,
            pool,
            hypervisor: value.hypervisor.map(Hypervisor::as_str),
            hypervisor_in_use: value.status.hypervisor.map(Hypervisor::as_str),
            image_id: value.image.name,
            image_digest: image::shown(value.image.digest),
            networks: value.interfaces.into_iter().map(Into::into).collect(),
            labels: value.labels,
            deletion_protection: value.deletion_protection,
            hostname: value.guest.map(|guest| guest.hostname.into()),
            host_id: value.host.filter(|_| sees_hosts),
            operation_id: value.operation,
            hold: HoldAnswer::of(&value.account),
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

fn guest(
    hostname: Option<String>,
    ssh_keys: Option<Vec<String>>,
    user_data: Option<String>,
) -> Result<GuestChange, Error> {
    GuestChange::new(hostname, ssh_keys, user_data.map(String::into_bytes))
}

fn ok(ctx: &Context, vm: Versioned<Vm>) -> Revised<Answer> {
    Revised::ok(vm.revision, Answer::of(vm, sees_hosts(ctx)))
}

/// Has a VM made. It is `Creating` until it is; a start before that is remembered.
#[utoipa::path(
    post, path = "/api/v1/vms", tag = "vms", operation_id = "create_vm",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewVm {
        name: body.name,
        size: Size::new(
            body.vcpus.0,
            body.memory_mib.0,
            body.disk_size_gb.map(|gib| gib.0),
        )?,
        home: Home {
            org: body.org_id,
            project: body.project_id,
        },
        hypervisor: hypervisor(body.hypervisor.as_deref())?,
        image: body.image_id,
        pool: body.pool,
        interfaces: network::door::interfaces(body.networks.into_iter().map(Into::into).collect())?,
        start: body.start,
        reservation: reservation(body.reservation_id)?,
        labels: body.labels,
        deletion_protection: body.deletion_protection,
        guest: guest(body.hostname, body.ssh_keys, body.user_data)?.into(),
    };
    let vm = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(
        vm.revision,
        Answer::of(vm, sees_hosts(&ctx)),
    ))
}

/// Lists the VMs the caller may see.
#[utoipa::path(
    get, path = "/api/v1/vms", tag = "vms", operation_id = "list_vms",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = VmFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        name: query.name,
        state: super::state(query.state.as_deref())?,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    let sees_hosts = sees_hosts(&ctx);
    let rows = listing.items.into_iter();
    Ok(Data(ListAnswer {
        vms: rows.map(|vm| Answer::of(vm, sees_hosts)).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A VM.
#[utoipa::path(
    get, path = "/api/v1/vms/{id}", tag = "vms", operation_id = "get_vm",
    params(("id" = VmText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let vm = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(ok(&ctx, vm))
}

/// Changes what people call a VM and sort it by, and whether it may be deleted.
#[utoipa::path(
    patch, path = "/api/v1/vms/{id}", tag = "vms", operation_id = "update_vm",
    params(("id" = VmText, Path), OwnerQuery, IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = VmChange {
        name: body.name,
        labels: body.labels,
        deletion_protection: body.deletion_protection,
        guest: guest(body.hostname, body.ssh_keys, body.user_data)?,
    };
    let vm = service::update(&app, &ctx, id, &owner.into(), &change, expected).await?;
    Ok(ok(&ctx, vm))
}

/// What a VM's guest is told at its first boot, for those who may change it.
#[utoipa::path(
    get, path = "/api/v1/vms/{id}/guest", tag = "vms", operation_id = "get_vm_guest",
    params(("id" = VmText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<GuestAnswer>), Failure)
)]
pub(crate) async fn get_guest(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
) -> RestResult<GuestAnswer> {
    let (hostname, data) = super::guest::get(&app, &ctx, id, &owner.into()).await?;
    let text = String::from_utf8(data.user_data.bytes().to_vec());
    Ok(Data(GuestAnswer {
        hostname: hostname.map(String::from),
        ssh_keys: data.ssh_keys.into_iter().map(String::from).collect(),
        user_data: text.ok(),
        user_data_base64: data.user_data.into(),
    }))
}

/// Has a VM deleted, whatever it does. It is `Deleting` until nothing of it is left on its host.
#[utoipa::path(
    delete, path = "/api/v1/vms/{id}", tag = "vms", operation_id = "delete_vm",
    params(("id" = VmText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> Result<Revised<Answer>, RestError> {
    let vm = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(ok(&ctx, vm))
}

/// Wants a VM to run. Of one that is being made it is remembered; one that runs stays as it is; one that is paused or suspended goes on.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/start", tag = "vms", operation_id = "start_vm",
    params(("id" = VmText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn start(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let vm = service::power(&app, &ctx, id, &owner.into(), Request::Start).await?;
    Ok(ok(&ctx, vm))
}

/// Wants a VM not to run.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/stop", tag = "vms", operation_id = "stop_vm",
    params(("id" = VmText, Path), OwnerQuery),
    request_body = StopBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn stop(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
    Json(body): Json<StopBody>,
) -> Result<Revised<Answer>, RestError> {
    let grace_seconds = service::grace(&app, body.force);
    let request = Request::Stop { grace_seconds };
    let vm = service::power(&app, &ctx, id, &owner.into(), request).await?;
    Ok(ok(&ctx, vm))
}

/// Has a VM that is to run begin again.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/reboot", tag = "vms", operation_id = "reboot_vm",
    params(("id" = VmText, Path), OwnerQuery),
    request_body = StopBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn reboot(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
    Json(body): Json<StopBody>,
) -> Result<Revised<Answer>, RestError> {
    let grace_seconds = service::grace(&app, body.force);
    let request = Request::Reboot { grace_seconds };
    let vm = service::power(&app, &ctx, id, &owner.into(), request).await?;
    Ok(ok(&ctx, vm))
}

/// Has a VM that is to run stand still. Its memory is kept, and it costs as one that runs.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/pause", tag = "vms", operation_id = "pause_vm",
    params(("id" = VmText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let vm = service::power(&app, &ctx, id, &owner.into(), Request::Pause).await?;
    Ok(ok(&ctx, vm))
}

/// Has a VM that is paused or suspended go on where it was.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/resume", tag = "vms", operation_id = "resume_vm",
    params(("id" = VmText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let vm = service::power(&app, &ctx, id, &owner.into(), Request::Resume).await?;
    Ok(ok(&ctx, vm))
}

/// Has the memory of a VM written to disk, and the VM not run. It goes on where it was when it is resumed; stopped, its memory is
/// thrown away.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/suspend", tag = "vms", operation_id = "suspend_vm",
    params(("id" = VmText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn suspend(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let vm = service::power(&app, &ctx, id, &owner.into(), Request::Suspend).await?;
    Ok(ok(&ctx, vm))
}

/// Changes how large a VM is that is stopped.
#[utoipa::path(
    post, path = "/api/v1/vms/{id}/resize", tag = "vms", operation_id = "resize_vm",
    params(("id" = VmText, Path), OwnerQuery),
    request_body = ResizeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn resize(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<VmId>,
    Query(owner): Query<OwnerQuery>,
    Json(body): Json<ResizeBody>,
) -> Result<Revised<Answer>, RestError> {
    let resize = Resize {
        vcpus: body.vcpus,
        memory_mib: body.memory_mib,
        disk_gib: body.disk_size_gb,
    };
    let vm = super::resize::resize(&app, &ctx, id, &owner.into(), resize).await?;
    Ok(ok(&ctx, vm))
}
