//! `/api/v1/billing/{org}`.

use std::sync::Arc;

use axum::extract::State;
use http::Method;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Terms, service};
use crate::{
    app::App,
    rest::{Envelope, Failure, schema::IdText},
};

const ORG: &str = "/api/v1/billing/{org}";

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .get(ORG, "creditservice.billing.get", get)
        .once(Method::PUT, ORG, "creditservice.billing.update", set)
        .once(Method::DELETE, ORG, "creditservice.billing.update", unset)
}

/// Whether an org's projects must have a wallet.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewTerms)]
#[serde(deny_unknown_fields)]
pub(crate) struct TermsBody {
    /// Services refuse to create things for a project of the org that has no wallet.
    required: bool,
}

/// An org's terms.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Terms)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    org_id: Name,
    /// Whether services refuse to create things for a project without a wallet.
    required: bool,
    /// Whether somebody said so for this org; else it is the configuration's.
    own: bool,
}

impl From<Terms> for Answer {
    fn from(terms: Terms) -> Self {
        Self {
            org_id: terms.org,
            required: terms.required,
            own: terms.own,
        }
    }
}

/// Whether an org's projects must have a wallet.
#[utoipa::path(
    get, path = "/api/v1/billing/{org}", tag = "billing", operation_id = "get_billing",
    params(("org" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(org): Path<Name>,
) -> RestResult<Answer> {
    Ok(Data(service::get(&app, &ctx, org).await?.into()))
}

/// Says whether an org's projects must have a wallet. Repeating it changes nothing.
#[utoipa::path(
    put, path = "/api/v1/billing/{org}", tag = "billing", operation_id = "set_billing",
    params(("org" = IdText, Path)),
    request_body = TermsBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(org): Path<Name>,
    Json(body): Json<TermsBody>,
) -> RestResult<Answer> {
    let terms = service::set(&app, &ctx, org, Some(body.required)).await?;
    Ok(Data(terms.into()))
}

/// Leaves it to the configuration again.
#[utoipa::path(
    delete, path = "/api/v1/billing/{org}", tag = "billing", operation_id = "unset_billing",
    params(("org" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn unset(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(org): Path<Name>,
) -> RestResult<Answer> {
    Ok(Data(service::set(&app, &ctx, org, None).await?.into()))
}
