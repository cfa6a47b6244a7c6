//! `photon.iam.v1.Users`.

use photon_core::Error;
use photon_proto::photon::iam::v1::{
    self as pb, CreateUserRequest, DeleteUserRequest, DeleteUserResponse, GetUserRequest,
    ListUsersRequest, ListUsersResponse, SetPasswordRequest, SetPasswordResponse,
    UpdateUserRequest, users_server::Users,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{
        IntoMessage, ask, email, id, label, maybe_label, maybe_name, maybe_text, page, shown_time,
    },
};
use crate::{
    credential::{self, Secret},
    user::{NewUser, User, UserChange, UserFilter, service},
    versioned::Versioned,
};

/// What `type` says of every user, as in the guide.
const TYPE: &str = "user";

impl IntoMessage for Versioned<User> {
    type Message = pb::User;

    fn into_message(self) -> pb::User {
        let Versioned { value, revision } = self;
        pb::User {
            id: value.id.into(),
            name: value.name,
            email: value.email,
            r#type: TYPE.to_owned(),
            org_id: maybe_text(value.org),
            disabled: value.disabled,
            created_at: Some(shown_time(value.created_at)),
            updated_at: Some(shown_time(value.updated_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Users for Doors {
    async fn create(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            if !matches!(asked.r#type.as_str(), "" | TYPE) {
                let message = "type must be \"user\": service accounts are made for a project";
                return Err(Error::validation("type", "value", message));
            }
            let new = NewUser {
                id: maybe_name("id", &asked.id)?,
                name: label("name", asked.name)?,
                email: email("email", asked.email)?,
                org: maybe_name("org_id", &asked.org_id)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(&self, request: Request<GetUserRequest>) -> Result<Response<pb::User>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("user", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = UserFilter {
                scope: maybe_name("scope_id", &asked.scope_id)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (users, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListUsersResponse {
                users,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("user", &asked.id)?;
            let change = UserChange {
                name: maybe_label("name", asked.name)?,
                email: asked.email.map(|text| email("email", text)).transpose()?,
                disabled: asked.disabled,
            };
            let done = service::update(&app, &ctx, &id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("user", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteUserResponse { revision })
        })
        .await
    }

    async fn set_password(
        &self,
        request: Request<SetPasswordRequest>,
    ) -> Result<Response<SetPasswordResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("user", &asked.id)?;
            if asked.password.is_empty() {
                return Err(Error::required("password"));
            }
            let new = Secret::from(asked.password);
            let current = (!asked.current.is_empty()).then(|| Secret::from(asked.current));
            let revision = credential::service::set_password(&app, &ctx, &id, current, new).await?;
            Ok(SetPasswordResponse { revision })
        })
        .await
    }
}
