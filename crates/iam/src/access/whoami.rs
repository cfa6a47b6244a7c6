//! `/api/v1/whoami`.

use std::sync::Arc;

use axum::extract::State;
use photon_auth::Context;
use photon_authz::Scope;
use photon_core::Name;
use photon_server::rest::{Data, RestResult};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    rest::{Envelope, Failure},
};

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// As `user:alice`; `dev-operator` for a request without a credential in dev mode.
    #[schema(example = "user:alice")]
    principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_type: Option<String>,
    /// What the token is for; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "project:shop")]
    scope: Option<String>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// The groups it is in, also by other groups.
    groups: Vec<String>,
    /// `dev` or `enforce`.
    mode: &'static str,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<String>,
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/api/v1/whoami", tag = "auth", operation_id = "whoami",
    responses((status = 200, body = Envelope<WhoAmI>), Failure)
)]
pub(crate) async fn whoami(State(app): State<Arc<App>>, ctx: Context) -> RestResult<WhoAmI> {
    ctx.allow_self();
    let caller = &ctx.caller;
    let principal = caller.principal();
    let groups = principal.map(|principal| {
        let policies = app.policies();
        let groups = policies.groups_of(principal);
        groups.iter().map(Name::to_string).collect()
    });
    Ok(Data(WhoAmI {
        principal: caller.who.to_string(),
        principal_id: principal.map(|principal| principal.id.to_string()),
        principal_type: principal.map(|principal| principal.kind.to_string()),
        scope: caller.limit.as_ref().map(Scope::to_string),
        token_id: caller.token_id.as_deref().map(str::to_owned),
        groups: groups.unwrap_or_default(),
        mode: if app.is_dev() { "dev" } else { "enforce" },
        source_address: caller.source.map(|source| source.to_string()),
    }))
}
