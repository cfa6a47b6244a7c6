//! `/api/v1/service-accounts`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    NewServiceAccount, ServiceAccount, ServiceAccountChange, ServiceAccountFilter, service,
};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{IdText, LabelText},
    },
    text::Label,
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create(
            "/api/v1/service-accounts",
            "iam.service_accounts.create",
            create,
        )
        .get(
            "/api/v1/service-accounts",
            "iam.service_accounts.list",
            list,
        )
        .get(
            "/api/v1/service-accounts/{id}",
            "iam.service_accounts.get",
            get,
        )
        .patch(
            "/api/v1/service-accounts/{id}",
            "iam.service_accounts.update",
            update,
        )
        .delete(
            "/api/v1/service-accounts/{id}",
            "iam.service_accounts.delete",
            delete,
        )
}

/// A service account to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewServiceAccount)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its id, unique in all projects; without it one is made up.
    #[schema(value_type = Option<IdText>)]
    id: Option<Name>,
    /// Its name.
    #[schema(value_type = LabelText)]
    name: Label,
    /// The project that owns it. In dev mode it is made, if it is not there.
    #[schema(value_type = IdText)]
    project_id: Name,
}

/// What changes of a service account; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ServiceAccountChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// Whether it may do nothing. Disabling ends its tokens.
    disabled: Option<bool>,
}

/// Which service accounts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this project.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A service account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceAccount)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    name: String,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Service accounts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceAccounts)]
pub(crate) struct ListAnswer {
    service_accounts: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<ServiceAccount>> for Answer {
    fn from(account: Versioned<ServiceAccount>) -> Self {
        Self {
            id: account.value.id,
            project_id: account.value.project,
            name: account.value.name,
            disabled: account.value.disabled,
            created_at: account.value.created_at,
            updated_at: account.value.updated_at,
            revision: account.revision,
        }
    }
}

/// Makes a service account.
#[utoipa::path(
    post, path = "/api/v1/service-accounts", tag = "service-accounts", operation_id = "create_service_account",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewServiceAccount {
        id: body.id,
        project: body.project_id,
        name: body.name,
    };
    let account = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(account.revision, account.into()))
}

/// Lists the service accounts the caller may see.
#[utoipa::path(
    get, path = "/api/v1/service-accounts", tag = "service-accounts", operation_id = "list_service_accounts",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = ServiceAccountFilter {
        project: query.project_id,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        service_accounts: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A service account.
#[utoipa::path(
    get, path = "/api/v1/service-accounts/{id}", tag = "service-accounts", operation_id = "get_service_account",
    params(("id" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
) -> Result<Revised<Answer>, RestError> {
    let account = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(account.revision, account.into()))
}

/// Changes a service account.
#[utoipa::path(
    patch, path = "/api/v1/service-accounts/{id}", tag = "service-accounts", operation_id = "update_service_account",
    params(
        ("id" = IdText, Path),
        IfMatchHeader,
    ),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = ServiceAccountChange {
        name: body.name,
        disabled: body.disabled,
    };
    let account = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(account.revision, account.into()))
}

/// Deletes a service account with its credentials, bindings and memberships. Its tokens end.
#[utoipa::path(
    delete, path = "/api/v1/service-accounts/{id}", tag = "service-accounts", operation_id = "delete_service_account",
    params(
        ("id" = IdText, Path),
        IfMatchHeader,
    ),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, &id, expected).await?;
    Ok(removed(id, revision))
}
