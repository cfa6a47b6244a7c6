//! `v3lockpb.Lock`: a lock is the first place in a line. It excludes other callers for as long as its lease
//! lives; who holds it cannot know that moment, so writes made under it need a compare of the key's create
//! revision (fencing).

use std::sync::Arc;

use bytes::Bytes;
use chainfire_engine::EtcdError;
use photon_proto::v3lockpb::{
    LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock,
};
use tonic::{Code, Request, Response, Status};

use super::line::{Asker, prefix, refuse};
use crate::app::App;

/// The lease ended while its holder waited.
const SESSION_EXPIRED: EtcdError =
    EtcdError::new(Code::Unknown as i32, "mutex: session is expired");

pub(super) struct LockDoor(pub(super) Arc<App>);

#[tonic::async_trait]
impl Lock for LockDoor {
    /// Waits for as long as the caller does.
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let (asker, LockRequest { name, lease }) = Asker::admit(&self.0, request).await?;
        let place = asker
            .take_turn(prefix(&name), lease, Bytes::new(), SESSION_EXPIRED)
            .await?;
        Ok(Response::new(LockResponse {
            header: Some(place.header),
            key: place.key.into(),
        }))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let (asker, UnlockRequest { key }) = Asker::admit(&self.0, request).await?;
        let header = asker.delete(key.into()).await.map_err(refuse)?;
        Ok(Response::new(UnlockResponse {
            header: Some(header),
        }))
    }
}
