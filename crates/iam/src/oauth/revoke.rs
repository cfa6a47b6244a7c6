//! Revocation (RFC 7009).

use std::sync::Arc;

use axum::extract::State;
use photon_core::Code;
use photon_server::{RestError, rest::Data};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    client,
    family::{self, Shown},
    form::Form,
    introspect::{AboutForm, OAuthError},
    refuse,
};
use crate::{
    app::App,
    credential::Secret,
    login::Presented,
    token::{What, service},
};

/// Nothing: that it is done, the status says.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Done {}

/// Ends a token; with a refresh token everything that came from it. One that is no token, or has ended, has ended.
#[utoipa::path(
    post, path = "/oauth2/revoke", tag = "oauth", operation_id = "oauth_revoke",
    request_body(content = AboutForm, content_type = "application/x-www-form-urlencoded"),
    security(("basic" = []), ("bearer" = [])),
    responses(
        (status = 200, body = Done),
        (status = 400, description = "RFC 6749, 5.2", body = OAuthError),
        (status = 401, description = "The caller is not accepted", body = OAuthError),
        (status = 415, description = "Not a form", body = OAuthError),
        (status = 429, description = "Too many attempts", body = OAuthError),
        (status = 503, description = "Try again", body = OAuthError),
    )
)]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    presented: Presented,
    Form(form): Form<AboutForm>,
) -> Result<Data<Done>, RestError> {
    let (token, fields) = form.parts()?;
    let caller = client::asker(&app, &presented, fields).await?;
    let own = caller.principal().cloned();
    let ctx = app.auth.context(
        caller,
        service::permission("iam.tokens.revoke")?,
        presented.request_id,
        presented.deadline,
    );
    match (Shown::read(&token), own) {
        (Some(shown), Some(client)) => family::revoke(&app, &ctx, &shown, &client).await?,
        // A refresh token is its client's alone.
        (Some(_), None) => {}
        (None, _) => {
            let what = What::Token(Secret::from(token));
            match service::revoke(&app, &ctx, what).await {
                Ok(_) => {}
                Err(error) if error.code() == Code::FORBIDDEN => {
                    let message = "the token was not issued to this client";
                    return Err(refuse("unauthorized_client", message).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Data(Done {}))
}
