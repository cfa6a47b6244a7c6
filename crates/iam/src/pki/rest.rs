//! `/api/v1/pki/renew`, `/api/v1/host-tokens…`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::Method;
use photon_auth::{Context, rest::Routes};
use photon_core::{Error, Name};
use photon_server::{
    Peer, RequestId,
    rest::{Created, Data, Json, Path, Query, RestResult},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi, ToSchema};
use uuid::Uuid;

use super::{
    host_token::{self, HostToken, HostTokenId, NewHostToken},
    join::{self, Requests, Visitor},
    renewal,
};
use crate::{
    app::App,
    credential::Secret,
    listing::Ask,
    rest::{Envelope, ErrorEnvelope, Failure, IfMatch, IfMatchHeader, Removed, removed},
};

/// The paths of this module, for the service's document.
#[derive(OpenApi)]
#[openapi(paths(renew, create, list, delete, redeem))]
pub(crate) struct RestDoc;

/// The routes, each with what it needs. Renewal and joining have proofs of their own.
pub(crate) fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    routes
        .open(Method::POST, "/api/v1/pki/renew", renew)
        .create("/api/v1/host-tokens", "iam.host_tokens.create", create)
        .get("/api/v1/host-tokens", "iam.host_tokens.list", list)
        .delete("/api/v1/host-tokens/{id}", "iam.host_tokens.delete", delete)
        .open(Method::POST, "/api/v1/host-tokens/redeem", redeem)
}

/// A certificate to be renewed: the one of the connection.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewBody {
    /// A PKCS#10 signing request (PEM) of the new key. Nothing but the key is taken from it.
    csr: String,
}

/// A certificate in place of the one that was shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RenewedView {
    common_name: String,
    /// The certificate, PEM.
    certificate: String,
    /// The authority's certificate, PEM.
    ca: String,
    serial: String,
    #[schema(format = DateTime)]
    not_after: String,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewHostToken)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    /// The name of the host that is to join.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9._-]{0,62}$", example = "host-7")]
    host: Option<String>,
    /// Seconds it can be used: 60 to 604,800; 3600 when absent.
    #[schema(minimum = 60, maximum = 604_800)]
    ttl_seconds: Option<u64>,
}

/// A token, without the token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HostTokenView {
    #[schema(example = "hst-0198f1a2-7b3c-7def-8123-456789abcdef")]
    id: String,
    host: String,
    #[schema(format = DateTime)]
    created_at: String,
    created_by: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// When the host joined with it.
    #[schema(format = DateTime)]
    used_at: Option<String>,
    used_from: Option<String>,
    revision: i64,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeHostToken)]
pub(super) struct MadeView {
    #[serde(flatten)]
    shown: HostTokenView,
    /// The token. It is shown here and never again.
    token: String,
}

/// Tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HostTokenList {
    host_tokens: Vec<HostTokenView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The most rows to answer with; 1 to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Continues a list.
    page_token: Option<String>,
}

/// A token to be used up. Either `csr` or `csrs`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedeemBody {
    /// The token.
    #[schema(value_type = String, format = Password)]
    token: Secret,
    /// A PKCS#10 signing request (PEM) of one key for all agents of the host.
    csr: Option<String>,
    /// Signing requests by the agents' names, a key for each: `{"prismnet-agent": "-----BEGIN …"}`.
    csrs: Option<BTreeMap<String, String>>,
}

/// What a host got that has joined.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JoinedView {
    host: String,
    /// The authority's certificate, PEM.
    ca: String,
    certificates: Vec<AgentCertificateView>,
}

/// One agent's certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AgentCertificateView {
    /// The agent.
    name: String,
    /// Who it is to others: `<agent>@<host>`.
    common_name: String,
    /// The certificate, PEM.
    certificate: String,
    #[schema(format = DateTime)]
    not_after: String,
}

/// Renews the client certificate of this connection: the same names, another key.
#[utoipa::path(
    post, path = "/api/v1/pki/renew", tag = "certificates", operation_id = "renew_certificate",
    request_body = RenewBody, security(()),
    responses(
        (status = 200, body = Envelope<RenewedView>),
        (status = 501, description = "This IAM issues no certificates.", body = ErrorEnvelope),
        Failure
    )
)]
pub(super) async fn renew(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    request_id: Option<Extension<RequestId>>,
    Json(body): Json<RenewBody>,
) -> RestResult<RenewedView> {
    let peer = peer.map(|Extension(peer)| peer);
    let renewed = renewal::renew(&app, peer.as_ref(), id_of(request_id), &body.csr).await?;
    Ok(Data(RenewedView {
        common_name: renewed.description.common_name,
        certificate: renewed.certificate,
        ca: renewed.authority,
        serial: renewed.description.serial,
        not_after: renewed.description.not_after.to_string(),
    }))
}

/// Makes a one-time token for a host to join with.
#[utoipa::path(
    post, path = "/api/v1/host-tokens", tag = "certificates", operation_id = "create_host_token",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<MadeView>), Failure)
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Created<MadeView>, photon_server::RestError> {
    let host = body
        .host
        .as_deref()
        .ok_or_else(|| Error::required("host"))?;
    let new = NewHostToken {
        host: Name::parse_field("host", host)?,
        ttl_seconds: body.ttl_seconds,
    };
    let made = host_token::create(&app, &ctx, &new).await?;
    Ok(Created(MadeView {
        shown: view(made.shown.value, made.shown.revision),
        token: made.token.expose().to_owned(),
    }))
}

/// Lists the tokens there are, and those that were used or have expired lately.
#[utoipa::path(
    get, path = "/api/v1/host-tokens", tag = "certificates", operation_id = "list_host_tokens",
    params(ListQuery),
    responses((status = 200, body = Envelope<HostTokenList>), Failure)
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<HostTokenList> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let found = host_token::list(&app, &ctx, &ask).await?;
    Ok(Data(HostTokenList {
        host_tokens: found
            .items
            .into_iter()
            .map(|item| view(item.value, item.revision))
            .collect(),
        next_page_token: found.next_page_token,
    }))
}

/// Takes a token back.
#[utoipa::path(
    delete, path = "/api/v1/host-tokens/{id}", tag = "certificates", operation_id = "delete_host_token",
    params(("id" = String, Path), IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    // What is no id is the name of nothing.
    let parsed: HostTokenId = id
        .parse()
        .map_err(|_| Error::not_found(format!("host token {id:?}")))?;
    let revision = host_token::delete(&app, &ctx, parsed, expected).await?;
    Ok(removed(id, revision))
}

/// Uses a token up: the host it is bound to gets certificates for its agents.
#[utoipa::path(
    post, path = "/api/v1/host-tokens/redeem", tag = "certificates", operation_id = "redeem_host_token",
    request_body = RedeemBody, security(()),
    responses(
        (status = 200, body = Envelope<JoinedView>),
        (status = 501, description = "This IAM issues no certificates.", body = ErrorEnvelope),
        Failure
    )
)]
pub(super) async fn redeem(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    request_id: Option<Extension<RequestId>>,
    Json(body): Json<RedeemBody>,
) -> Response {
    let visitor = Visitor {
        source: peer.map(|Extension(peer)| peer.addr.ip().to_canonical()),
        request_id: id_of(request_id),
    };
    match redeemed(&app, visitor, body).await {
        Ok(joined) => Data(joined).into_response(),
        Err(error) => photon_server::RestError(error).into_response(),
    }
}

async fn redeemed(app: &App, visitor: Visitor, body: RedeemBody) -> Result<JoinedView, Error> {
    let requests = match (body.csr, body.csrs) {
        (Some(csr), None) => Requests::Shared(csr),
        (None, Some(csrs)) if !csrs.is_empty() => Requests::Each(csrs),
        (None, _) => return Err(Error::required("csr")),
        (Some(_), Some(_)) => {
            let message = "csrs must not be given together with csr";
            return Err(Error::validation("csrs", "exclusive", message));
        }
    };
    let joined = join::redeem(app, visitor, &body.token, &requests).await?;
    Ok(JoinedView {
        host: joined.host.to_string(),
        ca: joined.authority,
        certificates: joined
            .certificates
            .into_iter()
            .map(|made| AgentCertificateView {
                name: made.agent.to_string(),
                common_name: made.description.common_name,
                certificate: made.certificate,
                not_after: made.description.not_after.to_string(),
            })
            .collect(),
    })
}

fn id_of(request_id: Option<Extension<RequestId>>) -> Uuid {
    request_id.map_or_else(Uuid::new_v4, |Extension(id)| id.0)
}

fn view(token: HostToken, revision: i64) -> HostTokenView {
    HostTokenView {
        id: token.id.to_string(),
        host: token.host.to_string(),
        created_at: token.created_at.to_string(),
        created_by: token.created_by,
        expires_at: token.expires_at.to_string(),
        used_at: token.used_at.map(|at| at.to_string()),
        used_from: token.used_from,
        revision,
    }
}
