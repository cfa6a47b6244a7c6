//! Users, roles and tokens. All but one's own user, one's own roles and `Authenticate` need the root role.

use chainfire_engine::{EtcdError, auth::NewToken};
use photon_proto::{
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
        AuthRoleGetResponse, AuthRoleGrantPermissionRequest, AuthRoleListResponse,
        AuthRoleRevokePermissionRequest, AuthStatusResponse, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetResponse,
        AuthUserGrantRoleRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
        AuthenticateRequest, AuthenticateResponse, ResponseHeader,
    },
    photon::chainfire::command::v1::{Authenticate, command::Op},
};
use tokio::time::timeout_at;

use super::{App, Caller};

impl App {
    /// Switches authentication on.
    ///
    /// # Errors
    /// `root user does not exist`, `root user does not have root role`, and what every proposal may answer.
    pub async fn auth_enable(&self, caller: &Caller) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::AuthEnable(AuthEnableRequest {}))
            .await
    }

    /// Switches authentication off.
    ///
    /// # Errors
    /// `permission denied`, and what every proposal may answer.
    pub async fn auth_disable(&self, caller: &Caller) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::AuthDisable(AuthDisableRequest {}))
            .await
    }

    /// Whether authentication is on, and the revision of users and roles.
    ///
    /// # Errors
    /// `permission denied`, no leader or timeout.
    pub async fn auth_status(&self, caller: &Caller) -> Result<AuthStatusResponse, EtcdError> {
        self.require_root(caller)?;
        self.linearize().await?;
        let status = self.engine.auth().status();
        Ok(AuthStatusResponse {
            header: Some(self.header()),
            enabled: status.enabled,
            auth_revision: status.revision,
        })
    }

    /// Checks a password and hands out a token that every member accepts.
    ///
    /// # Errors
    /// `authentication is not enabled`, `authentication failed, invalid user ID or password`, timeout
    /// when more passwords are being checked than this node can in that time.
    pub async fn authenticate(
        &self,
        request: AuthenticateRequest,
    ) -> Result<AuthenticateResponse, EtcdError> {
        self.linearize().await?;
        let auth = self.engine.auth();
        let AuthenticateRequest { name, password } = request;
        let known = auth.credentials(&name)?;
        let verified = self.passwords.verify(password, known.hash);
        if !timeout_at(self.deadline(), verified)
            .await
            .unwrap_or(Err(EtcdError::TIMEOUT))?
        {
            return Err(EtcdError::AUTH_FAILED);
        }
        let token = NewToken::generate().map_err(|error| super::internal(&error))?;
        let authenticate = Op::Authenticate(Authenticate {
            name,
            token_digest: token.digest().into(),
            auth_revision: known.auth_revision,
        });
        let applied = self.propose(&Caller::SYSTEM, authenticate).await?;
        Ok(AuthenticateResponse {
            header: Some(self.header_of(&applied)),
            token: token.issue(applied.index),
        })
    }

    /// Adds a user; the password is hashed here and never leaves this node.
    ///
    /// # Errors
    /// `permission denied`, `user name is empty`, `user name already exists`, and what every proposal may answer.
    pub async fn user_add(
        &self,
        caller: &Caller,
        mut request: AuthUserAddRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.require_root(caller)?;
        let without_password = request
            .options
            .as_ref()
            .is_some_and(|options| options.no_password);
        let password = std::mem::take(&mut request.password);
        if !without_password && request.hashed_password.is_empty() {
            request.hashed_password = self.hash_password(password).await?;
        }
        self.change(caller, Op::UserAdd(request)).await
    }

    /// Changes a user's password, which ends the user's tokens.
    ///
    /// # Errors
    /// `permission denied`, `user name not found`, and what every proposal may answer.
    pub async fn user_change_password(
        &self,
        caller: &Caller,
        mut request: AuthUserChangePasswordRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.require_root(caller)?;
        let password = std::mem::take(&mut request.password);
        if request.hashed_password.is_empty() {
            request.hashed_password = self.hash_password(password).await?;
        }
        self.change(caller, Op::UserChangePassword(request)).await
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// `permission denied`, `user name not found`, `invalid auth management`, and what every proposal may answer.
    pub async fn user_delete(
        &self,
        caller: &Caller,
        request: AuthUserDeleteRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::UserDelete(request)).await
    }

    /// Gives a user a role.
    ///
    /// # Errors
    /// `permission denied`, `user name not found`, `role name not found`, and what every proposal may answer.
    pub async fn user_grant_role(
        &self,
        caller: &Caller,
        request: AuthUserGrantRoleRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::UserGrantRole(request)).await
    }

    /// Takes a role from a user.
    ///
    /// # Errors
    /// `permission denied`, `role is not granted to the user`, and what every proposal may answer.
    pub async fn user_revoke_role(
        &self,
        caller: &Caller,
        request: AuthUserRevokeRoleRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::UserRevokeRole(request)).await
    }

    /// Adds a role.
    ///
    /// # Errors
    /// `permission denied`, `role name is empty`, `role name already exists`, and what every proposal may answer.
    pub async fn role_add(
        &self,
        caller: &Caller,
        request: AuthRoleAddRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::RoleAdd(request)).await
    }

    /// Deletes a role.
    ///
    /// # Errors
    /// `permission denied`, `role name not found`, and what every proposal may answer.
    pub async fn role_delete(
        &self,
        caller: &Caller,
        request: AuthRoleDeleteRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::RoleDelete(request)).await
    }

    /// Lets a role read, write or both a key or a range.
    ///
    /// # Errors
    /// `permission denied`, `permission not given`, `role name not found`, and what every proposal may answer.
    pub async fn role_grant_permission(
        &self,
        caller: &Caller,
        request: AuthRoleGrantPermissionRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::RoleGrantPermission(request)).await
    }

    /// Takes a permission from a role.
    ///
    /// # Errors
    /// `permission denied`, `permission is not granted to the role`, and what every proposal may answer.
    pub async fn role_revoke_permission(
        &self,
        caller: &Caller,
        request: AuthRoleRevokePermissionRequest,
    ) -> Result<ResponseHeader, EtcdError> {
        self.change(caller, Op::RoleRevokePermission(request)).await
    }

    /// The roles of a user: one's own, or anybody's for root.
    ///
    /// # Errors
    /// `permission denied`, `user name not found`, no leader or timeout.
    pub async fn user_get(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<AuthUserGetResponse, EtcdError> {
        self.linearize().await?;
        let auth = self.engine.auth();
        auth.check_see_user(caller.as_command(), name)?;
        Ok(AuthUserGetResponse {
            header: Some(self.header()),
            roles: auth.user_roles(name)?,
        })
    }

    /// All users.
    ///
    /// # Errors
    /// `permission denied`, no leader or timeout.
    pub async fn user_list(&self, caller: &Caller) -> Result<AuthUserListResponse, EtcdError> {
        self.linearize().await?;
        self.require_root(caller)?;
        Ok(AuthUserListResponse {
            header: Some(self.header()),
            users: self.engine.auth().users(),
        })
    }

    /// What a role may do: for those who have it, and for root.
    ///
    /// # Errors
    /// `permission denied`, `role name not found`, no leader or timeout.
    pub async fn role_get(
        &self,
        caller: &Caller,
        role: &str,
    ) -> Result<AuthRoleGetResponse, EtcdError> {
        self.linearize().await?;
        let auth = self.engine.auth();
        auth.check_see_role(caller.as_command(), role)?;
        Ok(AuthRoleGetResponse {
            header: Some(self.header()),
            perm: auth.role_permissions(role)?,
        })
    }

    /// All roles.
    ///
    /// # Errors
    /// `permission denied`, no leader or timeout.
    pub async fn role_list(&self, caller: &Caller) -> Result<AuthRoleListResponse, EtcdError> {
        self.linearize().await?;
        self.require_root(caller)?;
        Ok(AuthRoleListResponse {
            header: Some(self.header()),
            roles: self.engine.auth().roles(),
        })
    }

    /// A change of users, roles or the switch itself: root's, and refused again when it is applied should
    /// the caller have lost the role meanwhile.
    async fn change(&self, caller: &Caller, op: Op) -> Result<ResponseHeader, EtcdError> {
        self.require_root(caller)?;
        self.propose_done(caller, op).await
    }

    async fn hash_password(&self, password: String) -> Result<String, EtcdError> {
        let hashed = self.passwords.hash(password);
        timeout_at(self.deadline(), hashed)
            .await
            .unwrap_or(Err(EtcdError::TIMEOUT))
    }
}
