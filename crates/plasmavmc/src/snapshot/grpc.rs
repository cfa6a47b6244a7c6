//! `photon.plasmavmc.v1.Snapshots`.

use photon_core::{
    Error, Id,
    id::{IdError, Kind},
};
use photon_proto::photon::plasmavmc::v1::{self as pb, snapshots_server::Snapshots};
use photon_service::{scope::Owner, versioned::Versioned};
use plasmavmc_model::{Snapshot, SnapshotOf};
use tonic::{Request, Response, Status};

use super::{NewSnapshot, SnapshotFilter, service};
use crate::grpc::{
    Doors,
    fields::{ask, given, id, maybe_name, shown_time, valid},
};

fn message(snapshot: Versioned<Snapshot>) -> pb::Snapshot {
    let Versioned { value, revision } = snapshot;
    let (vm_id, volume_id) = match value.of {
        SnapshotOf::Vm(vm) => (vm.to_string(), String::new()),
        SnapshotOf::Volume(volume) => (String::new(), volume.to_string()),
    };
    let shape = value.shape.as_ref();
    pb::Snapshot {
        id: value.id.to_string(),
        name: value.name.into(),
        org_id: value.org.into(),
        project_id: value.project.into(),
        vm_id,
        volume_id,
        state: value.state.as_str().to_owned(),
        state_reason: value.reason,
        memory: value.memory,
        memory_bytes: value.memory_bytes,
        taken_at: value.taken_at.map(shown_time),
        created_at: Some(shown_time(value.created_at)),
        revision,
        cpus: shape.map_or(0, |shape| shape.vcpus),
        memory_mb: shape.map_or(0, |shape| shape.memory_mib),
        disk_size_gb: shape.and_then(|shape| shape.disk_gib).unwrap_or(0),
        volume_ids: shape
            .map(|shape| shape.volumes.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
    }
}

/// An id in a field, if it is given.
fn maybe_id<K: Kind>(field: &str, text: &str) -> Result<Option<Id<K>>, Error> {
    let parse = |text: &str| {
        text.parse().map_err(|error: IdError| {
            Error::validation(field, "value", format!("{field} is not valid: {error}"))
        })
    };
    given(text).map(parse).transpose()
}

#[tonic::async_trait]
impl Snapshots for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateSnapshotRequest>,
    ) -> Result<Response<pb::Snapshot>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            given(&asked.name).ok_or_else(|| Error::required("name"))?;
            let new = NewSnapshot::new(
                valid("name", asked.name)?,
                maybe_id("vm_id", &asked.vm_id)?,
                maybe_id("volume_id", &asked.volume_id)?,
            )?;
            Ok(message(service::create(&app, &ctx, &new).await?))
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetSnapshotRequest>,
    ) -> Result<Response<pb::Snapshot>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("snapshot", &asked.id)?;
            let found = service::get(&app, &ctx, id, &Owner::default()).await?;
            Ok(message(found))
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListSnapshotsRequest>,
    ) -> Result<Response<pb::ListSnapshotsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = SnapshotFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                vm: maybe_id("vm_id", &asked.vm_id)?,
                volume: maybe_id("volume_id", &asked.volume_id)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = service::list(&app, &ctx, &filter, &ask).await?;
            Ok(pb::ListSnapshotsResponse {
                snapshots: listing.items.into_iter().map(message).collect(),
                next_page_token: listing.next_page_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteSnapshotRequest>,
    ) -> Result<Response<pb::Snapshot>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("snapshot", &asked.id)?;
            let owner = Owner::default();
            let gone = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(message(gone))
        })
        .await
    }

    async fn revert(
        &self,
        request: Request<pb::RevertSnapshotRequest>,
    ) -> Result<Response<pb::Snapshot>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("snapshot", &asked.id)?;
            let owner = Owner::default();
            let to = service::revert(&app, &ctx, id, &owner, asked.memory).await?;
            Ok(message(to))
        })
        .await
    }
}
