//! `/api/v1/orgs`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::Org;
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewOrg, OrgChange, service};
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
        .create("/api/v1/orgs", "iam.orgs.create", create)
        .get("/api/v1/orgs", "iam.orgs.list", list)
        .get("/api/v1/orgs/{id}", "iam.orgs.get", get)
        .patch("/api/v1/orgs/{id}", "iam.orgs.update", update)
        .delete("/api/v1/orgs/{id}", "iam.orgs.delete", delete)
}

/// An org to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewOrg)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its id; without it one is made up.
    #[schema(value_type = Option<IdText>)]
    id: Option<Name>,
    /// What people call it.
    #[schema(value_type = LabelText)]
    name: Label,
}

/// What changes of an org; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OrgChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// What people call it.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// Whether nothing can be done in it.
    disabled: Option<bool>,
}

/// Which orgs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// An org.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Org)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    id: Name,
    name: String,
    /// Made by dev mode on first use.
    implicit: bool,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Orgs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Orgs)]
pub(crate) struct ListAnswer {
    orgs: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Org>> for Answer {
    fn from(org: Versioned<Org>) -> Self {
        Self {
            id: org.value.id,
            name: org.value.name,
            implicit: org.value.implicit,
            disabled: org.value.disabled,
            created_at: org.value.created_at,
            revision: org.revision,
        }
    }
}

/// Makes an org.
#[utoipa::path(
    post, path = "/api/v1/orgs", tag = "orgs", operation_id = "create_org",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewOrg {
        id: body.id,
        name: body.name,
    };
    let org = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(org.revision, org.into()))
}

/// Lists the orgs the caller may see.
#[utoipa::path(
    get, path = "/api/v1/orgs", tag = "orgs", operation_id = "list_orgs",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let listing = service::list(&app, &ctx, &ask).await?;
    Ok(Data(ListAnswer {
        orgs: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// An org.
#[utoipa::path(
    get, path = "/api/v1/orgs/{id}", tag = "orgs", operation_id = "get_org",
    params(("id" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
) -> Result<Revised<Answer>, RestError> {
    let org = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(org.revision, org.into()))
}

/// Changes an org.
#[utoipa::path(
    patch, path = "/api/v1/orgs/{id}", tag = "orgs", operation_id = "update_org",
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
    let change = OrgChange {
        name: body.name,
        disabled: body.disabled,
    };
    let org = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(org.revision, org.into()))
}

/// Deletes an org to which nothing belongs any more.
#[utoipa::path(
    delete, path = "/api/v1/orgs/{id}", tag = "orgs", operation_id = "delete_org",
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
