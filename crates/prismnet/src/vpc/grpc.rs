//! `photon.prismnet.v1.Vpcs`.

use photon_proto::photon::prismnet::v1::{self as pb, vpcs_server::Vpcs};
use prismnet_model::Vpc;
use tonic::{Request, Response, Status};

use super::{NewVpc, VpcChange, VpcFilter, block, service};
use crate::{
    grpc::{
        Doors,
        fields::{
            IntoMessage, ask, description, given, id, label, maybe_description, maybe_label,
            maybe_name, name, page, required, shown_time,
        },
    },
    scope::{Home, Owner},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Vpc> {
    type Message = pb::Vpc;

    fn into_message(self) -> pb::Vpc {
        let Versioned { value, revision } = self;
        pb::Vpc {
            id: value.id.to_string(),
            name: value.name,
            org_id: value.org.into(),
            project_id: value.project.into(),
            cidr_block: value.cidr_block.to_string(),
            description: value.description,
            status: "active".to_owned(),
            internet_access: value.internet_access,
            created_at: Some(shown_time(value.created_at)),
            updated_at: Some(shown_time(value.updated_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Vpcs for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateVpcRequest>,
    ) -> Result<Response<pb::Vpc>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewVpc {
                // What it is comes before where it is.
                name: label("name", asked.name)?,
                cidr_block: block("cidr_block", required("cidr_block", &asked.cidr_block)?)?,
                home: Home {
                    org: name("org_id", &asked.org_id)?,
                    project: name("project_id", &asked.project_id)?,
                },
                description: description(asked.description)?,
                internet_access: asked.internet_access,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(&self, request: Request<pb::GetVpcRequest>) -> Result<Response<pb::Vpc>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vpc", &asked.id)?;
            Ok(service::get(&app, &ctx, id, &Owner::default())
                .await?
                .into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListVpcsRequest>,
    ) -> Result<Response<pb::ListVpcsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = VpcFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                name: given(&asked.name).map(str::to_owned),
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (vpcs, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(pb::ListVpcsResponse {
                vpcs,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateVpcRequest>,
    ) -> Result<Response<pb::Vpc>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vpc", &asked.id)?;
            let change = VpcChange {
                name: maybe_label("name", asked.name)?,
                description: maybe_description(asked.description)?,
                internet_access: asked.internet_access,
            };
            let done = service::update(&app, &ctx, id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteVpcRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("vpc", &asked.id)?;
            let owner = Owner::default();
            let revision = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
