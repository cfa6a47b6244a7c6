//! `/api/v1/auth/…`, as the guide has it.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, header};
use photon_auth::{Claims, Context, rest::Routes};
use photon_authz::{PrincipalKind, PrincipalRef};
use photon_core::{Error, Name};
use photon_server::{
    face::rfc3339,
    rest::{Data, Json, RestError, RestResult},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Ask, Proof, What, claims::moment, service};
use crate::{
    app::App,
    credential::Secret,
    login::Presented,
    rest::{Envelope, Failure},
};

/// A token to be issued.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssueBody {
    /// For whom.
    #[schema(value_type = String, example = "user-alice")]
    principal_id: Name,
    /// `user` (when absent), `service_account` or `service`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "user")]
    principal_type: Option<PrincipalKind>,
    /// Where it is to count: the id of a project or org, or `system`.
    #[schema(value_type = String, example = "project-prod")]
    scope_id: Name,
    /// How long it is to live; less than 60 and more than 43200 (or what is configured) become that. Default 3600.
    #[serde(default)]
    #[schema(minimum = 1, example = 3600)]
    ttl_seconds: Option<i64>,
    /// The principal's password.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret>,
    /// One of its API keys.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    api_key: Option<Secret>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    token: String,
    #[schema(format = DateTime)]
    expires_at: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
}

/// A token to be looked at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyBody {
    #[schema(value_type = String)]
    token: Secret,
}

/// What a token says, if it is valid.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// False: it would be refused, and nothing else is here.
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<String>,
    /// `system`, `org` or `project`.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_type: Option<String>,
    /// The org of the scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    issued_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
}

/// What is to end: one of a token, a principal, a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeBody {
    /// This token.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    token: Option<Secret>,
    /// Everything issued so far to this principal.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    principal_id: Option<Name>,
    /// Which kind of principal; `user` when absent.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    principal_type: Option<PrincipalKind>,
    /// Everything issued so far for this project.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    project_id: Option<Name>,
}

/// Whether something ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevokeAnswer {
    /// False: the token is not accepted anyway.
    revoked: bool,
    /// The store's revision from which services refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

/// Issues a token.
#[utoipa::path(
    post, path = "/api/v1/auth/token", tag = "auth", operation_id = "issue_token",
    request_body = IssueBody, security((), ("basic" = []), ("bearer" = [])),
    responses((status = 200, body = Envelope<TokenAnswer>), Failure)
)]
pub(crate) async fn issue(
    State(app): State<Arc<App>>,
    presented: Presented,
    Json(body): Json<IssueBody>,
) -> Result<Response, RestError> {
    let issued = service::issue(&app, &presented, body.ask()?).await?;
    Ok(unstored(Data(TokenAnswer {
        token: issued.token.expose().to_owned(),
        expires_at: rfc3339(moment(issued.claims.exp)),
        token_type: "Bearer",
    })))
}

/// No cache keeps what bears a token.
fn unstored<T: Serialize>(data: Data<T>) -> Response {
    let mut response = data.into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl IssueBody {
    fn ask(self) -> Result<Ask, Error> {
        let proof = match (self.password, self.api_key) {
            (Some(_), Some(_)) => {
                return Err(Error::validation(
                    "api_key",
                    "exclusive",
                    "give one proof: password or api_key",
                ));
            }
            (Some(password), None) => Some(Proof::Password(password)),
            (None, Some(key)) => Some(Proof::ApiKey(key)),
            (None, None) => None,
        };
        let kind = self.principal_type.unwrap_or(PrincipalKind::User);
        Ok(Ask {
            principal: PrincipalRef::new(kind, self.principal_id),
            scope: self.scope_id,
            ttl_seconds: self.ttl_seconds,
            proof,
        })
    }
}

/// Whether a token would be accepted now, and what it says.
#[utoipa::path(
    post, path = "/api/v1/auth/verify", tag = "auth", operation_id = "verify_token",
    request_body = VerifyBody,
    responses((status = 200, body = Envelope<VerifyAnswer>), Failure)
)]
pub(crate) async fn verify(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<VerifyBody>,
) -> RestResult<VerifyAnswer> {
    let claims = service::verify(&app, &ctx, body.token.expose()).await?;
    Ok(Data(claims.map_or_else(VerifyAnswer::default, |claims| {
        VerifyAnswer::of(&claims)
    })))
}

impl VerifyAnswer {
    fn of(claims: &Claims) -> Self {
        let scope = claims.limit();
        Self {
            valid: true,
            principal_id: Some(claims.sub.to_string()),
            principal_type: Some(claims.ptype.to_string()),
            scope_id: Some(claims.scope_id.clone()),
            scope_type: scope.map(|scope| scope.kind().to_owned()),
            org_id: claims.org_id.as_ref().map(Name::to_string),
            issued_at: Some(rfc3339(moment(claims.iat))),
            expires_at: Some(rfc3339(moment(claims.exp))),
            token_id: Some(claims.jti.clone()),
        }
    }
}

/// Ends one token, or everything issued so far to a principal or for a project.
#[utoipa::path(
    post, path = "/api/v1/auth/revoke", tag = "auth", operation_id = "revoke_token",
    request_body = RevokeBody,
    responses((status = 200, body = Envelope<RevokeAnswer>), Failure)
)]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<RevokeBody>,
) -> RestResult<RevokeAnswer> {
    let done = service::revoke(&app, &ctx, body.what()?).await?;
    Ok(Data(RevokeAnswer {
        revoked: done.revoked,
        revision: done.revision,
    }))
}

impl RevokeBody {
    fn what(self) -> Result<What, Error> {
        if self.principal_type.is_some() && self.principal_id.is_none() {
            return Err(Error::required("principal_id"));
        }
        match (self.token, self.principal_id, self.project_id) {
            (Some(token), None, None) => Ok(What::Token(token)),
            (None, Some(id), None) => {
                let kind = self.principal_type.unwrap_or(PrincipalKind::User);
                if kind == PrincipalKind::Group {
                    return Err(Error::validation(
                        "principal_type",
                        "enum",
                        "principal_type must be one of user, service_account, service",
                    ));
                }
                Ok(What::Principal(PrincipalRef::new(kind, id)))
            }
            (None, None, Some(project)) => Ok(What::Project(project)),
            (None, None, None) => Err(Error::required("token")),
            _ => Err(Error::validation(
                "token",
                "exclusive",
                "give one of token, principal_id and project_id",
            )),
        }
    }
}

/// The routes of tokens.
#[must_use]
pub fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    routes
        .open(Method::POST, "/api/v1/auth/token", issue)
        .post("/api/v1/auth/verify", "iam.tokens.verify", verify)
        .post("/api/v1/auth/revoke", "iam.tokens.revoke", revoke)
}

/// These routes, for the document of all.
#[derive(utoipa::OpenApi)]
#[openapi(paths(issue, verify, revoke))]
pub(crate) struct RestDoc;
