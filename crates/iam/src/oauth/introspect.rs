//! Introspection (RFC 7662).

use std::sync::Arc;

use axum::extract::State;
use photon_auth::{Actor, Claims};
use photon_authz::PrincipalRef;
use photon_core::{Code, Error};
use photon_server::{RestError, rest::Data};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    client::{self, ClientFields},
    family::{self, Shown},
    form::{Form, given},
};
use crate::{app::App, login::Presented, token::service};

/// A token to be looked at.
#[derive(Deserialize, ToSchema)]
pub(super) struct AboutForm {
    #[serde(default)]
    #[schema(required = true, nullable = false)]
    pub(super) token: Option<String>,
    /// `access_token` or `refresh_token`; not needed, as they are told apart by how they look.
    #[serde(default)]
    #[expect(dead_code, reason = "a hint that is not needed")]
    token_type_hint: Option<String>,
    #[serde(default)]
    pub(super) client_id: Option<String>,
    #[serde(default)]
    pub(super) client_secret: Option<String>,
}

impl AboutForm {
    pub(super) fn parts(self) -> Result<(String, ClientFields), Error> {
        let fields = ClientFields {
            client_id: self.client_id,
            client_secret: self.client_secret,
        };
        let token = given(self.token).ok_or_else(|| Error::required("token"))?;
        Ok((token, fields))
    }
}

/// What a token says.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Introspection {
    /// False: it would be refused, or the caller may not know of it; nothing else is here.
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// Which kind of principal `sub` is: `user`, `service_account`, `service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ptype: Option<String>,
    /// The subject with its kind, as bindings and the audit name it: ids of two kinds may be the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "service_account:build")]
    principal: Option<String>,
    /// Who acts as the subject, if that is somebody else (RFC 8693, 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    act: Option<Actor>,
}

/// An error of RFC 6749, 5.2.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OAuthError {
    #[schema(example = "invalid_grant")]
    error: String,
    error_description: String,
}

/// Whether a token is active, and what it says.
#[utoipa::path(
    post, path = "/oauth2/introspect", tag = "oauth", operation_id = "oauth_introspect",
    request_body(content = AboutForm, content_type = "application/x-www-form-urlencoded"),
    security(("basic" = []), ("bearer" = [])),
    responses(
        (status = 200, body = Introspection),
        (status = 400, description = "RFC 6749, 5.2", body = OAuthError),
        (status = 401, description = "The caller is not accepted", body = OAuthError),
        (status = 415, description = "Not a form", body = OAuthError),
        (status = 429, description = "Too many attempts", body = OAuthError),
        (status = 503, description = "Try again", body = OAuthError),
    )
)]
pub(super) async fn introspect(
    State(app): State<Arc<App>>,
    presented: Presented,
    Form(form): Form<AboutForm>,
) -> Result<Data<Introspection>, RestError> {
    let (token, fields) = form.parts()?;
    let caller = client::asker(&app, &presented, fields).await?;
    if let Some(shown) = Shown::read(&token) {
        let family = family::look(&app, &shown).await?;
        let own = family.filter(|family| caller.is(&family.client));
        return Ok(Data(own.map_or_else(Introspection::default, |family| {
            Introspection {
                active: true,
                scope: Some(family.scope.to_string()),
                client_id: Some(family.client.id.to_string()),
                exp: Some(family.expires_at.as_second()),
                token_type: Some("refresh_token"),
                ..Introspection::about(&family.client)
            }
        })));
    }
    let ctx = app.auth.context(
        caller,
        service::permission("iam.tokens.verify")?,
        presented.request_id,
        presented.deadline,
    );
    match service::verify(&app, &ctx, &token).await {
        Ok(claims) => Ok(Data(claims.map_or_else(Introspection::default, |claims| {
            Introspection::of(&claims)
        }))),
        // Who may not know of a token is told what of one that is not active (RFC 7662, 2.2).
        Err(error) if error.code() == Code::FORBIDDEN => Ok(Data(Introspection::default())),
        Err(error) => Err(error.into()),
    }
}

impl Introspection {
    /// Of whom a token is.
    fn about(principal: &PrincipalRef) -> Self {
        Self {
            sub: Some(principal.id.to_string()),
            ptype: Some(principal.kind.to_string()),
            principal: Some(principal.to_string()),
            ..Self::default()
        }
    }

    fn of(claims: &Claims) -> Self {
        Self {
            active: true,
            scope: Some(claims.scope.clone()),
            client_id: Some(claims.client_id.clone()),
            token_type: Some("Bearer"),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            nbf: Some(claims.nbf),
            aud: Some(claims.aud.clone()),
            iss: Some(claims.iss.clone()),
            jti: Some(claims.jti.clone()),
            act: claims.act.clone(),
            ..Self::about(&claims.principal())
        }
    }
}
