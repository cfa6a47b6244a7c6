//! OAuth 2.0 for programs: `/oauth2/token`, `/oauth2/introspect` (RFC 7662), `/oauth2/revoke` (RFC 7009).
//!
//! ```text
//!   client_credentials ──> access token            scope=offline_access: and a refresh token, which begins a family
//!   refresh_token 1 ──> access token, refresh token 2 ──> access token, refresh token 3 ──> …
//!        └── shown again: somebody else has a copy. The family ends, and every access token of it.
//! ```
//!
//! A client is a service account; its secret is one of its API keys. A token is for one scope of ours, which the client
//! names in `scope` (`project:shop`); without it, for the project the service account belongs to. There is no password
//! grant and no implicit one, and no login page yet.
//!
//! Requests are forms, and errors look as in RFC 6749, 5.2: these routes have a door and a face of their own.

mod client;
mod face;
mod family;
mod form;
mod introspect;
mod revoke;
mod token;

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use http::Method;
use photon_auth::rest::Routes;
use photon_core::{Code, Error};
use serde_json::json;

pub use self::face::OAuthFace;
use crate::app::App;

/// The path of the token endpoint.
pub(crate) const TOKEN: &str = "/oauth2/token";
/// The path of the introspection endpoint.
pub(crate) const INTROSPECT: &str = "/oauth2/introspect";
/// The path of the revocation endpoint.
pub(crate) const REVOKE: &str = "/oauth2/revoke";

/// The grants there are.
pub(crate) const GRANTS: [&str; 2] = ["client_credentials", "refresh_token"];
/// The scope that asks for a refresh token.
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

/// These routes, for a door with [`OAuthFace`] that takes any body.
///
/// # Errors
/// Routes that cannot be: a defect.
pub fn router(app: &Arc<App>) -> anyhow::Result<Router> {
    Ok(routes(Routes::new())
        .into_router(&app.auth)
        .context("the routes do not fit together")?
        .with_state(Arc::clone(app)))
}

/// They are open: the client proves itself in the request, in one of the ways of RFC 6749, 2.3.
fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    routes
        .open(Method::POST, TOKEN, token::token)
        .open(Method::POST, INTROSPECT, introspect::introspect)
        .open(Method::POST, REVOKE, revoke::revoke)
}

/// An error with a code of RFC 6749, 5.2.
fn refuse(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(Code::VALIDATION_ERROR, message).with_details(json!({ "oauth": code }))
}

/// These routes, for the document of all.
#[derive(utoipa::OpenApi)]
#[openapi(paths(token::token, introspect::introspect, revoke::revoke))]
pub(crate) struct RestDoc;
