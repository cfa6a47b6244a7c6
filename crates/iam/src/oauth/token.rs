//! The token endpoint (RFC 6749, 3.2).

use std::sync::Arc;

use axum::extract::State;
use photon_auth::{Caller, Context};
use photon_authz::{PrincipalRef, Scope};
use photon_core::{Code, Error, Name};
use photon_server::{RestError, rest::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    OFFLINE_ACCESS,
    client::{self, ClientFields},
    family::{self, Shown},
    form::{Form, given},
    refuse,
};
use crate::{
    app::App,
    credential::{Secret, service::home_of},
    login::Presented,
    scope,
    token::{Issued, Terms, service},
};

/// A request for tokens.
#[derive(Deserialize, ToSchema)]
pub(super) struct TokenForm {
    /// `client_credentials` or `refresh_token`.
    #[serde(default)]
    #[schema(required = true, nullable = false)]
    grant_type: Option<String>,
    /// What the token is for: `project:shop`; and `offline_access` for a refresh token.
    #[serde(default)]
    scope: Option<String>,
    /// Of `refresh_token`: the token.
    #[serde(default)]
    refresh_token: Option<String>,
    /// The service account, where HTTP Basic does not name it.
    #[serde(default)]
    client_id: Option<String>,
    /// One of its API keys.
    #[serde(default)]
    client_secret: Option<String>,
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthTokens)]
pub(super) struct OAuthTokens {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds it lives.
    expires_in: i64,
    /// What it is for.
    #[schema(example = "project:shop")]
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Issues an access token, and where it is asked for a refresh token.
#[utoipa::path(
    post, path = "/oauth2/token", tag = "oauth", operation_id = "oauth_token",
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    security((), ("basic" = [])),
    responses(
        (status = 200, body = OAuthTokens),
        (status = 400, description = "RFC 6749, 5.2", body = super::introspect::OAuthError),
        (status = 401, description = "The client is not accepted", body = super::introspect::OAuthError),
        (status = 415, description = "Not a form", body = super::introspect::OAuthError),
        (status = 429, description = "Too many attempts", body = super::introspect::OAuthError),
        (status = 503, description = "Try again", body = super::introspect::OAuthError),
    )
)]
pub(super) async fn token(
    State(app): State<Arc<App>>,
    presented: Presented,
    Form(form): Form<TokenForm>,
) -> Result<Data<OAuthTokens>, RestError> {
    let grant = given(form.grant_type).ok_or_else(|| Error::required("grant_type"))?;
    let fields = ClientFields {
        client_id: form.client_id,
        client_secret: form.client_secret,
    };
    match grant.as_str() {
        "client_credentials" => {
            let client = client::authenticate(&app, &presented, fields).await?;
            let asked = Asked::read(given(form.scope))?;
            Ok(Data(by_credentials(&app, &presented, client, asked).await?))
        }
        "refresh_token" => {
            let client = client::authenticate(&app, &presented, fields).await?;
            let token =
                given(form.refresh_token).ok_or_else(|| Error::required("refresh_token"))?;
            let asked = Asked::read(given(form.scope))?;
            Ok(Data(
                by_refresh(&app, &presented, client, &token, asked).await?,
            ))
        }
        _ => Err(refuse(
            "unsupported_grant_type",
            "grant_type must be client_credentials or refresh_token",
        )
        .into()),
    }
}

/// What `scope` asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    scope: Option<Scope>,
    offline: bool,
}

impl Asked {
    fn read(text: Option<String>) -> Result<Self, Error> {
        let mut asked = Self::default();
        for word in text.as_deref().unwrap_or_default().split_ascii_whitespace() {
            if word == OFFLINE_ACCESS {
                asked.offline = true;
                continue;
            }
            let scope = word.parse::<Scope>().map_err(|_| {
                refuse(
                    "invalid_scope",
                    "scope must be one of system, org:<id> and project:<id>, and maybe offline_access",
                )
            })?;
            if asked.scope.replace(scope).is_some() {
                return Err(refuse(
                    "invalid_scope",
                    "a token is for one scope, not for several",
                ));
            }
        }
        Ok(asked)
    }
}

fn context(app: &App, presented: &Presented, client: &PrincipalRef) -> Result<Context, Error> {
    let caller: Caller = presented.proved(client.clone());
    Ok(app.auth.context(
        caller,
        service::permission("iam.tokens.issue")?,
        presented.request_id,
        presented.deadline,
    ))
}

async fn by_credentials(
    app: &App,
    presented: &Presented,
    client: PrincipalRef,
    asked: Asked,
) -> Result<OAuthTokens, Error> {
    let ctx = context(app, presented, &client)?;
    let at = match asked.scope {
        Some(scope) => scope,
        None => home_of(app, &client).await?,
    };
    refuse_unknown(app, &at).await.map_err(as_scope)?;
    service::refuse_unbound(app, &ctx, &client, &at).map_err(as_scope)?;
    let subject = service::subject(app, client.clone(), at.clone())
        .await
        .map_err(as_scope)?;
    let ttl = app.config.tokens.ttl(None)?;
    subject.wait().await?;
    let family = asked.offline.then(family::new_id);
    let terms = Terms {
        client: Some(&client.id),
        family: family.as_deref(),
        ..Terms::of(ttl)
    };
    let issued = subject.sign(&app.signing, terms)?;
    let refresh = match &family {
        Some(id) => Some(family::begin(app, &ctx, &subject, id, &issued).await?),
        None => None,
    };
    tracing::info!(
        request_id = %presented.request_id, %client, scope = %at, jti = issued.claims.jti,
        "issued a token to a client"
    );
    Ok(answer(issued, &at, refresh))
}

/// No project is made for a client that asks for one there is not.
async fn refuse_unknown(app: &App, at: &Scope) -> Result<(), Error> {
    let Some(id) = at.id() else { return Ok(()) };
    let id: &Name = id;
    if scope::resolve(app, id).await?.as_ref() == Some(at) {
        return Ok(());
    }
    // As of one there is where the client has nothing.
    Err(service::unbound(id.as_str()))
}

/// What is wrong with the scope, in OAuth's word for it.
fn as_scope(error: Error) -> Error {
    match error.code() {
        Code::FORBIDDEN => refuse("invalid_scope", error.message().to_owned()),
        _ => error,
    }
}

async fn by_refresh(
    app: &App,
    presented: &Presented,
    client: PrincipalRef,
    token: &str,
    asked: Asked,
) -> Result<OAuthTokens, Error> {
    let ctx = context(app, presented, &client)?;
    let not_accepted = || refuse("invalid_grant", "the refresh token is not accepted");
    let shown = Shown::read(token).ok_or_else(not_accepted)?;
    // Looked at before the token is used up: a scope that was never given is no reason to lose it.
    if let Some(scope) = &asked.scope {
        let family = family::look(app, &shown).await?;
        if family.is_some_and(|family| family.client == client && family.scope != *scope) {
            return Err(refuse(
                "invalid_scope",
                "the refresh token is for another scope",
            ));
        }
    }
    let ttl = app.config.tokens.ttl(None)?;
    let (issued, next, at) = family::refresh(app, &ctx, &client, &shown, ttl).await?;
    Ok(answer(issued, &at, Some(next)))
}

fn answer(issued: Issued, at: &Scope, refresh: Option<Secret>) -> OAuthTokens {
    let offline = if refresh.is_some() {
        " offline_access"
    } else {
        ""
    };
    OAuthTokens {
        access_token: issued.token.expose().to_owned(),
        token_type: "Bearer",
        expires_in: issued.claims.exp - issued.claims.iat,
        scope: format!("{at}{offline}"),
        refresh_token: refresh.map(|token| token.expose().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn one_scope_and_maybe_offline_access() {
        let read = |text: &str| Asked::read(Some(text.to_owned()));
        let asked = read("offline_access project:shop").unwrap();
        assert!(asked.offline);
        assert_eq!(asked.scope.unwrap().to_string(), "project:shop");
        assert_eq!(Asked::read(None).unwrap(), Asked::default());
        for bad in ["shop", "project:", "project:a project:b", "openid"] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.details().unwrap()["oauth"], "invalid_scope", "{bad}");
        }
    }
}
