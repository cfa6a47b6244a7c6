//! `photon.plasmavmc.v1.Hosts`.

use photon_proto::photon::plasmavmc::v1::{self as pb, hosts_server::Hosts};
use plasmavmc_model::HostUse;
use tonic::{Request, Response, Status};

use super::{Shown, rest::state, service};
use crate::grpc::{Doors, fields::shown_time};

fn message(shown: Shown, used: HostUse) -> pb::Host {
    let bare = pb::Host {
        state: state(&shown).to_owned(),
        id: shown.host.into(),
        state_since: shown.since.map(shown_time),
        vms: used.vms,
        used_vcpus: used.vcpus,
        used_memory_mb: used.memory_mib,
        used_disk_size_gb: used.disk_gib,
        ..pb::Host::default()
    };
    match shown.agent {
        None => bare,
        Some(agent) => pb::Host {
            cpus: agent.capacity.cpus,
            memory_mb: agent.capacity.memory_mib,
            disk_size_gb: agent.capacity.disk_gib,
            kvm: agent.probe.kvm,
            emulation: agent.probe.emulation,
            hypervisor_reason: agent.probe.reason,
            version: agent.version,
            driver: agent.driver,
            door: agent.door.unwrap_or_default(),
            problems: agent.problems,
            orphans: agent
                .orphans
                .iter()
                .map(|orphan| orphan.id.to_string())
                .collect(),
            ..bare
        },
    }
}

#[tonic::async_trait]
impl Hosts for Doors {
    async fn list(
        &self,
        request: Request<pb::ListHostsRequest>,
    ) -> Result<Response<pb::ListHostsResponse>, Status> {
        self.serve(request, |app, ctx, _| async move {
            let hosts = service::list(&app, &ctx).await?.into_iter();
            Ok(pb::ListHostsResponse {
                hosts: hosts.map(|(shown, used)| message(shown, used)).collect(),
            })
        })
        .await
    }
}
