//! `etcdserverpb.Lease`.

use std::{pin::Pin, sync::Arc};

use chainfire_engine::EtcdError;
use futures::{Stream, stream};
use photon_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_server::Lease,
};
use tonic::{Request, Response, Status, Streaming};

use super::enter::{answer, enter, refuse};
use crate::app::App;

pub(super) struct LeaseDoor(pub(super) Arc<App>);

#[tonic::async_trait]
impl Lease for LeaseDoor {
    type LeaseKeepAliveStream =
        Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.lease_grant(&caller, request).await)
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.lease_revoke(&caller, request).await)
    }

    /// One answer per request, in order; the stream ends with the first failure, which without a leader is
    /// the next request's.
    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (caller, requests) = enter(&self.0, request).await?;
        let app = Arc::clone(&self.0);
        let answers = stream::try_unfold(
            (app, caller, requests),
            async |(app, caller, mut requests)| {
                let request = tokio::select! {
                    // A client that keeps its stream open must not hold up the drain.
                    () = app.stopping().cancelled() => return Err(refuse(EtcdError::STOPPED)),
                    request = requests.message() => request?,
                };
                let Some(LeaseKeepAliveRequest { id }) = request else {
                    return Ok(None);
                };
                let caller = app.renewed(&caller).map_err(refuse)?;
                let answer = app.lease_keep_alive(&caller, id).await.map_err(refuse)?;
                Ok(Some((answer, (app, caller, requests))))
            },
        );
        Ok(Response::new(Box::pin(answers)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.lease_time_to_live(&caller, request).await)
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        answer(self.0.lease_list(&caller).await)
    }
}
