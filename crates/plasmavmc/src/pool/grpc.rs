//! `photon.plasmavmc.v1.Pools`.

use photon_proto::photon::plasmavmc::v1::{self as pb, pools_server::Pools};
use tonic::{Request, Response, Status};

use super::service::{self, Pool};
use crate::grpc::Doors;

fn message(pool: Pool) -> pb::Pool {
    pb::Pool {
        name: pool.name.into(),
        driver: pool.driver.as_str().to_owned(),
        shared: pool.shared,
        inside: pool.inside.map(|inside| pb::PoolInside {
            hosts: inside.hosts.into_iter().map(String::from).collect(),
            capacity_gib: inside.capacity_gib,
            used_gib: inside.used_gib,
            allocated_gib: inside.allocated_gib,
        }),
    }
}

#[tonic::async_trait]
impl Pools for Doors {
    async fn list(
        &self,
        request: Request<pb::ListPoolsRequest>,
    ) -> Result<Response<pb::ListPoolsResponse>, Status> {
        self.serve(request, |app, ctx, _| async move {
            let pools = service::list(&app, &ctx).await?.into_iter();
            Ok(pb::ListPoolsResponse {
                pools: pools.map(message).collect(),
            })
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetPoolRequest>,
    ) -> Result<Response<pb::Pool>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            Ok(message(service::get(&app, &ctx, &asked.name).await?))
        })
        .await
    }
}
