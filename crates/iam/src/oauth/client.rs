//! Which client asks.

use photon_auth::Caller;
use photon_authz::{PrincipalKind, PrincipalRef};
use photon_core::{Error, Name};

use super::form::given;
use crate::{
    app::App,
    credential::Secret,
    login::{self, Authorization, Presented},
};

/// What a form shows of its client (RFC 6749, 2.3.1).
#[derive(Default)]
pub(super) struct ClientFields {
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<String>,
}

/// The service account that asks, proved by one of its API keys: in the header or in the form, not in both.
pub(super) async fn authenticate(
    app: &App,
    presented: &Presented,
    fields: ClientFields,
) -> Result<PrincipalRef, Error> {
    let id = given(fields.client_id);
    let (name, secret) = match (&presented.authorization, given(fields.client_secret)) {
        (Authorization::Basic { name, secret }, None) => {
            if id.as_ref().is_some_and(|id| id != name.as_str()) {
                return Err(twice());
            }
            (name.clone(), secret.clone())
        }
        (Authorization::None, Some(secret)) => {
            let id = id.ok_or_else(|| Error::required("client_id"))?;
            // What cannot be an id is nobody's.
            let name = Name::new(id).map_err(|_| login::refused())?;
            (name, Secret::from(secret))
        }
        (Authorization::None, None) => {
            return Err(Error::unauthenticated(
                "a client must prove itself, by HTTP Basic or by client_id and client_secret",
            ));
        }
        (Authorization::Basic { .. }, Some(_)) => return Err(twice()),
        _ => return Err(login::refused()),
    };
    let client = PrincipalRef::service_account(name);
    login::by_secret(app, &client, secret, presented.source).await?;
    Ok(client)
}

fn twice() -> Error {
    Error::validation(
        "client_id",
        "exclusive",
        "the client must prove itself in one way, not in two",
    )
}

/// Whoever asks about a token: a client, or a caller with a token or certificate of its own.
pub(super) async fn asker(
    app: &App,
    presented: &Presented,
    fields: ClientFields,
) -> Result<Caller, Error> {
    let is_client = fields.client_secret.is_some()
        || matches!(presented.authorization, Authorization::Basic { .. });
    if is_client {
        let client = authenticate(app, presented, fields).await?;
        return Ok(presented.proved(client));
    }
    let caller = presented.caller(app, PrincipalKind::ServiceAccount).await?;
    caller.ok_or_else(|| Error::unauthenticated("a credential is required"))
}
