//! `photon.iam.v1.Orgs`.

use photon_authz::Org;
use photon_proto::photon::iam::v1::{
    self as pb, CreateOrgRequest, DeleteOrgRequest, DeleteOrgResponse, GetOrgRequest,
    ListOrgsRequest, ListOrgsResponse, UpdateOrgRequest, orgs_server::Orgs,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{IntoMessage, ask, id, label, maybe_label, maybe_name, page, shown_time},
};
use crate::{
    org::{NewOrg, OrgChange, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Org> {
    type Message = pb::Org;

    fn into_message(self) -> pb::Org {
        let Versioned { value, revision } = self;
        pb::Org {
            id: value.id.into(),
            name: value.name,
            implicit: value.implicit,
            disabled: value.disabled,
            created_at: Some(shown_time(value.created_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Orgs for Doors {
    async fn create(
        &self,
        request: Request<CreateOrgRequest>,
    ) -> Result<Response<pb::Org>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewOrg {
                id: maybe_name("id", &asked.id)?,
                name: label("name", asked.name)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(&self, request: Request<GetOrgRequest>) -> Result<Response<pb::Org>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("org", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListOrgsRequest>,
    ) -> Result<Response<ListOrgsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let ask = ask(asked.limit, &asked.page_token)?;
            let (orgs, next_page_token) = page(service::list(&app, &ctx, &ask).await?);
            Ok(ListOrgsResponse {
                orgs,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateOrgRequest>,
    ) -> Result<Response<pb::Org>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("org", &asked.id)?;
            let change = OrgChange {
                name: maybe_label("name", asked.name)?,
                disabled: asked.disabled,
            };
            let done = service::update(&app, &ctx, &id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteOrgRequest>,
    ) -> Result<Response<DeleteOrgResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("org", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteOrgResponse { revision })
        })
        .await
    }
}
