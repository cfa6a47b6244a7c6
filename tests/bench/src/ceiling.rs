//! A service that answers put and get with constants: the throughput that the gRPC stack, the loader and the
//! machine's cores allow when the store behind them costs nothing.

use std::net::SocketAddr;

use photon_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, TxnRequest,
    TxnResponse,
    kv_server::{Kv, KvServer},
};
use photon_proto::mvccpb::KeyValue;
use tonic::{Request, Response, Status};

struct Constants {
    value: bytes::Bytes,
}

fn header() -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: 1,
        member_id: 1,
        revision: 2,
        raft_term: 2,
    })
}

/// What the ceiling does not answer.
fn constants_only<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(
        "this service answers put and get only",
    ))
}

#[tonic::async_trait]
impl Kv for Constants {
    type RangeStreamStream = futures::stream::Empty<Result<RangeStreamResponse, Status>>;

    async fn range(
        &self,
        request: Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        Ok(Response::new(RangeResponse {
            header: header(),
            kvs: vec![KeyValue {
                key: request.into_inner().key,
                create_revision: 2,
                mod_revision: 2,
                version: 1,
                value: self.value.clone(),
                lease: 0,
            }],
            more: false,
            count: 1,
        }))
    }

    async fn range_stream(
        &self,
        _request: Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        constants_only()
    }

    async fn put(&self, _request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse {
            header: header(),
            prev_kv: None,
        }))
    }

    async fn delete_range(
        &self,
        _request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        constants_only()
    }

    async fn txn(&self, _request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        constants_only()
    }

    async fn compact(
        &self,
        _request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        constants_only()
    }
}

/// Serves until the process is killed.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) async fn serve(address: SocketAddr, value_bytes: usize) -> anyhow::Result<()> {
    let service = KvServer::new(Constants {
        value: crate::data::Values::new(value_bytes).any().into(),
    });
    tonic::transport::Server::builder()
        .add_service(service)
        .serve(address)
        .await?;
    Ok(())
}
