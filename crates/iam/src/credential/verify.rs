//! Whether a secret is a principal's.
//!
//! Only looks; that guesses are counted is the caller's business ([`crate::login`]).

use jiff::Timestamp;
use photon_authz::PrincipalRef;
use photon_core::Error;
use photon_store::Stored;

use super::{Credential, CredentialId, Material, Secret, api_key, id_index, password_index};
use crate::app::App;

/// Where nobody's password lies.
const NOBODY: &str = "user/-/-";

/// The password of a principal.
pub(super) async fn password_of(
    app: &App,
    principal: &PrincipalRef,
) -> Result<Option<Stored<Credential>>, Error> {
    let records = app.records::<Credential>();
    Ok(records.get_by_index(&password_index(principal)).await?)
}

/// Whether it is the principal's password. That there is none, that it has expired or that the principal does not exist
/// costs what a wrong one does.
pub(crate) async fn password(
    app: &App,
    principal: &PrincipalRef,
    password: Secret,
) -> Result<bool, Error> {
    let now = Timestamp::now();
    let found = password_of(app, principal).await?;
    if found.is_none() {
        // What the index leads to where there is one: the same number of reads.
        let _ = app.records::<Credential>().get(NOBODY).await?;
    }
    let usable = found.filter(|found| found.value.is_usable(now));
    let hash = usable
        .as_ref()
        .and_then(|found| match &found.value.material {
            Material::Password { hash } => Some(hash.clone()),
            _ => None,
        });
    let right = app.hasher.matches(hash, password).await?;
    if let (true, Some(credential)) = (right, &usable) {
        app.used.touch(credential, now).await;
    }
    Ok(right)
}

/// Whose API key it is.
pub(crate) async fn api_key(
    app: &App,
    id: CredentialId,
    key: &Secret,
) -> Result<Option<PrincipalRef>, Error> {
    let now = Timestamp::now();
    let records = app.records::<Credential>();
    let found = records.get_by_index(&id_index(id)).await?;
    let usable = found.filter(|found| found.value.is_usable(now));
    let digest = usable
        .as_ref()
        .and_then(|found| match &found.value.material {
            Material::ApiKey { sha256 } => Some(sha256.as_str()),
            _ => None,
        });
    if !api_key::matches(digest, key.expose()) {
        return Ok(None);
    }
    let Some(credential) = usable else {
        return Ok(None);
    };
    app.used.touch(&credential, now).await;
    Ok(Some(credential.value.principal))
}

/// Which credential an API key says it is of.
pub(crate) fn key_id(key: &Secret) -> Option<CredentialId> {
    api_key::id_of(key.expose())
}
