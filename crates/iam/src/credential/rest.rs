//! `/api/v1/credentials…` and a user's password.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::PrincipalRef;
use photon_core::Name;
use photon_server::{
    face::rfc3339,
    rest::{Data, Json, Path, Query, RestError, RestResult},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    CredentialChange, CredentialId, NewCredential, NewMaterial, Secret, Shown, is_given, service,
};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{LabelText, PrincipalText},
    },
    text::Label,
    versioned::Versioned,
};

/// What a credential is.
#[derive(ToSchema)]
#[schema(as = CredentialKind, rename_all = "snake_case")]
#[expect(dead_code, reason = "only described, never built")]
enum CredentialKindText {
    Password,
    ApiKey,
    Certificate,
    SshPublicKey,
}

/// A credential to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewCredential)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Whose; the caller's own when absent.
    #[serde(default)]
    #[schema(value_type = Option<PrincipalText>)]
    principal: Option<PrincipalRef>,
    #[schema(value_type = CredentialKindText)]
    kind: String,
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<LabelText>)]
    label: Option<Label>,
    /// From then on it proves nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Of kind `password`: the password.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Secret>,
    /// Of kind `certificate`: the certificate, PEM.
    #[serde(default)]
    certificate: Option<String>,
    /// Of kind `ssh_public_key`: one line as in `authorized_keys`.
    #[serde(default)]
    public_key: Option<String>,
    /// The caller's password: needed for a credential of one's own with a token that is for less than one may do.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    current_password: Option<Secret>,
}

/// What changes of a credential.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CredentialChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<LabelText>)]
    label: Option<Label>,
    /// Whether it proves nothing for now.
    #[serde(default)]
    disabled: Option<bool>,
    /// From then on it proves nothing; null: for ever.
    #[serde(default, deserialize_with = "is_given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
}

/// A credential. No secret, and nothing that a secret could be guessed from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialView {
    #[schema(example = "crd-0198f1a2-7b3c-7def-8123-456789abcdef")]
    id: String,
    #[schema(example = "user:alice")]
    principal: String,
    /// `password`, `api_key`, `certificate` or `ssh_public_key`.
    kind: &'static str,
    label: String,
    /// Of a certificate or an SSH public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// Of an SSH public key.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    disabled: bool,
    #[schema(format = DateTime)]
    created_at: String,
    created_by: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// To a minute; null: never.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    /// What `If-Match` compares.
    revision: i64,
}

/// A credential that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeCredential)]
pub(crate) struct MadeView {
    #[serde(flatten)]
    credential: CredentialView,
    /// The API key, if it is one. It is shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Credentials.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CredentialList {
    credentials: Vec<CredentialView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// Whose, and which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Whose, as `user:alice`; the caller's own when absent.
    #[serde(default)]
    #[param(value_type = Option<PrincipalText>)]
    principal: Option<PrincipalRef>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[serde(default)]
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Continues a list.
    #[serde(default)]
    page_token: Option<String>,
}

/// A password to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    /// The one until now: needed when it is one's own and there is one.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    current: Option<Secret>,
    /// The new one: 8 characters to 1024 bytes.
    #[schema(value_type = String, format = Password)]
    password: Secret,
}

/// A password was set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasswordAnswer {
    /// Whose.
    id: String,
    /// The store's revision; the user's tokens of before are refused from it on.
    revision: i64,
}

impl From<Versioned<Shown>> for CredentialView {
    fn from(shown: Versioned<Shown>) -> Self {
        let credential = shown.value.credential;
        Self {
            id: credential.id.to_string(),
            principal: credential.principal.to_string(),
            kind: credential.material.kind(),
            fingerprint: credential.material.fingerprint().map(str::to_owned),
            public_key: credential.material.public_key().map(str::to_owned),
            label: credential.label,
            disabled: credential.disabled,
            created_at: rfc3339(credential.created_at),
            created_by: credential.created_by,
            expires_at: credential.expires_at.map(rfc3339),
            last_used_at: shown.value.last_used_at.map(rfc3339),
            revision: shown.revision,
        }
    }
}

/// Makes a credential.
#[utoipa::path(
    post, path = "/api/v1/credentials", tag = "credentials", operation_id = "create_credential",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<MadeView>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<MadeView>, RestError> {
    let material = NewMaterial::of(&body.kind, body.password, body.certificate, body.public_key)?;
    let new = NewCredential {
        principal: body.principal,
        material,
        label: body.label,
        expires_at: body.expires_at,
        current_password: body.current_password,
    };
    let made = service::create(&app, &ctx, new).await?;
    let revision = made.shown.revision;
    let view = MadeView {
        credential: made.shown.into(),
        secret: made.secret.map(|secret| secret.expose().to_owned()),
    };
    Ok(Revised::created(revision, view))
}

/// Lists the credentials of a principal.
#[utoipa::path(
    get, path = "/api/v1/credentials", tag = "credentials", operation_id = "list_credentials",
    params(ListQuery),
    responses((status = 200, body = Envelope<CredentialList>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<CredentialList> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let found = service::list(&app, &ctx, query.principal.as_ref(), &ask).await?;
    Ok(Data(CredentialList {
        credentials: found.items.into_iter().map(Into::into).collect(),
        next_page_token: found.next_page_token,
    }))
}

/// Reads a credential.
#[utoipa::path(
    get, path = "/api/v1/credentials/{id}", tag = "credentials", operation_id = "get_credential",
    params(("id" = String, Path)),
    responses((status = 200, body = Envelope<CredentialView>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<CredentialId>,
) -> Result<Revised<CredentialView>, RestError> {
    let shown = service::get(&app, &ctx, id).await?;
    Ok(Revised::ok(shown.revision, shown.into()))
}

/// Changes a credential.
#[utoipa::path(
    patch, path = "/api/v1/credentials/{id}", tag = "credentials", operation_id = "update_credential",
    params(("id" = String, Path), IfMatchHeader),
    request_body = UpdateBody,
    responses((status = 200, body = Envelope<CredentialView>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<CredentialId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateBody>,
) -> Result<Revised<CredentialView>, RestError> {
    let change = CredentialChange {
        label: body.label,
        disabled: body.disabled,
        expires_at: body.expires_at,
    };
    let shown = service::update(&app, &ctx, id, &change, expected).await?;
    Ok(Revised::ok(shown.revision, shown.into()))
}

/// Deletes a credential.
#[utoipa::path(
    delete, path = "/api/v1/credentials/{id}", tag = "credentials", operation_id = "delete_credential",
    params(("id" = String, Path), IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<CredentialId>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, expected).await?;
    Ok(removed(id, revision))
}

/// Sets a user's password and ends the tokens issued to the user so far.
#[utoipa::path(
    put, path = "/api/v1/users/{id}/password", tag = "users", operation_id = "set_password",
    params(("id" = String, Path)),
    request_body = PasswordBody,
    responses((status = 200, body = Envelope<PasswordAnswer>), Failure)
)]
pub(crate) async fn set_password(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
    Json(body): Json<PasswordBody>,
) -> Result<Data<PasswordAnswer>, RestError> {
    let revision = service::set_password(&app, &ctx, &id, body.current, body.password).await?;
    Ok(Data(PasswordAnswer {
        id: id.to_string(),
        revision,
    }))
}

/// The routes of credentials.
#[must_use]
pub fn routes(routes: Routes<Arc<App>>) -> Routes<Arc<App>> {
    routes
        .get("/api/v1/credentials", "iam.credentials.list", list)
        .create("/api/v1/credentials", "iam.credentials.create", create)
        .get("/api/v1/credentials/{id}", "iam.credentials.get", get)
        .patch("/api/v1/credentials/{id}", "iam.credentials.update", update)
        .delete("/api/v1/credentials/{id}", "iam.credentials.delete", delete)
        .put(
            "/api/v1/users/{id}/password",
            "iam.credentials.update",
            set_password,
        )
}

/// These routes, for the document of all.
#[derive(utoipa::OpenApi)]
#[openapi(paths(create, list, get, update, delete, set_password))]
pub(crate) struct RestDoc;
