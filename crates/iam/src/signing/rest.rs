//! `/api/v1/signing-keys`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::PublicKey;
use photon_core::Name;
use photon_server::{
    face::rfc3339,
    rest::{Created, Data, Json, Path, RestError, RestResult},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KeyState, service};
use crate::{
    app::App,
    rest::{Envelope, Failure, schema::IdText},
};

/// A new key to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// After how many seconds it is to sign; when absent, after those that are configured, so that everybody who keeps our
    /// key set has asked for it again. With 0 it signs at once: when one was stolen, which is then to be ended.
    #[serde(default)]
    signs_after_seconds: Option<u32>,
}

/// A key that tokens are signed with: its public half.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    kid: String,
    /// `published`: signs later; `signing`; `verifying`: older tokens; `retired`.
    state: &'static str,
    /// The `iss` of its tokens.
    issuer: String,
    /// Of dev mode; verifiers in enforce mode do not know it.
    dev: bool,
    /// Signs from then on.
    #[schema(format = DateTime)]
    not_before: String,
    /// Verifies until then; null while it has not been superseded.
    #[schema(format = DateTime)]
    not_after: Option<String>,
    /// The public key (RFC 7517).
    #[schema(value_type = Object)]
    jwk: serde_json::Value,
}

/// Keys, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<KeyView>,
}

impl From<(PublicKey, KeyState)> for KeyView {
    fn from((key, state): (PublicKey, KeyState)) -> Self {
        Self {
            kid: key.kid,
            state: state.as_str(),
            issuer: key.issuer,
            dev: key.dev,
            not_before: rfc3339(key.not_before),
            not_after: (key.not_after < Timestamp::MAX).then(|| rfc3339(key.not_after)),
            jwk: key.jwk,
        }
    }
}

/// Lists the keys that tokens are signed with.
#[utoipa::path(
    get, path = "/api/v1/signing-keys", tag = "keys", operation_id = "list_signing_keys",
    responses((status = 200, body = Envelope<KeyList>), Failure)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, ctx: Context) -> RestResult<KeyList> {
    let keys = service::list(&app, &ctx).await?;
    Ok(Data(KeyList {
        keys: keys.into_iter().map(Into::into).collect(),
    }))
}

/// Makes the next key. The one before goes on verifying its tokens.
#[utoipa::path(
    post, path = "/api/v1/signing-keys", tag = "keys", operation_id = "rotate_signing_keys",
    request_body = RotateBody,
    responses((status = 201, body = Envelope<KeyView>), Failure)
)]
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<RotateBody>,
) -> Result<Created<KeyView>, RestError> {
    let made = service::rotate(&app, &ctx, body.signs_after_seconds).await?;
    Ok(Created(made.into()))
}

/// Ends a key at once: whatever it signed is refused. Not one that signs, or is to sign next.
#[utoipa::path(
    delete, path = "/api/v1/signing-keys/{kid}", tag = "keys", operation_id = "end_signing_key",
    params(("kid" = IdText, Path)),
    responses((status = 200, body = Envelope<KeyView>), Failure)
)]
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(kid): Path<Name>,
) -> RestResult<KeyView> {
    Ok(Data(service::end(&app, &ctx, &kid).await?.into()))
}

/// The routes of signing keys.
#[must_use]
pub fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    routes
        .get("/api/v1/signing-keys", "iam.keys.list", list)
        .create("/api/v1/signing-keys", "iam.keys.rotate", rotate)
        .delete("/api/v1/signing-keys/{kid}", "iam.keys.end", end)
}

/// These routes, for the document of all.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, rotate, end))]
pub(crate) struct RestDoc;
