//! `/api/v1/roles`.

use std::sync::Arc;

use axum::extract::State;
use photon_auth::{Context, rest::Routes};
use photon_authz::{PermissionPattern, Role, built_in};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewRole, RoleChange, RoleFilter, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{IdText, LabelText, PatternText},
    },
    text::Label,
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/roles", "iam.roles.create", create)
        .get("/api/v1/roles", "iam.roles.list", list)
        .get("/api/v1/roles/{id}", "iam.roles.get", get)
        .patch("/api/v1/roles/{id}", "iam.roles.update", update)
        .delete("/api/v1/roles/{id}", "iam.roles.delete", delete)
}

/// A role to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewRole)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its id; not one of the built-in roles'.
    #[schema(value_type = IdText)]
    id: Name,
    /// The org it belongs to, and in which it can be given; without one it can be given everywhere.
    #[schema(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// One line that says what it is for.
    #[schema(value_type = Option<LabelText>)]
    title: Option<Label>,
    /// What it allows. Nobody makes a role that allows more than they may do themselves.
    #[schema(value_type = Vec<PatternText>, min_items = 1, max_items = 1000)]
    permissions: Vec<PermissionPattern>,
}

/// What changes of a role, and with it of what all its bindings give; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RoleChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// One line that says what it is for.
    #[schema(value_type = Option<LabelText>)]
    title: Option<Label>,
    /// What it allows, all of it.
    #[schema(value_type = Option<Vec<PatternText>>, min_items = 1, max_items = 1000)]
    permissions: Option<Vec<PermissionPattern>>,
}

/// Which roles.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this org.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A role: whatever `permissions` match and `except` does not, and what the roles it includes allow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Role)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    id: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = IdText, required = false)]
    org_id: Option<Name>,
    title: String,
    #[schema(value_type = Vec<PatternText>)]
    permissions: Vec<PermissionPattern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<PatternText>, required = false)]
    except: Vec<PermissionPattern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<IdText>, required = false)]
    includes: Vec<Name>,
    /// Whether it is there without being made, and stays as it is.
    built_in: bool,
    /// The store's revision of its last change; 0 for built-in roles.
    revision: i64,
}

/// Roles.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Roles)]
pub(crate) struct ListAnswer {
    roles: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Role>> for Answer {
    fn from(role: Versioned<Role>) -> Self {
        Self {
            built_in: built_in(&role.value.id).is_some(),
            id: role.value.id,
            org_id: role.value.org,
            title: role.value.title,
            permissions: role.value.permissions,
            except: role.value.except,
            includes: role.value.includes,
            revision: role.revision,
        }
    }
}

/// Makes a role.
#[utoipa::path(
    post, path = "/api/v1/roles", tag = "roles", operation_id = "create_role",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewRole {
        id: body.id,
        org: body.org_id,
        title: body.title,
        permissions: body.permissions,
    };
    let role = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(role.revision, role.into()))
}

/// Lists the roles the caller may see, those built in first.
#[utoipa::path(
    get, path = "/api/v1/roles", tag = "roles", operation_id = "list_roles",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = RoleFilter { org: query.org_id };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        roles: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A role.
#[utoipa::path(
    get, path = "/api/v1/roles/{id}", tag = "roles", operation_id = "get_role",
    params(("id" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
) -> Result<Revised<Answer>, RestError> {
    let role = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(role.revision, role.into()))
}

/// Changes a role.
#[utoipa::path(
    patch, path = "/api/v1/roles/{id}", tag = "roles", operation_id = "update_role",
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
    let change = RoleChange {
        title: body.title,
        permissions: body.permissions,
    };
    let role = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(role.revision, role.into()))
}

/// Deletes a role that no binding gives.
#[utoipa::path(
    delete, path = "/api/v1/roles/{id}", tag = "roles", operation_id = "delete_role",
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
