//! Users, roles and permissions of the store, each made if it is not there, and each told.

use etcd_client::{Client, Permission, PermissionType, UserAddOptions};
use serde_json::json;

use crate::{
    failure::Failure,
    output::{self, Format},
};

/// Keys, and what a role may do with them.
pub(super) struct Grant {
    pub(super) kind: PermissionType,
    /// All keys that begin so, if it ends with a slash; else this one.
    pub(super) keys: String,
}

impl Grant {
    /// To read.
    pub(super) fn read(keys: impl Into<String>) -> Self {
        Self {
            kind: PermissionType::Read,
            keys: keys.into(),
        }
    }

    /// To read and write.
    pub(super) fn all(keys: impl Into<String>) -> Self {
        Self {
            kind: PermissionType::Readwrite,
            keys: keys.into(),
        }
    }

    fn permission(&self) -> Permission {
        let permission = Permission::new(self.kind, self.keys.clone());
        if self.keys.ends_with('/') {
            permission.with_prefix()
        } else {
            permission
        }
    }
}

/// What has been done so far, in words.
pub(super) struct Steps {
    pub(super) store: Client,
    pub(super) dry_run: bool,
    done: Vec<String>,
}

impl Steps {
    pub(super) fn new(store: Client, dry_run: bool) -> Self {
        Self {
            store,
            dry_run,
            done: Vec::new(),
        }
    }

    /// Tells of something that is done, or would be.
    pub(super) fn say(&mut self, change: impl Into<String>) {
        self.done.push(change.into());
    }

    /// Prints what was done.
    pub(super) fn print(self, format: Format, nothing: &str) -> Result<(), Failure> {
        match format {
            Format::Data(notation) => output::data(
                notation,
                &json!({ "dry_run": self.dry_run, "changes": self.done }),
            ),
            Format::Human if self.done.is_empty() => output::line(nothing),
            Format::Human => self.done.iter().try_for_each(|change| output::line(change)),
        }
    }

    /// A user and its role, of one name, which may do this.
    pub(super) async fn principal(&mut self, name: &str, grants: &[Grant]) -> Result<(), Failure> {
        self.role(name).await?;
        for grant in grants {
            self.permission(name, grant).await?;
        }
        self.user(name).await?;
        self.user_role(name).await
    }

    /// Neither the user nor the role of this name is there any more.
    pub(super) async fn no_principal(&mut self, name: &str) -> Result<(), Failure> {
        if self.has_user(name).await? {
            self.say(format!("user {name} removed"));
            if !self.dry_run {
                self.store.user_delete(name).await?;
            }
        }
        if self.has_role(name).await? {
            self.say(format!("role {name} removed"));
            if !self.dry_run {
                self.store.role_delete(name).await?;
            }
        }
        Ok(())
    }

    /// Without a password: a certificate is the only way to be this user.
    async fn user(&mut self, name: &str) -> Result<(), Failure> {
        if self.has_user(name).await? {
            return Ok(());
        }
        self.say(format!("user {name} added"));
        if !self.dry_run {
            let options = UserAddOptions::new().with_no_pwd();
            self.store.user_add(name, "", Some(options)).await?;
        }
        Ok(())
    }

    async fn role(&mut self, name: &str) -> Result<(), Failure> {
        if self.has_role(name).await? {
            return Ok(());
        }
        self.say(format!("role {name} added"));
        if !self.dry_run {
            self.store.role_add(name).await?;
        }
        Ok(())
    }

    async fn user_role(&mut self, name: &str) -> Result<(), Failure> {
        if self.has_user(name).await?
            && self
                .store
                .user_get(name)
                .await?
                .roles()
                .iter()
                .any(|known| known == name)
        {
            return Ok(());
        }
        self.say(format!("user {name} has role {name}"));
        if !self.dry_run {
            self.store.user_grant_role(name, name).await?;
        }
        Ok(())
    }

    async fn permission(&mut self, role: &str, grant: &Grant) -> Result<(), Failure> {
        let wanted = grant.permission();
        if self.has_role(role).await?
            && self
                .store
                .role_get(role)
                .await?
                .permissions()
                .contains(&wanted)
        {
            return Ok(());
        }
        let may = match grant.kind {
            PermissionType::Read => "read",
            PermissionType::Write => "write",
            PermissionType::Readwrite => "read and write",
        };
        self.say(format!("role {role} may {may} {}", grant.keys));
        if !self.dry_run {
            self.store.role_grant_permission(role, wanted).await?;
        }
        Ok(())
    }

    async fn has_user(&mut self, name: &str) -> Result<bool, Failure> {
        let users = self.store.user_list().await?;
        Ok(users.users().iter().any(|known| known == name))
    }

    async fn has_role(&mut self, name: &str) -> Result<bool, Failure> {
        let roles = self.store.role_list().await?;
        Ok(roles.roles().iter().any(|known| known == name))
    }
}
