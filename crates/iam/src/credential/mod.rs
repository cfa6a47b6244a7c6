//! Credentials: what a principal proves itself with.
//!
//! ```text
//!   created ──> usable <──enabled / disabled──> disabled
//!      │          │ its time is over
//!      │          └──────────> expired        deleted: gone, and nothing is left of it
//!      └ of an API key the answer shows the key, then nobody can
//! ```
//!
//! | kind | stored | proves at |
//! |---|---|---|
//! | `password` | argon2id | `/api/v1/auth/token` |
//! | `api_key` | SHA-256 | `/api/v1/auth/token`, `/oauth2/token` |
//! | `certificate` | the fingerprint | TLS to this service |
//! | `ssh_public_key` | the key | not here: hosts and guests read it |
//!
//! Nothing that is stored of these kinds lets anybody act as the principal. A kind whose secret must be given to a service
//! (S3 access keys, SCRAM verifiers) would keep it wrapped by [`crate::signing::WrappingKey`] in its [`Material`], and be
//! released to services that may `iam.credentials.release` it; there is none yet.
//!
//! Keys: `/photon/iam/credential/<principal kind>/<principal id>/<id>`, so that one range lists a principal's.

mod api_key;
mod certificate;
mod input;
mod password;
mod rest;
mod secret;
pub mod service;
mod ssh;
mod used;
pub(crate) mod verify;

use jiff::Timestamp;
use photon_authz::PrincipalRef;
use photon_core::{Error, Id, id::Kind as IdKind};
use photon_store::Record;
use serde::{Deserialize, Serialize};

pub(crate) use self::api_key::PREFIX as API_KEY_PREFIX;
pub use self::{
    certificate::Registered,
    input::{CredentialChange, NewCredential, NewMaterial},
    password::Hasher,
    rest::routes,
    secret::Secret,
    used::Used,
};
pub(crate) use self::{input::is_given, rest::RestDoc};
use crate::versioned::Versioned;

/// The kind of a [`Credential`]'s id.
#[derive(Clone, Copy, Debug)]
pub struct CredentialKind;

impl IdKind for CredentialKind {
    const PREFIX: &'static str = "crd";
}

/// The id of a [`Credential`], `crd-<uuid>`.
pub type CredentialId = Id<CredentialKind>;

/// The most credentials of one principal.
pub(crate) const MOST_OF_ONE: usize = 100;

/// A credential as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// Whose it is.
    pub principal: PrincipalRef,
    /// What people call it.
    #[serde(default)]
    pub label: String,
    /// It proves nothing for now.
    #[serde(default)]
    pub disabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom; for people to read.
    #[serde(default)]
    pub created_by: String,
    /// From then on it proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it is.
    #[serde(flatten)]
    pub material: Material,
}

/// What a credential is, and what is stored to recognise it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Material {
    /// A password.
    Password {
        /// argon2id, in PHC string format.
        hash: String,
    },
    /// An API key.
    ApiKey {
        /// SHA-256 of the whole key, hexadecimal.
        sha256: String,
    },
    /// A client certificate.
    Certificate {
        /// SHA-256 of its DER form, hexadecimal.
        fingerprint: String,
        /// Its common name; for people to read.
        common_name: String,
    },
    /// An SSH public key.
    SshPublicKey {
        /// `SHA256:…`, as ssh-keygen has it.
        fingerprint: String,
        /// Type and key.
        public_key: String,
    },
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl Material {
    /// The word for the kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::ApiKey { .. } => "api_key",
            Self::Certificate { .. } => "certificate",
            Self::SshPublicKey { .. } => "ssh_public_key",
        }
    }

    /// The fingerprint, of what has one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        match self {
            Self::Certificate { fingerprint, .. } | Self::SshPublicKey { fingerprint, .. } => {
                Some(fingerprint)
            }
            Self::Password { .. } | Self::ApiKey { .. } => None,
        }
    }

    /// The public key, of what is one.
    #[must_use]
    pub fn public_key(&self) -> Option<&str> {
        match self {
            Self::SshPublicKey { public_key, .. } => Some(public_key),
            _ => None,
        }
    }
}

impl Credential {
    /// Whether it proves anything at a moment.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        !self.disabled && self.expires_at.is_none_or(|end| now < end)
    }

    /// Its key below the collection's root.
    pub(crate) fn key(&self) -> String {
        format!("{}{}", prefix_of(&self.principal), self.id)
    }
}

impl Record for Credential {
    const ROOT: &'static str = "/photon/iam/credential/";

    fn index_keys(&self, _key: &str) -> Vec<String> {
        let mut keys = vec![id_index(self.id)];
        let of = prefix_of(&self.principal);
        match &self.material {
            // One each.
            Material::Password { .. } => keys.push(password_index(&self.principal)),
            Material::ApiKey { .. } => {}
            Material::Certificate { fingerprint, .. } => keys.push(certificate_index(fingerprint)),
            Material::SshPublicKey { fingerprint, .. } => {
                let hex = crate::hex::encode(fingerprint.as_bytes());
                keys.push(format!("/photon/iam/name/ssh_public_key/{of}{hex}"));
            }
        }
        keys
    }
}

/// Where a principal's credentials lie.
pub(crate) fn prefix_of(principal: &PrincipalRef) -> String {
    format!("{}/{}/", principal.kind, principal.id)
}

fn id_index(id: CredentialId) -> String {
    format!("/photon/iam/id/credential/{id}")
}

fn password_index(principal: &PrincipalRef) -> String {
    format!(
        "/photon/iam/name/password/{}/{}",
        principal.kind, principal.id
    )
}

fn certificate_index(fingerprint: &str) -> String {
    format!("/photon/iam/name/certificate/{fingerprint}")
}

/// A credential as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What is stored; of it the doors show no hash.
    pub credential: Credential,
    /// To a minute.
    pub last_used_at: Option<Timestamp>,
}

/// A credential that was just made.
#[derive(Debug)]
pub struct Made {
    /// The credential.
    pub shown: Versioned<Shown>,
    /// The API key, if it is one: here and nowhere else.
    pub secret: Option<Secret>,
}

/// An API key for a principal that cannot ask for one itself, with what is to be stored of it.
///
/// # Errors
/// When there are no random bytes.
pub(crate) fn one_time_key(
    principal: &PrincipalRef,
    by: &str,
    expires_at: Timestamp,
) -> Result<(Credential, Secret), Error> {
    let id = CredentialId::generate();
    let (key, sha256) = api_key::generate(id)?;
    let credential = Credential {
        id,
        principal: principal.clone(),
        label: "one-time credential".to_owned(),
        disabled: false,
        created_at: crate::clock::now(),
        created_by: by.to_owned(),
        expires_at: Some(expires_at),
        material: Material::ApiKey { sha256 },
    };
    Ok((credential, key))
}
