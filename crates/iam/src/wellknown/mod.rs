//! What others find us by: the key set and the discovery documents. Open to everybody, in no envelope.
//!
//! | path | by |
//! |---|---|
//! | `/.well-known/jwks.json` | RFC 7517 |
//! | `/.well-known/openid-configuration` | OpenID Connect Discovery 1.0 |
//! | `/.well-known/oauth-authorization-server` | RFC 8414 |
//! | `/.well-known/authzen-configuration` | OpenID AuthZEN 1.0 |
//!
//! There is no login page yet, so that the documents name no authorization endpoint, and no id tokens.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, Method, header};
use jiff::Timestamp;
use photon_auth::rest::Routes;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{app::App, oauth, signing::KeyState};

/// How long others may keep our key set, in seconds.
pub(crate) const KEY_SET_MAX_AGE_SECONDS: u32 = 900;

/// Public keys (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeySet {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<Value>,
}

fn document<T: Serialize>(content: T) -> Response {
    let mut response = axum::Json(content).into_response();
    let kept = format!("public, max-age={KEY_SET_MAX_AGE_SECONDS}");
    if let Ok(kept) = HeaderValue::from_str(&kept) {
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
    }
    response
}

/// The public keys that tokens are verified with.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "discovery", operation_id = "key_set", security(()),
    responses((status = 200, body = KeySet))
)]
pub(crate) async fn key_set(State(app): State<Arc<App>>) -> Response {
    let keys = app.signing.keys(Timestamp::now());
    document(KeySet {
        keys: keys
            .into_iter()
            .filter(|(_, state)| *state != KeyState::Retired)
            .map(|(key, _)| key.jwk)
            .collect(),
    })
}

/// OpenID Connect Discovery.
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "discovery", operation_id = "openid_configuration",
    security(()), responses((status = 200, body = serde_json::Value))
)]
pub(crate) async fn openid_configuration(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Response {
    let mut content = server(&app, &base(&app, &headers));
    if let Value::Object(content) = &mut content {
        content.insert("subject_types_supported".into(), json!(["public"]));
        content.insert(
            "id_token_signing_alg_values_supported".into(),
            json!(["ES256"]),
        );
        let claims = [
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "nbf",
            "jti",
            "client_id",
            "scope",
        ];
        content.insert("claims_supported".into(), json!(claims));
    }
    document(content)
}

/// OAuth 2.0 authorization server metadata.
#[utoipa::path(
    get, path = "/.well-known/oauth-authorization-server", tag = "discovery",
    operation_id = "oauth_authorization_server", security(()),
    responses((status = 200, body = serde_json::Value))
)]
pub(crate) async fn authorization_server(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Response {
    document(server(&app, &base(&app, &headers)))
}

/// Where decisions are asked for.
#[utoipa::path(
    get, path = "/.well-known/authzen-configuration", tag = "discovery", operation_id = "authzen_configuration",
    security(()), responses((status = 200, body = serde_json::Value))
)]
pub(crate) async fn authzen_configuration(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Response {
    let base = base(&app, &headers);
    document(json!({
        "policy_decision_point": base,
        "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
        "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
    }))
}

fn server(app: &App, base: &str) -> Value {
    let methods = ["client_secret_basic", "client_secret_post"];
    json!({
        "issuer": app.signing.issuer(),
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "token_endpoint": format!("{base}{}", oauth::TOKEN),
        "introspection_endpoint": format!("{base}{}", oauth::INTROSPECT),
        "revocation_endpoint": format!("{base}{}", oauth::REVOKE),
        "grant_types_supported": oauth::GRANTS,
        "response_types_supported": [],
        "scopes_supported": [oauth::OFFLINE_ACCESS],
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
    })
}

/// The URL that others reach us by: as configured, else the issuer. In dev mode, where the issuer is no URL, what the
/// request was sent to: only this machine is heard there.
fn base(app: &App, headers: &HeaderMap) -> String {
    if let Some(url) = &app.config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    if !app.is_dev() {
        return app.config.issuer.trim_end_matches('/').to_owned();
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost:8083"))
}

/// These routes.
#[must_use]
pub fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    let get = Method::GET;
    routes
        .open(get.clone(), "/.well-known/jwks.json", key_set)
        .open(
            get.clone(),
            "/.well-known/openid-configuration",
            openid_configuration,
        )
        .open(
            get.clone(),
            "/.well-known/oauth-authorization-server",
            authorization_server,
        )
        .open(
            get,
            "/.well-known/authzen-configuration",
            authzen_configuration,
        )
}

/// These routes, for the document of all.
#[derive(utoipa::OpenApi)]
#[openapi(paths(
    key_set,
    openid_configuration,
    authorization_server,
    authzen_configuration
))]
pub(crate) struct RestDoc;
