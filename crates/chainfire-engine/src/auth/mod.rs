//! Authentication and authorization: users, roles, and what they may do with which keys.
//!
//! ```text
//!  door: password -> Passwords (argon2id) -> Authenticate{name, token digest} --- log ---+
//!  door: token or certificate name -> AuthStore::caller -> Caller{user, auth revision}   |
//!                                                            |                           v
//!  reads, watches: check(caller, range)      commands: check again at apply      AuthStore::apply
//! ```
//!
//! Invariants:
//! 1. Users, roles, the enabled flag and the auth revision are functions of the log.
//! 2. Every change raises the auth revision (enabling alone does not, as in etcd), and a caller established at
//!    an older one is refused, so a right that was taken away cannot be used by a request under way.
//! 3. A password or its hash is in no message, log line or `Debug` output.
//!
//! Commands are already permitted when they come here; see `access` for who may do what.

mod password;
mod permissions;
mod state;
#[cfg(test)]
mod tests;
mod token;

use std::{
    io,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use photon_proto::{
    authpb::{Permission, permission::Type},
    photon::chainfire::command::v1::{Authenticate, Caller, command::Op},
};

pub use self::{
    password::{Passwords, hash_password, verify_password},
    token::{NewToken, TOKEN_TTL, token_index},
};
use self::{
    state::{ROOT, State},
    token::Tokens,
};
use crate::error::EtcdError;

/// A change of the column family `auth`: a key, and its value or that it is deleted.
pub(crate) type Record = (Vec<u8>, Option<Vec<u8>>);

/// Keys somebody wants to use. `range_end` is in etcd's convention: empty is the key alone, `\0` no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// Read, watch or compare.
    Read {
        /// First key.
        key: &'a [u8],
        /// End.
        range_end: &'a [u8],
    },
    /// Put or delete.
    Write {
        /// First key.
        key: &'a [u8],
        /// End.
        range_end: &'a [u8],
    },
}

/// Whether authentication is on, and how often users and roles changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthStatus {
    /// Whether it is on.
    pub enabled: bool,
    /// The auth revision, from 1.
    pub revision: u64,
}

/// What a password has to be checked against. Not printable.
#[derive(Clone)]
pub struct Credentials {
    /// The stored hash; nothing for an unknown user, who must cost as much time as a known one
    /// ([`Passwords::verify`]).
    pub hash: Option<String>,
    /// The auth revision the hash was read at, for the command [`Authenticate`].
    pub auth_revision: u64,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("auth_revision", &self.auth_revision)
            .finish_non_exhaustive()
    }
}

/// Users, roles and tokens of a member. The applying thread changes them, everybody may ask.
#[derive(Debug, Default)]
pub struct AuthStore {
    state: RwLock<State>,
    tokens: Tokens,
}

impl AuthStore {
    /// Without users, not enabled.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The same, with tokens that live this long since their last use.
    #[must_use]
    pub(crate) fn with_token_ttl(ttl: Duration) -> Self {
        Self {
            state: RwLock::default(),
            tokens: Tokens::living(ttl),
        }
    }

    /// Takes over the records of a data directory in place of everything known. Tokens are forgotten.
    ///
    /// # Errors
    /// `InvalidData` for a record that cannot be read; nothing is changed then.
    pub(crate) fn load(
        &self,
        records: impl Iterator<Item = (Box<[u8]>, Box<[u8]>)>,
    ) -> io::Result<()> {
        let loaded = State::decode(records)?;
        let mut state = self.state.write();
        *state = loaded;
        self.tokens.clear();
        Ok(())
    }

    // ---- who ----

    /// Whether authentication is on, and the auth revision.
    #[must_use]
    pub fn status(&self) -> AuthStatus {
        let state = self.state.read();
        AuthStatus {
            enabled: state.enabled,
            revision: state.revision,
        }
    }

    /// Who is calling: the holder of the token if there is one, else the user the client certificate names.
    /// While authentication is off, and for a client that shows neither, the user name is empty: such a
    /// caller may do everything while it is off and nothing once it is on, also when a command of theirs is
    /// already under way.
    ///
    /// # Errors
    /// `INVALID_AUTH_TOKEN` for a token this member does not know. A member that has not applied
    /// [`token_index`] yet has to get there first.
    pub fn caller(
        &self,
        token: Option<&str>,
        certificate_name: Option<&str>,
    ) -> Result<Caller, EtcdError> {
        // Held throughout, so that token and revision belong together.
        let state = self.state.read();
        if !state.enabled {
            return Ok(Caller::default());
        }
        let user = match (token, certificate_name) {
            (Some(token), _) => self
                .tokens
                .holder(Instant::now(), token)
                .ok_or(EtcdError::INVALID_AUTH_TOKEN)?,
            (None, Some(name)) if !name.is_empty() => name.to_owned(),
            (None, _) => return Ok(Caller::default()),
        };
        Ok(Caller {
            user,
            auth_revision: state.revision,
        })
    }

    /// What to check a login's password against.
    ///
    /// # Errors
    /// `AUTH_NOT_ENABLED`; etcd's text of code Unknown for a user who has no password.
    pub fn credentials(&self, name: &str) -> Result<Credentials, EtcdError> {
        let state = self.state.read();
        if !state.enabled {
            return Err(EtcdError::AUTH_NOT_ENABLED);
        }
        let user = state.users.get(name);
        if user.is_some_and(|user| user.no_password) {
            return Err(NO_PASSWORD_USER);
        }
        Ok(Credentials {
            hash: user.map(|user| user.hash().to_owned()),
            auth_revision: state.revision,
        })
    }

    // ---- may they ----

    /// Whether the caller may use these keys. No caller: ChainFire itself, who may.
    ///
    /// # Errors
    /// `USER_EMPTY` for a caller nobody knows, `AUTH_OLD_REVISION`, `PERMISSION_DENIED`.
    pub fn check(&self, caller: Option<&Caller>, access: Access<'_>) -> Result<(), EtcdError> {
        let state = self.state.read();
        let Some(caller) = caller.filter(|_| state.enabled) else {
            return Ok(());
        };
        if caller.auth_revision == 0 {
            return Err(EtcdError::USER_EMPTY);
        }
        if caller.auth_revision < state.revision {
            return Err(EtcdError::AUTH_OLD_REVISION);
        }
        let user = state.users.get(&caller.user);
        if user.ok_or(EtcdError::PERMISSION_DENIED)?.is_root() {
            return Ok(());
        }
        let granted = state
            .permissions(&caller.user)
            .ok_or(EtcdError::PERMISSION_DENIED)?;
        let allowed = match access {
            Access::Read { key, range_end } => granted.read.cover(key, range_end),
            Access::Write { key, range_end } => granted.write.cover(key, range_end),
        };
        if allowed {
            Ok(())
        } else {
            Err(EtcdError::PERMISSION_DENIED)
        }
    }

    /// Whether the caller has the root role. No caller: ChainFire itself, who counts as root.
    ///
    /// # Errors
    /// `USER_EMPTY`, `USER_NOT_FOUND`, `PERMISSION_DENIED`.
    pub fn check_root(&self, caller: Option<&Caller>) -> Result<(), EtcdError> {
        let state = self.state.read();
        let Some(caller) = caller.filter(|_| state.enabled) else {
            return Ok(());
        };
        if caller.user.is_empty() {
            return Err(EtcdError::USER_EMPTY);
        }
        // The auth revision does not matter here, as in etcd: the role is looked up as it is now, and
        // administrators working at the same time must not refuse each other.
        let user = state.users.get(&caller.user);
        if user.ok_or(EtcdError::USER_NOT_FOUND)?.is_root() {
            Ok(())
        } else {
            Err(EtcdError::PERMISSION_DENIED)
        }
    }

    /// Whether the caller may see a user: root, and everybody themselves.
    ///
    /// # Errors
    /// As [`AuthStore::check_root`].
    pub fn check_see_user(&self, caller: Option<&Caller>, name: &str) -> Result<(), EtcdError> {
        match self.check_root(caller) {
            Err(_) if caller.is_some_and(|c| !c.user.is_empty() && c.user == name) => Ok(()),
            answer => answer,
        }
    }

    /// Whether the caller may see a role: root, and who has it.
    ///
    /// # Errors
    /// As [`AuthStore::check_root`].
    pub fn check_see_role(&self, caller: Option<&Caller>, role: &str) -> Result<(), EtcdError> {
        let has_it = || {
            let state = self.state.read();
            caller
                .and_then(|caller| state.users.get(&caller.user))
                .is_some_and(|user| user.has_role(role))
        };
        match self.check_root(caller) {
            Err(_) if has_it() => Ok(()),
            answer => answer,
        }
    }

    // ---- what there is ----

    /// User names, sorted.
    #[must_use]
    pub fn users(&self) -> Vec<String> {
        self.state.read().users.keys().cloned().collect()
    }

    /// A user's roles, sorted.
    ///
    /// # Errors
    /// `USER_NOT_FOUND`.
    pub fn user_roles(&self, name: &str) -> Result<Vec<String>, EtcdError> {
        let state = self.state.read();
        let user = state.users.get(name).ok_or(EtcdError::USER_NOT_FOUND)?;
        Ok(user.roles.clone())
    }

    /// Role names, sorted.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        self.state.read().roles.keys().cloned().collect()
    }

    /// A role's permissions. The root role, once it has been added, has one for everything.
    ///
    /// # Errors
    /// `ROLE_NOT_FOUND`.
    pub fn role_permissions(&self, name: &str) -> Result<Vec<Permission>, EtcdError> {
        let state = self.state.read();
        let permissions = state.roles.get(name).ok_or(EtcdError::ROLE_NOT_FOUND)?;
        if name == ROOT {
            return Ok(vec![Permission {
                perm_type: Type::Readwrite.into(),
                key: bytes::Bytes::new(),
                range_end: bytes::Bytes::from_static(b"\0"),
            }]);
        }
        Ok(permissions.clone())
    }

    // ---- commands ----

    /// Applies a command about users, roles or tokens and notes the records to write; nothing for any other
    /// command. A failure changes nothing. Whether the caller may has been checked.
    pub(crate) fn apply(
        &self,
        op: &Op,
        changes: &mut Vec<Record>,
    ) -> Option<Result<(), EtcdError>> {
        let mut state = self.state.write();
        let applied = match op {
            Op::AuthEnable(_) => state.enable(changes).map(|was_off| {
                if was_off {
                    tracing::info!("authentication enabled");
                }
            }),
            Op::AuthDisable(_) => {
                if state.disable(changes) {
                    self.tokens.clear();
                    tracing::info!("authentication disabled");
                }
                Ok(())
            }
            Op::UserAdd(request) => state.user_add(request, changes),
            Op::UserDelete(request) => state
                .user_delete(request, changes)
                .inspect(|()| self.tokens.invalidate_user(&request.name)),
            Op::UserChangePassword(request) => state
                .user_change_password(request, changes)
                .inspect(|()| self.tokens.invalidate_user(&request.name)),
            Op::UserGrantRole(request) => state.user_grant_role(request, changes),
            Op::UserRevokeRole(request) => state.user_revoke_role(request, changes),
            Op::RoleAdd(request) => state.role_add(request, changes),
            Op::RoleDelete(request) => state.role_delete(request, changes),
            Op::RoleGrantPermission(request) => state.role_grant_permission(request, changes),
            Op::RoleRevokePermission(request) => state.role_revoke_permission(request, changes),
            Op::Authenticate(request) => self.authenticate(&state, request),
            _ => return None,
        };
        Some(applied)
    }

    /// The door has checked the password; what it was checked against must still hold.
    fn authenticate(&self, state: &State, request: &Authenticate) -> Result<(), EtcdError> {
        if !state.enabled {
            return Err(EtcdError::AUTH_NOT_ENABLED);
        }
        if request.auth_revision != state.revision {
            return Err(EtcdError::AUTH_OLD_REVISION);
        }
        let user = state.users.get(&request.name);
        if user.ok_or(EtcdError::AUTH_FAILED)?.no_password {
            return Err(EtcdError::AUTH_FAILED);
        }
        self.tokens
            .assign(Instant::now(), &request.token_digest, &request.name);
        Ok(())
    }
}

/// What etcd answers to a login with a password of a user who has none: not one of its declared errors,
/// so gRPC's code is Unknown.
pub const NO_PASSWORD_USER: EtcdError = EtcdError::new(
    2,
    "auth: authentication failed, password was given for no password user",
);
