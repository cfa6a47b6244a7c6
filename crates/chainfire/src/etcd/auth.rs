//! `etcdserverpb.Auth`.

use std::sync::Arc;

use chainfire_engine::EtcdError;
use photon_proto::etcdserverpb::{auth_server::Auth, *};
use tonic::{Request, Response, Status};

use super::enter::{answer, enter};
use crate::app::App;

pub(super) struct AuthDoor(pub(super) Arc<App>);

/// An answer that is its header.
macro_rules! headed {
    ($response:ident, $outcome:expr) => {{
        let outcome: Result<ResponseHeader, EtcdError> = $outcome;
        answer(outcome.map(|header| $response {
            header: Some(header),
        }))
    }};
}

#[tonic::async_trait]
impl Auth for AuthDoor {
    async fn auth_enable(
        &self,
        request: Request<AuthEnableRequest>,
    ) -> Result<Response<AuthEnableResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        headed!(AuthEnableResponse, self.0.auth_enable(&caller).await)
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        headed!(AuthDisableResponse, self.0.auth_disable(&caller).await)
    }

    async fn auth_status(
        &self,
        request: Request<AuthStatusRequest>,
    ) -> Result<Response<AuthStatusResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        answer(self.0.auth_status(&caller).await)
    }

    /// The one call that needs no caller: it makes one.
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        answer(self.0.authenticate(request.into_inner()).await)
    }

    async fn user_add(
        &self,
        request: Request<AuthUserAddRequest>,
    ) -> Result<Response<AuthUserAddResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(AuthUserAddResponse, self.0.user_add(&caller, request).await)
    }

    async fn user_get(
        &self,
        request: Request<AuthUserGetRequest>,
    ) -> Result<Response<AuthUserGetResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.user_get(&caller, &request.name).await)
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Result<Response<AuthUserListResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        answer(self.0.user_list(&caller).await)
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthUserDeleteResponse,
            self.0.user_delete(&caller, request).await
        )
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthUserChangePasswordResponse,
            self.0.user_change_password(&caller, request).await
        )
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthUserGrantRoleResponse,
            self.0.user_grant_role(&caller, request).await
        )
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthUserRevokeRoleResponse,
            self.0.user_revoke_role(&caller, request).await
        )
    }

    async fn role_add(
        &self,
        request: Request<AuthRoleAddRequest>,
    ) -> Result<Response<AuthRoleAddResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(AuthRoleAddResponse, self.0.role_add(&caller, request).await)
    }

    async fn role_get(
        &self,
        request: Request<AuthRoleGetRequest>,
    ) -> Result<Response<AuthRoleGetResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        answer(self.0.role_get(&caller, &request.role).await)
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Result<Response<AuthRoleListResponse>, Status> {
        let (caller, _) = enter(&self.0, request).await?;
        answer(self.0.role_list(&caller).await)
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthRoleDeleteResponse,
            self.0.role_delete(&caller, request).await
        )
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthRoleGrantPermissionResponse,
            self.0.role_grant_permission(&caller, request).await
        )
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let (caller, request) = enter(&self.0, request).await?;
        headed!(
            AuthRoleRevokePermissionResponse,
            self.0.role_revoke_permission(&caller, request).await
        )
    }
}
