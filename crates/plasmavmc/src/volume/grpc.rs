//! `photon.plasmavmc.v1.Volumes`.

use photon_auth::Context;
use photon_core::Error;
use photon_proto::photon::plasmavmc::v1::{self as pb, volumes_server::Volumes};
use photon_service::{
    scope::{Home, Owner},
    versioned::Versioned,
};
use plasmavmc_model::{Volume, VolumeId, pool};
use tonic::{Request, Response, Status};

use super::{NewVolume, VolumeChange, VolumeFilter, rest::serial, service, size, state, vm_id};
use crate::{
    grpc::{
        Doors,
        fields::{ask, given, id, labels, maybe_name, name, shown_time, valid},
    },
    vm::rest::sees_hosts,
};

fn message(volume: Versioned<Volume>, sees_hosts: bool) -> pb::Volume {
    let Versioned { value, revision } = volume;
    let attached = value.attached.map(|attached| attached.vm.to_string());
    let host = Some(value.host).filter(|_| sees_hosts);
    pb::Volume {
        id: value.id.to_string(),
        name: value.name.into(),
        org_id: value.org.into(),
        project_id: value.project.into(),
        size_gb: value.size_gib,
        pool: value.pool.into(),
        state: value.status.state.as_str().to_owned(),
        state_reason: value.status.reason,
        state_since: Some(shown_time(value.status.since)),
        vm_id: attached.unwrap_or_default(),
        serial: serial(value.id),
        labels: value.labels.all().clone().into_iter().collect(),
        host_id: host.map(String::from).unwrap_or_default(),
        created_at: Some(shown_time(value.created_at)),
        updated_at: Some(shown_time(value.updated_at)),
        revision,
    }
}

fn answer(ctx: &Context, volume: Versioned<Volume>) -> pb::Volume {
    message(volume, sees_hosts(ctx))
}

fn volume_id(text: &str) -> Result<VolumeId, Error> {
    id("volume", text)
}

#[tonic::async_trait]
impl Volumes for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            // What it is comes before where it is.
            given(&asked.name).ok_or_else(|| Error::required("name"))?;
            let new = NewVolume {
                name: valid("name", asked.name)?,
                size_gib: size(asked.size_gb)?,
                home: Home {
                    org: name("org_id", &asked.org_id)?,
                    project: name("project_id", &asked.project_id)?,
                },
                pool: maybe_name("pool", &asked.pool)?.unwrap_or_else(pool::local),
                vm: given(&asked.vm_id).map(vm_id).transpose()?,
                labels: labels(asked.labels)?,
            };
            Ok(answer(&ctx, service::create(&app, &ctx, new).await?))
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = volume_id(&asked.id)?;
            let volume = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(answer(&ctx, volume))
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListVolumesRequest>,
    ) -> Result<Response<pb::ListVolumesResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = VolumeFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                name: given(&asked.name).map(str::to_owned),
                vm: given(&asked.vm_id).map(vm_id).transpose()?,
                state: state(given(&asked.state))?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = service::list(&app, &ctx, &filter, &ask).await?;
            let sees_hosts = sees_hosts(&ctx);
            let rows = listing.items.into_iter();
            Ok(pb::ListVolumesResponse {
                volumes: rows.map(|volume| message(volume, sees_hosts)).collect(),
                next_page_token: listing.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = volume_id(&asked.id)?;
            let change = VolumeChange {
                name: asked.name.map(|name| valid("name", name)).transpose()?,
                labels: asked.labels.map(|all| labels(all.labels)).transpose()?,
            };
            let owner = Owner::default();
            let volume = service::update(&app, &ctx, id, &owner, &change, asked.revision).await?;
            Ok(answer(&ctx, volume))
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = volume_id(&asked.id)?;
            let owner = Owner::default();
            let volume = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(answer(&ctx, volume))
        })
        .await
    }

    async fn attach(
        &self,
        request: Request<pb::AttachVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = volume_id(&asked.id)?;
            let vm = given(&asked.vm_id).ok_or_else(|| Error::required("vm_id"))?;
            let vm = vm_id(vm)?;
            let volume = service::attach(&app, &ctx, id, &Owner::default(), vm).await?;
            Ok(answer(&ctx, volume))
        })
        .await
    }

    async fn detach(
        &self,
        request: Request<pb::DetachVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = volume_id(&asked.id)?;
            let volume = service::detach(&app, &ctx, id, &Owner::default()).await?;
            Ok(answer(&ctx, volume))
        })
        .await
    }

    async fn resize(
        &self,
        request: Request<pb::ResizeVolumeRequest>,
    ) -> Result<Response<pb::Volume>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let (id, size_gib) = (volume_id(&asked.id)?, size(asked.size_gb)?);
            let owner = Owner::default();
            let volume = service::resize(&app, &ctx, id, &owner, size_gib).await?;
            Ok(answer(&ctx, volume))
        })
        .await
    }
}
