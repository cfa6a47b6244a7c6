//! `etcdserverpb.KV`.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use photon_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
    kv_server::Kv,
};
use tonic::{Request, Response, Status};

use super::enter::{answer, enter};
use crate::app::App;

pub(super) struct KvDoor(pub(super) Arc<App>);

#[tonic::async_trait]
impl Kv for KvDoor {
    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.range(&caller, request).await)
    }

    /// Not there yet; clients fall back to `Range`.
    async fn range_stream(
        &self,
        _request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented(
            "unknown method RangeStream for service etcdserverpb.KV",
        ))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.put(&caller, request).await)
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.delete_range(&caller, request).await)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.txn(&caller, request).await)
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.compact(&caller, request).await)
    }
}
