//! Users and roles as the log has left them, and what each command makes of them.
//!
//! Source of the checks and their order: etcd 3.6, `server/auth/store.go`.
//!
//! Records in the column family `auth`: `u` ‖ name is an `authpb.User`, `r` ‖ name an `authpb.Role`, and `s`
//! one byte (1: enabled) followed by the auth revision, big endian.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use photon_proto::{
    authpb::{self, Permission, permission::Type},
    etcdserverpb::{
        AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
        AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
        AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
    },
};
use prost::Message;

use super::{
    Record,
    permissions::{Permissions, is_valid_range},
};
use crate::error::EtcdError;

/// The user that must exist, and the role it must have, for authentication to be enabled.
pub(super) const ROOT: &str = "root";

const STATUS_KEY: &[u8] = b"s";
const USER_KIND: u8 = b'u';
const ROLE_KIND: u8 = b'r';

#[derive(Clone)]
pub(super) struct User {
    /// In PHC form; empty for a user without a password.
    hash: String,
    pub(super) no_password: bool,
    /// Sorted.
    pub(super) roles: Vec<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("no_password", &self.no_password)
            .field("roles", &self.roles)
            .finish_non_exhaustive() // the hash is nobody's business
    }
}

impl User {
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    pub(super) fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r == role)
    }

    pub(super) fn is_root(&self) -> bool {
        self.has_role(ROOT)
    }

    fn encode(&self, name: &str) -> Vec<u8> {
        authpb::User {
            name: Bytes::copy_from_slice(name.as_bytes()),
            password: Bytes::copy_from_slice(self.hash.as_bytes()),
            roles: self.roles.clone(),
            options: Some(authpb::UserAddOptions {
                no_password: self.no_password,
            }),
        }
        .encode_to_vec()
    }

    fn decode(record: &[u8]) -> io::Result<Self> {
        let user = authpb::User::decode(record).map_err(corrupt)?;
        Ok(Self {
            hash: String::from_utf8(user.password.to_vec()).map_err(corrupt)?,
            no_password: user.options.is_some_and(|o| o.no_password),
            roles: user.roles,
        })
    }
}

/// Permissions, sorted by key.
type Role = Vec<Permission>;

fn encode_role(name: &str, permissions: &Role) -> Vec<u8> {
    authpb::Role {
        name: Bytes::copy_from_slice(name.as_bytes()),
        key_permission: permissions.clone(),
    }
    .encode_to_vec()
}

fn corrupt(error: impl fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("an authentication record is damaged: {error}"),
    )
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) enabled: bool,
    /// Counts changes of users and roles, from 1.
    pub(super) revision: u64,
    pub(super) users: BTreeMap<String, User>,
    pub(super) roles: BTreeMap<String, Role>,
    /// What users may do, worked out when first asked for; emptied by every change.
    united: Mutex<HashMap<String, Arc<Permissions>>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            united: Mutex::new(HashMap::new()),
        }
    }
}

type Applied = Result<(), EtcdError>;

impl State {
    pub(super) fn decode(
        records: impl Iterator<Item = (Box<[u8]>, Box<[u8]>)>,
    ) -> io::Result<Self> {
        let mut state = Self::default();
        for (key, value) in records {
            let name = || String::from_utf8(key[1..].to_vec()).map_err(corrupt);
            match key.first() {
                Some(&USER_KIND) => {
                    state.users.insert(name()?, User::decode(&value)?);
                }
                Some(&ROLE_KIND) => {
                    let role = authpb::Role::decode(&value[..]).map_err(corrupt)?;
                    state.roles.insert(name()?, role.key_permission);
                }
                _ if *key == *STATUS_KEY => {
                    let (enabled, revision) = value
                        .split_first()
                        .and_then(|(e, r)| Some((*e, <[u8; 8]>::try_from(r).ok()?)))
                        .ok_or_else(|| corrupt("the status has a wrong length"))?;
                    state.enabled = enabled != 0;
                    state.revision = u64::from_be_bytes(revision);
                }
                _ => return Err(corrupt("unknown kind")),
            }
        }
        Ok(state)
    }

    pub(super) fn permissions(&self, name: &str) -> Option<Arc<Permissions>> {
        let user = self.users.get(name)?;
        let mut united = self.united.lock();
        if let Some(known) = united.get(name) {
            return Some(Arc::clone(known));
        }
        let granted = user.roles.iter().filter_map(|role| self.roles.get(role));
        let permissions = Arc::new(Permissions::unite(granted.flatten()));
        united.insert(name.to_owned(), Arc::clone(&permissions));
        Some(permissions)
    }

    // ---- commands ----

    /// True when it was off.
    pub(super) fn enable(&mut self, changes: &mut Vec<Record>) -> Result<bool, EtcdError> {
        if self.enabled {
            return Ok(false);
        }
        let root = self.users.get(ROOT);
        if !root.ok_or(EtcdError::ROOT_USER_NOT_EXIST)?.is_root() {
            return Err(EtcdError::ROOT_ROLE_NOT_EXIST);
        }
        self.enabled = true;
        self.put_status(changes);
        Ok(true)
    }

    /// True when it was on.
    pub(super) fn disable(&mut self, changes: &mut Vec<Record>) -> bool {
        let was_enabled = std::mem::take(&mut self.enabled);
        if was_enabled {
            self.changed(changes);
        }
        was_enabled
    }

    pub(super) fn user_add(
        &mut self,
        request: &AuthUserAddRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        if request.name.is_empty() {
            return Err(EtcdError::USER_EMPTY);
        }
        if self.users.contains_key(&request.name) {
            return Err(EtcdError::USER_ALREADY_EXIST);
        }
        let no_password = request.options.as_ref().is_some_and(|o| o.no_password);
        let user = User {
            hash: hash_of(no_password, &request.hashed_password)?,
            no_password,
            roles: Vec::new(),
        };
        self.put_user(&request.name, user, changes);
        self.changed(changes);
        Ok(())
    }

    pub(super) fn user_delete(
        &mut self,
        request: &AuthUserDeleteRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        if self.enabled && request.name == ROOT {
            return Err(EtcdError::INVALID_AUTH_MGMT);
        }
        self.users
            .remove(&request.name)
            .ok_or(EtcdError::USER_NOT_FOUND)?;
        changes.push((record_key(USER_KIND, &request.name), None));
        self.changed(changes);
        Ok(())
    }

    pub(super) fn user_change_password(
        &mut self,
        request: &AuthUserChangePasswordRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        let mut user = self.user(&request.name)?;
        user.hash = hash_of(user.no_password, &request.hashed_password)?;
        self.put_user(&request.name, user, changes);
        self.changed(changes);
        Ok(())
    }

    pub(super) fn user_grant_role(
        &mut self,
        request: &AuthUserGrantRoleRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        let mut user = self.user(&request.user)?;
        // The root role needs no record: it is what its name says.
        if request.role != ROOT && !self.roles.contains_key(&request.role) {
            return Err(EtcdError::ROLE_NOT_FOUND);
        }
        if let Err(place) = user.roles.binary_search(&request.role) {
            user.roles.insert(place, request.role.clone());
            self.put_user(&request.user, user, changes);
            self.changed(changes);
        }
        Ok(())
    }

    pub(super) fn user_revoke_role(
        &mut self,
        request: &AuthUserRevokeRoleRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        if self.enabled && request.name == ROOT && request.role == ROOT {
            return Err(EtcdError::INVALID_AUTH_MGMT);
        }
        let mut user = self.user(&request.name)?;
        if !user.has_role(&request.role) {
            return Err(EtcdError::ROLE_NOT_GRANTED);
        }
        user.roles.retain(|role| *role != request.role);
        self.put_user(&request.name, user, changes);
        self.changed(changes);
        Ok(())
    }

    pub(super) fn role_add(
        &mut self,
        request: &AuthRoleAddRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        if request.name.is_empty() {
            return Err(EtcdError::ROLE_EMPTY);
        }
        if self.roles.contains_key(&request.name) {
            return Err(EtcdError::ROLE_ALREADY_EXIST);
        }
        self.put_role(&request.name, Role::new(), changes);
        self.changed(changes);
        Ok(())
    }

    pub(super) fn role_delete(
        &mut self,
        request: &AuthRoleDeleteRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        if self.enabled && request.role == ROOT {
            return Err(EtcdError::INVALID_AUTH_MGMT);
        }
        self.roles
            .remove(&request.role)
            .ok_or(EtcdError::ROLE_NOT_FOUND)?;
        changes.push((record_key(ROLE_KIND, &request.role), None));
        for (name, user) in &mut self.users {
            if user.has_role(&request.role) {
                user.roles.retain(|role| *role != request.role);
                changes.push((record_key(USER_KIND, name), Some(user.encode(name))));
            }
        }
        self.changed(changes);
        Ok(())
    }

    pub(super) fn role_grant_permission(
        &mut self,
        request: &AuthRoleGrantPermissionRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        let granted = request
            .perm
            .as_ref()
            .ok_or(EtcdError::PERMISSION_NOT_GIVEN)?;
        if !is_valid_range(&granted.key, &granted.range_end)
            || Type::try_from(granted.perm_type).is_err()
        {
            return Err(EtcdError::INVALID_AUTH_MGMT);
        }
        let mut role = self.role(&request.name)?;
        let same_range =
            |p: &&mut Permission| p.key == granted.key && p.range_end == granted.range_end;
        if let Some(permission) = role.iter_mut().find(same_range) {
            permission.perm_type = granted.perm_type;
        } else {
            let place = role.partition_point(|p| p.key <= granted.key);
            role.insert(place, granted.clone());
        }
        self.put_role(&request.name, role, changes);
        self.changed(changes);
        Ok(())
    }

    pub(super) fn role_revoke_permission(
        &mut self,
        request: &AuthRoleRevokePermissionRequest,
        changes: &mut Vec<Record>,
    ) -> Applied {
        let mut role = self.role(&request.role)?;
        let before = role.len();
        role.retain(|p| p.key != request.key || p.range_end != request.range_end);
        if role.len() == before {
            return Err(EtcdError::PERMISSION_NOT_GRANTED);
        }
        self.put_role(&request.role, role, changes);
        self.changed(changes);
        Ok(())
    }

    // ---- records ----

    fn user(&self, name: &str) -> Result<User, EtcdError> {
        self.users
            .get(name)
            .cloned()
            .ok_or(EtcdError::USER_NOT_FOUND)
    }

    fn role(&self, name: &str) -> Result<Role, EtcdError> {
        self.roles
            .get(name)
            .cloned()
            .ok_or(EtcdError::ROLE_NOT_FOUND)
    }

    fn put_user(&mut self, name: &str, user: User, changes: &mut Vec<Record>) {
        changes.push((record_key(USER_KIND, name), Some(user.encode(name))));
        self.users.insert(name.to_owned(), user);
    }

    fn put_role(&mut self, name: &str, role: Role, changes: &mut Vec<Record>) {
        changes.push((record_key(ROLE_KIND, name), Some(encode_role(name, &role))));
        self.roles.insert(name.to_owned(), role);
    }

    /// Something changed: a new auth revision, and no permission may be taken from memory.
    fn changed(&mut self, changes: &mut Vec<Record>) {
        self.revision += 1;
        self.united.get_mut().clear();
        self.put_status(changes);
    }

    fn put_status(&self, changes: &mut Vec<Record>) {
        let mut value = vec![u8::from(self.enabled)];
        value.extend(self.revision.to_be_bytes());
        changes.push((STATUS_KEY.to_vec(), Some(value)));
    }
}

fn record_key(kind: u8, name: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend(name.as_bytes());
    key
}

/// The hash to keep. The door has made it; a command that lacks it would make a user nobody can be.
fn hash_of(no_password: bool, hash: &str) -> Result<String, EtcdError> {
    match (no_password, hash) {
        (true, _) => Ok(String::new()),
        (false, "") => Err(EtcdError::INVALID_AUTH_MGMT),
        (false, hash) => Ok(hash.to_owned()),
    }
}
