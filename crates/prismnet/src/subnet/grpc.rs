//! `photon.prismnet.v1.Subnets`.

use photon_proto::photon::prismnet::v1::{self as pb, subnets_server::Subnets};
use prismnet_model::Subnet;
use tonic::{Request, Response, Status};

use super::{NewSubnet, SubnetChange, SubnetFilter, gateway, service};
use crate::{
    grpc::{
        Doors,
        fields::{
            IntoMessage, ask, description, given, id, label, maybe_description, maybe_label,
            maybe_name, page, required, shown_time,
        },
    },
    refusal,
    scope::Owner,
    versioned::Versioned,
    vpc::block,
    wanted::Wanted,
};

impl IntoMessage for Versioned<Subnet> {
    type Message = pb::Subnet;

    fn into_message(self) -> pb::Subnet {
        let Versioned { value, revision } = self;
        pb::Subnet {
            id: value.id.to_string(),
            name: value.name,
            vpc_id: value.vpc.to_string(),
            org_id: value.org.into(),
            project_id: value.project.into(),
            cidr_block: value.cidr_block.to_string(),
            gateway_ip: value.gateway_ip.to_string(),
            description: value.description,
            status: "active".to_owned(),
            created_at: Some(shown_time(value.created_at)),
            updated_at: Some(shown_time(value.updated_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Subnets for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateSubnetRequest>,
    ) -> Result<Response<pb::Subnet>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let name = label("name", asked.name)?;
            let vpc = refusal::named("vpc_id", "vpc", &asked.vpc_id)?;
            let cidr_block = block("cidr_block", required("cidr_block", &asked.cidr_block)?)?;
            let new = NewSubnet {
                name,
                vpc,
                cidr_block,
                gateway_ip: gateway(cidr_block, given(&asked.gateway_ip))?,
                description: description(asked.description)?,
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetSubnetRequest>,
    ) -> Result<Response<pb::Subnet>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("subnet", &asked.id)?;
            let any = SubnetFilter::default();
            Ok(service::get(&app, &ctx, id, &any).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListSubnetsRequest>,
    ) -> Result<Response<pb::ListSubnetsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = SubnetFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                vpc: Wanted::of(given(&asked.vpc_id)),
                name: given(&asked.name).map(str::to_owned),
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (subnets, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(pb::ListSubnetsResponse {
                subnets,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateSubnetRequest>,
    ) -> Result<Response<pb::Subnet>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("subnet", &asked.id)?;
            let change = SubnetChange {
                name: maybe_label("name", asked.name)?,
                description: maybe_description(asked.description)?,
            };
            let done = service::update(&app, &ctx, id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteSubnetRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("subnet", &asked.id)?;
            let any = SubnetFilter::default();
            let revision = service::delete(&app, &ctx, id, &any, asked.revision).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
