//! `photon.prismnet.v1.Routes`.

use photon_proto::photon::prismnet::v1::{self as pb, routes_server::Routes};
use prismnet_model::Route;
use tonic::{Request, Response, Status};

use super::{NewRoute, RouteFilter, destination, service};
use crate::{
    grpc::{
        Doors,
        fields::{
            IntoMessage, ask, description, given, id, maybe_name, page, required, shown_time,
        },
    },
    refusal,
    scope::Owner,
    versioned::Versioned,
    wanted::Wanted,
};

impl IntoMessage for Versioned<Route> {
    type Message = pb::Route;

    fn into_message(self) -> pb::Route {
        let Versioned { value, revision } = self;
        pb::Route {
            id: value.id.to_string(),
            vpc_id: value.vpc.to_string(),
            org_id: value.org.into(),
            project_id: value.project.into(),
            destination: value.destination.to_string(),
            next_hop: value.next_hop.to_string(),
            description: value.description,
            created_at: Some(shown_time(value.created_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Routes for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateRouteRequest>,
    ) -> Result<Response<pb::Route>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewRoute {
                vpc: refusal::named("vpc_id", "vpc", &asked.vpc_id)?,
                destination: destination(required("destination", &asked.destination)?)?,
                next_hop: refusal::address("next_hop", required("next_hop", &asked.next_hop)?)?,
                description: description(asked.description)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetRouteRequest>,
    ) -> Result<Response<pb::Route>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("route", &asked.id)?;
            Ok(service::get(&app, &ctx, id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListRoutesRequest>,
    ) -> Result<Response<pb::ListRoutesResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = RouteFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                vpc: Wanted::of(given(&asked.vpc_id)),
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (routes, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(pb::ListRoutesResponse {
                routes,
                next_page_token,
            })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteRouteRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("route", &asked.id)?;
            let revision = service::delete(&app, &ctx, id).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
