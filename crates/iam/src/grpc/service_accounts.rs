//! `photon.iam.v1.ServiceAccounts`.

use photon_proto::photon::iam::v1::{
    self as pb, CreateServiceAccountRequest, DeleteServiceAccountRequest,
    DeleteServiceAccountResponse, GetServiceAccountRequest, ListServiceAccountsRequest,
    ListServiceAccountsResponse, UpdateServiceAccountRequest,
    service_accounts_server::ServiceAccounts,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{IntoMessage, ask, id, label, maybe_label, maybe_name, name, page, shown_time},
};
use crate::{
    service_account::{
        NewServiceAccount, ServiceAccount, ServiceAccountChange, ServiceAccountFilter, service,
    },
    versioned::Versioned,
};

impl IntoMessage for Versioned<ServiceAccount> {
    type Message = pb::ServiceAccount;

    fn into_message(self) -> pb::ServiceAccount {
        let Versioned { value, revision } = self;
        pb::ServiceAccount {
            id: value.id.into(),
            project_id: value.project.into(),
            name: value.name,
            disabled: value.disabled,
            created_at: Some(shown_time(value.created_at)),
            updated_at: Some(shown_time(value.updated_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl ServiceAccounts for Doors {
    async fn create(
        &self,
        request: Request<CreateServiceAccountRequest>,
    ) -> Result<Response<pb::ServiceAccount>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            // What names it comes before where it is.
            let new = NewServiceAccount {
                id: maybe_name("id", &asked.id)?,
                name: label("name", asked.name)?,
                project: name("project_id", &asked.project_id)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetServiceAccountRequest>,
    ) -> Result<Response<pb::ServiceAccount>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("service account", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListServiceAccountsRequest>,
    ) -> Result<Response<ListServiceAccountsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = ServiceAccountFilter {
                project: maybe_name("project_id", &asked.project_id)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (service_accounts, next_page_token) =
                page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListServiceAccountsResponse {
                service_accounts,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateServiceAccountRequest>,
    ) -> Result<Response<pb::ServiceAccount>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("service account", &asked.id)?;
            let change = ServiceAccountChange {
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
        request: Request<DeleteServiceAccountRequest>,
    ) -> Result<Response<DeleteServiceAccountResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("service account", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteServiceAccountResponse { revision })
        })
        .await
    }
}
