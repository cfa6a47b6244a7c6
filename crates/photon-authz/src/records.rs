//! What IAM publishes under `/photon/iam/public/` and every service may follow.
//!
//! The records are the authority, not copies. Fields a program does not know are tolerated.

use jiff::Timestamp;
use photon_core::{Id, Name, id::Kind};
use serde::{Deserialize, Serialize};

use crate::{Condition, PermissionPattern, PrincipalRef, Scope};

/// The prefix under which all of this lies.
pub const PUBLIC: &str = "/photon/iam/public/";

/// The longest display name of an org, project, role or group, in bytes.
pub const MAX_TITLE: usize = 200;

/// The most members of one group.
pub const MAX_MEMBERS: usize = 10_000;

/// The most groups on a path of groups within groups.
pub const MAX_DEPTH: usize = 8;

/// The kind of a [`Binding`]'s id.
#[derive(Clone, Copy, Debug)]
pub struct BindingKind;
impl Kind for BindingKind {
    const PREFIX: &'static str = "bnd";
}
/// The id of a [`Binding`], `bnd-<uuid>`.
pub type BindingId = Id<BindingKind>;

/// The kind of a [`DenyRule`]'s id.
#[derive(Clone, Copy, Debug)]
pub struct DenyKind;
impl Kind for DenyKind {
    const PREFIX: &'static str = "dny";
}
/// The id of a [`DenyRule`], `dny-<uuid>`.
pub type DenyId = Id<DenyKind>;

/// A customer, or a department: owns projects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    /// Its id; orgs and projects share one namespace.
    pub id: Name,
    /// What people call it.
    pub name: String,
    /// Made by dev mode on first use.
    #[serde(default)]
    pub implicit: bool,
    /// Nothing can be done in it, save by IAM.
    #[serde(default)]
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Where resources live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id; orgs and projects share one namespace.
    pub id: Name,
    /// The org it belongs to.
    pub org: Name,
    /// What people call it; unique in its org.
    pub name: String,
    /// Made by dev mode on first use.
    #[serde(default)]
    pub implicit: bool,
    /// Nothing can be done in it, save by IAM.
    #[serde(default)]
    pub disabled: bool,
    /// Tokens for it that were issued before this second (since 1970) are refused.
    #[serde(default)]
    pub epoch: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A named set of permissions: whatever `permissions` match and `except` does not, and what the built-in roles it
/// `includes` allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its id. Ids of built-in roles are never stored.
    pub id: Name,
    /// The org that owns it; none for roles of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Name>,
    /// One line that says what it is for.
    #[serde(default)]
    pub title: String,
    /// What it allows.
    pub permissions: Vec<PermissionPattern>,
    /// What of `permissions` it leaves out. Says nothing about the included roles, nor about other bindings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<PermissionPattern>,
    /// Built-in roles whose permissions it has too. Other names mean nothing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<Name>,
}

/// Gives a principal a role at a scope and everywhere below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// Who.
    pub principal: PrincipalRef,
    /// Which role.
    pub role: Name,
    /// Where.
    pub scope: Scope,
    /// Only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// From this moment on it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom; for people to read.
    #[serde(default)]
    pub created_by: String,
}

/// Takes permissions away at a scope and everywhere below it, whatever bindings say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyRule {
    /// Its id.
    pub id: DenyId,
    /// From whom; none: from everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalRef>,
    /// Which.
    pub permissions: Vec<PermissionPattern>,
    /// Where.
    pub scope: Scope,
    /// Only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom; for people to read.
    #[serde(default)]
    pub created_by: String,
}

/// Several principals under one name. Members may be groups: at most [`MAX_DEPTH`] deep, never in a circle, at most
/// [`MAX_MEMBERS`] each (`Policies::check_members` before writing).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: Name,
    /// The org that owns it; none for groups of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<Name>,
    /// One line that says what it is for.
    #[serde(default)]
    pub title: String,
    /// Who is in it.
    #[serde(default)]
    pub members: Vec<PrincipalRef>,
}

/// What everybody must know of a user, service account or service. Written together with its own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalState {
    /// Who.
    pub principal: PrincipalRef,
    /// The project of a service account, the org of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Scope>,
    /// May do nothing.
    #[serde(default)]
    pub disabled: bool,
    /// Its tokens that were issued before this second (since 1970) are refused.
    #[serde(default)]
    pub epoch: i64,
}

/// A key that verifies tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Its id, as in a token's header. Only letters, digits, `-` and `_`.
    pub kid: String,
    /// The public JWK; its `alg` is the only one it verifies.
    pub jwk: serde_json::Value,
    /// The `iss` of the tokens it signs.
    pub issuer: String,
    /// A key of dev mode, which enforce refuses.
    #[serde(default)]
    pub dev: bool,
    /// Signs from this moment on.
    pub not_before: Timestamp,
    /// Verifies until this moment.
    pub not_after: Timestamp,
}

/// A token, or a family of them, that is refused before it expires. Lives under a lease that ends with the last of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The token's `jti`, or the `sid` of all tokens of a family.
    pub jti: String,
    /// When the last token that it ends would have ended by itself.
    pub expires_at: Timestamp,
}

/// The key of each record below its collection's root.
pub trait Keyed {
    /// The key, without the root.
    fn key(&self) -> String;
}

impl Keyed for Org {
    fn key(&self) -> String {
        self.id.to_string()
    }
}
impl Keyed for Project {
    fn key(&self) -> String {
        self.id.to_string()
    }
}
impl Keyed for Role {
    fn key(&self) -> String {
        self.id.to_string()
    }
}
impl Keyed for Binding {
    fn key(&self) -> String {
        self.id.to_string()
    }
}
impl Keyed for DenyRule {
    fn key(&self) -> String {
        self.id.to_string()
    }
}
impl Keyed for Group {
    fn key(&self) -> String {
        self.id.to_string()
    }
}
impl Keyed for PrincipalState {
    fn key(&self) -> String {
        format!("{}/{}", self.principal.kind, self.principal.id)
    }
}
impl Keyed for PublicKey {
    fn key(&self) -> String {
        self.kid.clone()
    }
}
impl Keyed for Revoked {
    fn key(&self) -> String {
        self.jti.clone()
    }
}

/// How photon-store keeps them (feature `store`).
#[cfg(feature = "store")]
mod store {
    use std::fmt::Write as _;

    use photon_store::Record;
    use sha2::{Digest, Sha256};

    use super::{Binding, DenyRule, Group, Org, PrincipalState, Project, PublicKey, Revoked, Role};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
            text
        })
    }

    impl Record for Org {
        const ROOT: &'static str = "/photon/iam/public/org/";

        fn index_keys(&self, _key: &str) -> Vec<String> {
            vec![format!("/photon/iam/id/scope/{}", self.id)]
        }
    }

    impl Record for Project {
        const ROOT: &'static str = "/photon/iam/public/project/";

        fn index_keys(&self, _key: &str) -> Vec<String> {
            // A longer name, which the service does not take, must still make a key the store takes.
            let name = match self.name.as_bytes() {
                bytes if bytes.len() <= super::MAX_TITLE => hex(bytes),
                bytes => format!("sha256-{}", hex(&Sha256::digest(bytes))),
            };
            vec![
                format!("/photon/iam/id/scope/{}", self.id),
                format!("/photon/iam/name/project/{}/{name}", self.org),
            ]
        }
    }

    impl Record for Role {
        const ROOT: &'static str = "/photon/iam/public/role/";
    }

    impl Record for Binding {
        const ROOT: &'static str = "/photon/iam/public/binding/";

        /// The same principal, role, scope and condition twice is refused.
        fn index_keys(&self, _key: &str) -> Vec<String> {
            let condition = self.condition.as_ref().filter(|said| !said.is_empty());
            let condition = serde_json::json!(condition);
            let said = format!(
                "{}|{}|{}|{condition}",
                self.principal, self.role, self.scope
            );
            vec![format!(
                "/photon/iam/name/binding/{}",
                hex(&Sha256::digest(said))
            )]
        }
    }

    impl Record for DenyRule {
        const ROOT: &'static str = "/photon/iam/public/deny/";
    }

    impl Record for Group {
        const ROOT: &'static str = "/photon/iam/public/group/";
    }

    impl Record for PrincipalState {
        const ROOT: &'static str = "/photon/iam/public/principal/";
    }

    impl Record for PublicKey {
        const ROOT: &'static str = "/photon/iam/public/key/";
    }

    impl Record for Revoked {
        const ROOT: &'static str = "/photon/iam/public/revoked/";
    }
}
