//! `photon.plasmavmc.v1.Vms`.

use futures::stream::BoxStream;
use photon_auth::Context;
use photon_core::Error;
use photon_proto::photon::plasmavmc::v1::{self as pb, vms_server::Vms};
use photon_service::{
    scope::{Home, Owner},
    versioned::Versioned,
};
use plasmavmc_model::{Interface, Vm};
use tonic::{Request, Response, Status, Streaming};

use super::{
    GuestChange, NewVm, Size, VmChange, VmFilter, guest, hypervisor, request, reservation,
    resize::{self, Resize},
    rest::{NetworkAnswer, held, sees_hosts, shown_pool, wanted},
    service, state,
};
use crate::{
    app::App,
    console,
    grpc::{
        Doors,
        fields::{ask, given, id, labels, maybe_name, name, shown_time, valid},
    },
    image,
    network::door,
};

fn message(vm: Versioned<Vm>, sees_hosts: bool) -> pb::Vm {
    let Versioned { value, revision } = vm;
    let pool = shown_pool(&value);
    let host = value.host.filter(|_| sees_hosts);
    let hold = held(&value.account).map(|(hold, until)| pb::VmHold {
        reservation_id: hold.reservation.clone(),
        amount: hold.amount,
        until: until.map(shown_time),
    });
    pb::Vm {
        hold,
        id: value.id.to_string(),
        name: value.name.into(),
        org_id: value.org.into(),
        project_id: value.project.into(),
        state: value.status.state.as_str().to_owned(),
        state_reason: value.status.reason,
        state_since: Some(shown_time(value.status.since)),
        wanted_state: wanted(value.wanted.power).to_owned(),
        cpus: value.vcpus,
        memory_mb: value.memory_mib,
        disk_size_gb: value.disk_gib.unwrap_or(0),
        pool: pool.map(String::from).unwrap_or_default(),
        hypervisor: value
            .hypervisor
            .map(|one| one.to_string())
            .unwrap_or_default(),
        hypervisor_in_use: value
            .status
            .hypervisor
            .map(|one| one.to_string())
            .unwrap_or_default(),
        image_id: value.image.name.into(),
        image_digest: image::shown(value.image.digest),
        networks: value.interfaces.into_iter().map(network).collect(),
        labels: value.labels.all().clone().into_iter().collect(),
        deletion_protection: value.deletion_protection,
        hostname: value
            .guest
            .map(|guest| guest.hostname.into())
            .unwrap_or_default(),
        host_id: host.map(String::from).unwrap_or_default(),
        operation_id: value.operation.map(|id| id.to_string()).unwrap_or_default(),
        created_at: Some(shown_time(value.created_at)),
        updated_at: Some(shown_time(value.updated_at)),
        revision,
    }
}

fn network(interface: Interface) -> pb::Network {
    let shown = NetworkAnswer::from(interface);
    let text = |id: Option<String>| id.unwrap_or_default();
    pb::Network {
        port_id: text(shown.port_id.map(|id| id.to_string())),
        subnet_id: text(shown.subnet_id.map(|id| id.to_string())),
        vpc_id: text(shown.vpc_id.map(|id| id.to_string())),
        ip_address: text(shown.ip_address.map(|address| address.to_string())),
        mac_address: text(shown.mac_address),
    }
}

fn wanted_network(asked: pb::NewNetwork) -> door::Given {
    door::Given {
        subnet: given(&asked.subnet_id).map(str::to_owned),
        port: given(&asked.port_id).map(str::to_owned),
        groups: asked.security_groups.map(|all| all.ids),
    }
}

fn answer(ctx: &Context, vm: Versioned<Vm>) -> pb::Vm {
    message(vm, sees_hosts(ctx))
}

#[tonic::async_trait]
impl Vms for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            // What it is comes before where it is.
            given(&asked.name).ok_or_else(|| Error::required("name"))?;
            let new = NewVm {
                name: valid("name", asked.name)?,
                size: Size::new(
                    asked.vcpus,
                    asked.memory_mib,
                    Some(asked.disk_size_gb).filter(|gib| *gib != 0),
                )?,
                home: Home {
                    org: name("org_id", &asked.org_id)?,
                    project: name("project_id", &asked.project_id)?,
                },
                hypervisor: hypervisor(given(&asked.hypervisor))?,
                image: given(&asked.image_id).map(str::to_owned),
                pool: maybe_name("pool", &asked.pool)?,
                interfaces: door::interfaces(
                    asked.networks.into_iter().map(wanted_network).collect(),
                )?,
                start: asked.start,
                reservation: reservation(given(&asked.reservation_id).map(str::to_owned))?,
                labels: labels(asked.labels)?,
                deletion_protection: asked.deletion_protection,
                guest: GuestChange::new(
                    given(&asked.hostname).map(str::to_owned),
                    Some(asked.ssh_keys),
                    Some(asked.user_data.into()),
                )?
                .into(),
            };
            Ok(answer(&ctx, service::create(&app, &ctx, new).await?))
        })
        .await
    }

    async fn get(&self, request: Request<pb::GetVmRequest>) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vm", &asked.id)?;
            let vm = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(answer(&ctx, vm))
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListVmsRequest>,
    ) -> Result<Response<pb::ListVmsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = VmFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                name: given(&asked.name).map(str::to_owned),
                state: state(given(&asked.state))?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = service::list(&app, &ctx, &filter, &ask).await?;
            let sees_hosts = sees_hosts(&ctx);
            let rows = listing.items.into_iter();
            Ok(pb::ListVmsResponse {
                vms: rows.map(|vm| message(vm, sees_hosts)).collect(),
                next_page_token: listing.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vm", &asked.id)?;
            let change = VmChange {
                name: asked.name.map(|name| valid("name", name)).transpose()?,
                labels: asked.labels.map(|all| labels(all.labels)).transpose()?,
                deletion_protection: asked.deletion_protection,
                guest: GuestChange::new(
                    asked.hostname,
                    asked.ssh_keys.map(|all| all.ssh_keys),
                    asked.user_data.map(Into::into),
                )?,
            };
            let owner = Owner::default();
            let vm = service::update(&app, &ctx, id, &owner, &change, asked.revision).await?;
            Ok(answer(&ctx, vm))
        })
        .await
    }

    async fn get_guest(
        &self,
        request: Request<pb::GetVmGuestRequest>,
    ) -> Result<Response<pb::VmGuest>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vm", &asked.id)?;
            let (hostname, data) = guest::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(pb::VmGuest {
                hostname: hostname.map(String::from).unwrap_or_default(),
                ssh_keys: data.ssh_keys.into_iter().map(String::from).collect(),
                user_data: data.user_data.bytes().to_vec().into(),
            })
        })
        .await
    }

    async fn get_console(
        &self,
        request: Request<pb::GetVmConsoleRequest>,
    ) -> Result<Response<pb::VmConsole>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            console::grpc::read(&app, &ctx, asked).await
        })
        .await
    }

    type ConsoleStream = BoxStream<'static, Result<pb::VmConsoleOutput, Status>>;

    async fn console(
        &self,
        request: Request<Streaming<pb::VmConsoleInput>>,
    ) -> Result<Response<Self::ConsoleStream>, Status> {
        let headers = request.metadata().clone().into_headers();
        self.serve(request, |app, ctx, inputs| async move {
            console::grpc::attach(&app, &ctx, &headers, inputs).await
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vm", &asked.id)?;
            let owner = Owner::default();
            let vm = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(answer(&ctx, vm))
        })
        .await
    }

    async fn start(
        &self,
        request: Request<pb::StartVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            power(&app, &ctx, &asked.id, request::Request::Start).await
        })
        .await
    }

    async fn stop(&self, request: Request<pb::StopVmRequest>) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let grace_seconds = service::grace(&app, asked.force);
            let request = request::Request::Stop { grace_seconds };
            power(&app, &ctx, &asked.id, request).await
        })
        .await
    }

    async fn reboot(
        &self,
        request: Request<pb::RebootVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let grace_seconds = service::grace(&app, asked.force);
            let request = request::Request::Reboot { grace_seconds };
            power(&app, &ctx, &asked.id, request).await
        })
        .await
    }

    async fn pause(
        &self,
        request: Request<pb::PauseVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            power(&app, &ctx, &asked.id, request::Request::Pause).await
        })
        .await
    }

    async fn resume(
        &self,
        request: Request<pb::ResumeVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            power(&app, &ctx, &asked.id, request::Request::Resume).await
        })
        .await
    }

    async fn suspend(
        &self,
        request: Request<pb::SuspendVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            power(&app, &ctx, &asked.id, request::Request::Suspend).await
        })
        .await
    }

    async fn resize(
        &self,
        request: Request<pb::ResizeVmRequest>,
    ) -> Result<Response<pb::Vm>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let size = |number: u64| Some(number).filter(|number| *number != 0);
            let wanted = Resize {
                vcpus: size(asked.vcpus),
                memory_mib: size(asked.memory_mib),
                disk_gib: size(asked.disk_size_gb),
            };
            let id = id("vm", &asked.id)?;
            let vm = resize::resize(&app, &ctx, id, &Owner::default(), wanted).await?;
            Ok(answer(&ctx, vm))
        })
        .await
    }
}

async fn power(
    app: &App,
    ctx: &Context,
    id_text: &str,
    request: request::Request,
) -> Result<pb::Vm, Error> {
    let id = id("vm", id_text)?;
    let vm = service::power(app, ctx, id, &Owner::default(), request).await?;
    Ok(answer(ctx, vm))
}
