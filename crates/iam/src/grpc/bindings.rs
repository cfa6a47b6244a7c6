//! `photon.iam.v1.Bindings`.

use photon_authz::Binding;
use photon_proto::photon::iam::v1::{
    self as pb, CreateBindingRequest, DeleteBindingRequest, DeleteBindingResponse,
    GetBindingRequest, ListBindingsRequest, ListBindingsResponse, UpdateBindingRequest,
    bindings_server::Bindings,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{
        IntoMessage, ask, condition, generated_id, maybe_name, maybe_principal, maybe_scope, name,
        new_end, page, principal, scope, shown_condition, shown_time, time,
    },
};
use crate::{
    binding::{BindingChange, BindingFilter, NewBinding, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Binding> {
    type Message = pb::Binding;

    fn into_message(self) -> pb::Binding {
        let Versioned { value, revision } = self;
        pb::Binding {
            id: value.id.to_string(),
            principal: value.principal.into(),
            role: value.role.into(),
            scope: value.scope.into(),
            condition: value.condition.map(shown_condition),
            expires_at: value.expires_at.map(shown_time),
            created_at: Some(shown_time(value.created_at)),
            created_by: value.created_by,
            revision,
        }
    }
}

#[tonic::async_trait]
impl Bindings for Doors {
    async fn create(
        &self,
        request: Request<CreateBindingRequest>,
    ) -> Result<Response<pb::Binding>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewBinding {
                principal: principal("principal", &asked.principal)?,
                role: name("role", &asked.role)?,
                scope: scope("scope", &asked.scope)?,
                condition: condition("condition", asked.condition)?,
                expires_at: time("expires_at", asked.expires_at)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetBindingRequest>,
    ) -> Result<Response<pb::Binding>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("binding", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListBindingsRequest>,
    ) -> Result<Response<ListBindingsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = BindingFilter {
                principal: maybe_principal("principal", &asked.principal)?,
                scope: maybe_scope("scope", &asked.scope)?,
                role: maybe_name("role", &asked.role)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (bindings, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListBindingsResponse {
                bindings,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateBindingRequest>,
    ) -> Result<Response<pb::Binding>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("binding", &asked.id)?;
            let change = BindingChange {
                expires_at: new_end(asked.expires_at, asked.never_expires)?,
            };
            let done = service::update(&app, &ctx, &id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteBindingRequest>,
    ) -> Result<Response<DeleteBindingResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("binding", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteBindingResponse { revision })
        })
        .await
    }
}
