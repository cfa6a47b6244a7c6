//! `etcdserverpb.Maintenance`.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, stream};
use photon_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeRequest,
    DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, SnapshotRequest, SnapshotResponse, StatusRequest, StatusResponse,
    maintenance_server::Maintenance,
};
use tonic::{Request, Response, Status};

use super::enter::{answer, enter, refuse};
use crate::app::{App, ETCD_VERSION, Snapshot};

pub(super) struct MaintenanceDoor(pub(super) Arc<App>);

#[tonic::async_trait]
impl Maintenance for MaintenanceDoor {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.alarm(&caller, request).await)
    }

    /// Answered to anybody who may connect, as in etcd.
    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(self.0.etcd_status()))
    }

    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        let header = self.0.defragment(&caller).await;
        answer(header.map(|header| DefragmentResponse {
            header: Some(header),
        }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        answer(self.0.hash(&caller).await)
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let (caller, HashKvRequest { revision }) = enter(&self.0, request).await?;
        answer(self.0.hash_kv(&caller, revision).await)
    }

    /// The copy in blobs of 32 KiB, then its SHA-256 as the last blob.
    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        let snapshot = self.0.snapshot(&caller).await.map_err(refuse)?;
        let header = self.0.response_header();
        let left = snapshot.size;
        let blobs = stream::try_unfold((snapshot, left), move |(mut snapshot, left)| async move {
            match next(&mut snapshot).await? {
                Some(blob) => {
                    let left = left.saturating_sub(blob.len() as u64);
                    let response = SnapshotResponse {
                        header: Some(header),
                        // Of the copy, as etcd counts: without the checksum.
                        remaining_bytes: left.saturating_sub(Snapshot::CHECKSUM),
                        blob,
                        version: ETCD_VERSION.to_owned(),
                    };
                    Ok(Some((response, (snapshot, left))))
                }
                None if left > 0 => Err(Status::internal(
                    "chainfire: the snapshot ended before its size was reached",
                )),
                None => Ok(None),
            }
        });
        Ok(Response::new(Box::pin(blobs)))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let (caller, MoveLeaderRequest { target_id }) = enter(&self.0, request).await?;
        let header = self.0.move_leader(&caller, target_id).await;
        answer(header.map(|header| MoveLeaderResponse {
            header: Some(header),
        }))
    }

    /// There is no other version to go back to.
    async fn downgrade(
        &self,
        _request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        Err(Status::unimplemented(
            "chainfire: Downgrade is not supported",
        ))
    }
}

async fn next(snapshot: &mut Snapshot) -> Result<Option<Bytes>, Status> {
    match snapshot.chunks.recv().await {
        None => Ok(None),
        Some(Ok(blob)) => Ok(Some(blob)),
        Some(Err(error)) => {
            tracing::error!(%error, "reading a snapshot failed");
            Err(Status::internal(
                "chainfire: the snapshot could not be read",
            ))
        }
    }
}
