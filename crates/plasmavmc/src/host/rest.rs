//! `/api/v1/hosts`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Envelope, RestResult};
use photon_service::{openapi::Failure, rest::IdText};
use plasmavmc_model::{HostUse, VmId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Shown, service};
use crate::{app::App, rest::schema::VmText};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new().get("/api/v1/hosts", "plasmavmc.hosts.list", list)
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Host)]
pub(crate) struct Answer {
    #[schema(value_type = IdText, example = "host-1")]
    id: Name,
    /// `up`, or `silent`: its agent is not heard of.
    #[schema(example = "up")]
    state: &'static str,
    #[schema(value_type = Option<String>, format = DateTime)]
    state_since: Option<Timestamp>,
    /// What it says of itself.
    agent: Option<AgentAnswer>,
    /// What its VMs were given.
    used: UseAnswer,
}

/// What an agent says of itself and its host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub(crate) struct AgentAnswer {
    version: String,
    /// What runs its VMs, with versions.
    driver: String,
    cpus: u32,
    /// In MiB.
    memory_mb: u64,
    /// In GiB.
    disk_size_gb: u64,
    /// Whether a real boot has shown that KVM works.
    kvm: bool,
    /// Whether guests may be emulated.
    emulation: bool,
    hypervisor_reason: String,
    /// Where the control plane asks it for images and consoles; none: it cannot.
    #[schema(example = "https://192.0.2.11:50064")]
    door: Option<String>,
    problems: Vec<String>,
    /// VMs that are there and that nobody knows.
    #[schema(value_type = Vec<VmText>)]
    orphans: Vec<VmId>,
}

/// What VMs were given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostUse)]
pub(crate) struct UseAnswer {
    vms: u64,
    vcpus: u64,
    /// In MiB.
    memory_mb: u64,
    /// In GiB.
    disk_size_gb: u64,
}

/// Hosts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hosts)]
pub(crate) struct ListAnswer {
    hosts: Vec<Answer>,
}

/// What is shown of when a host came or went.
pub(crate) fn state(shown: &Shown) -> &'static str {
    if shown.alive { "up" } else { "silent" }
}

impl Answer {
    fn of(shown: Shown, used: HostUse) -> Self {
        Self {
            state: state(&shown),
            id: shown.host,
            state_since: shown.since,
            agent: shown.agent.map(|agent| AgentAnswer {
                version: agent.version,
                driver: agent.driver,
                cpus: agent.capacity.cpus,
                memory_mb: agent.capacity.memory_mib,
                disk_size_gb: agent.capacity.disk_gib,
                kvm: agent.probe.kvm,
                emulation: agent.probe.emulation,
                hypervisor_reason: agent.probe.reason,
                door: agent.door,
                problems: agent.problems,
                orphans: agent.orphans.into_iter().map(|orphan| orphan.id).collect(),
            }),
            used: UseAnswer {
                vms: used.vms,
                vcpus: used.vcpus,
                memory_mb: used.memory_mib,
                disk_size_gb: used.disk_gib,
            },
        }
    }
}

/// Lists the hosts that have ever reported.
#[utoipa::path(
    get, path = "/api/v1/hosts", tag = "hosts", operation_id = "list_hosts",
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, ctx: Context) -> RestResult<ListAnswer> {
    let hosts = service::list(&app, &ctx).await?.into_iter();
    Ok(Data(ListAnswer {
        hosts: hosts.map(|(shown, used)| Answer::of(shown, used)).collect(),
    }))
}
