//! `photon.iam.v1.Roles`.

use photon_authz::{Role, built_in};
use photon_proto::photon::iam::v1::{
    self as pb, CreateRoleRequest, DeleteRoleRequest, DeleteRoleResponse, GetRoleRequest,
    ListRolesRequest, ListRolesResponse, UpdateRoleRequest, roles_server::Roles,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{
        IntoMessage, ask, given, id, maybe_label, maybe_name, maybe_text, name, page, patterns,
        texts,
    },
};
use crate::{
    role::{NewRole, RoleChange, RoleFilter, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Role> {
    type Message = pb::Role;

    fn into_message(self) -> pb::Role {
        let Versioned { value, revision } = self;
        pb::Role {
            built_in: built_in(&value.id).is_some(),
            permissions: texts(&value.permissions),
            except: texts(&value.except),
            includes: texts(&value.includes),
            id: value.id.into(),
            org_id: maybe_text(value.org),
            title: value.title,
            revision,
        }
    }
}

#[tonic::async_trait]
impl Roles for Doors {
    async fn create(
        &self,
        request: Request<CreateRoleRequest>,
    ) -> Result<Response<pb::Role>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewRole {
                id: name("id", &asked.id)?,
                title: maybe_label("title", given(&asked.title).map(str::to_owned))?,
                permissions: patterns("permissions", &asked.permissions)?,
                org: maybe_name("org_id", &asked.org_id)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(&self, request: Request<GetRoleRequest>) -> Result<Response<pb::Role>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("role", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListRolesRequest>,
    ) -> Result<Response<ListRolesResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = RoleFilter {
                org: maybe_name("org_id", &asked.org_id)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (roles, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListRolesResponse {
                roles,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateRoleRequest>,
    ) -> Result<Response<pb::Role>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("role", &asked.id)?;
            let permissions = patterns("permissions", &asked.permissions)?;
            let change = RoleChange {
                title: maybe_label("title", asked.title)?,
                // A role without permissions is none, so an empty list can only mean that they stay.
                permissions: (!permissions.is_empty()).then_some(permissions),
            };
            let done = service::update(&app, &ctx, &id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteRoleRequest>,
    ) -> Result<Response<DeleteRoleResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("role", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteRoleResponse { revision })
        })
        .await
    }
}
