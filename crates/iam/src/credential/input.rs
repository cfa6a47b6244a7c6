//! What is asked of credentials.

use jiff::Timestamp;
use photon_authz::PrincipalRef;
use photon_core::Error;
use serde::{Deserialize, Deserializer};

use super::Secret;
use crate::text::Label;

/// A credential to be made.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// Whose; without it the caller's own.
    pub principal: Option<PrincipalRef>,
    /// What it is.
    pub material: NewMaterial,
    /// What people call it.
    pub label: Option<Label>,
    /// From then on it proves nothing.
    pub expires_at: Option<Timestamp>,
    /// The caller's password, where its token is for less than it may do.
    pub current_password: Option<Secret>,
}

/// What a new credential is.
#[derive(Clone, Debug)]
pub enum NewMaterial {
    /// This password.
    Password(Secret),
    /// An API key that is made up.
    ApiKey,
    /// This certificate, PEM.
    Certificate(String),
    /// This line of `authorized_keys`.
    SshPublicKey(String),
}

impl NewMaterial {
    /// What a kind and the fields that go with some kinds mean.
    ///
    /// # Errors
    /// A kind there is not, a field that is missing, or one that does not go with the kind.
    pub fn of(
        kind: &str,
        password: Option<Secret>,
        certificate: Option<String>,
        public_key: Option<String>,
    ) -> Result<Self, Error> {
        let given = [
            ("password", password.is_some()),
            ("certificate", certificate.is_some()),
            ("public_key", public_key.is_some()),
        ];
        let (material, needed) = match kind {
            "password" => (password.map(Self::Password), "password"),
            "api_key" => (Some(Self::ApiKey), ""),
            "certificate" => (certificate.map(Self::Certificate), "certificate"),
            "ssh_public_key" => (public_key.map(Self::SshPublicKey), "public_key"),
            _ => {
                return Err(Error::validation(
                    "kind",
                    "enum",
                    "kind must be one of password, api_key, certificate, ssh_public_key",
                ));
            }
        };
        if let Some((other, _)) = given.iter().find(|(name, is)| *is && *name != needed) {
            return Err(Error::validation(
                other,
                "exclusive",
                format!("{other} does not go with kind {kind}"),
            ));
        }
        material.ok_or_else(|| Error::required(needed))
    }
}

/// What changes of a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialChange {
    /// What people call it.
    pub label: Option<Label>,
    /// Whether it proves nothing for now.
    pub disabled: Option<bool>,
    /// From then on it proves nothing; `Some(None)`: for ever.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Tells a member that is `null` from one that is not there; for `#[serde(default, deserialize_with = …)]`.
pub(crate) fn is_given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn each_kind_has_its_fields() {
        let password = || Some(Secret::from("12345678".to_owned()));
        let text = || Some("x".to_owned());
        assert!(NewMaterial::of("password", password(), None, None).is_ok());
        assert!(NewMaterial::of("api_key", None, None, None).is_ok());
        assert!(NewMaterial::of("certificate", None, text(), None).is_ok());
        assert!(NewMaterial::of("ssh_public_key", None, None, text()).is_ok());
        let refused = |kind, password, certificate, public_key| {
            let error = NewMaterial::of(kind, password, certificate, public_key).unwrap_err();
            error.details().unwrap()["field"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(refused("password", None, None, None), "password");
        assert_eq!(refused("api_key", password(), None, None), "password");
        assert_eq!(refused("certificate", None, None, None), "certificate");
        assert_eq!(refused("certificate", None, text(), text()), "public_key");
        assert_eq!(refused("totp", None, None, None), "kind");
    }
}
