//! `/api/v1/users`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewUser, User, UserChange, UserFilter, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{IdText, LabelText},
    },
    text::{Email, Label},
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/users", "iam.users.create", create)
        .get("/api/v1/users", "iam.users.list", list)
        .get("/api/v1/users/{id}", "iam.users.get", get)
        .patch("/api/v1/users/{id}", "iam.users.update", update)
        .delete("/api/v1/users/{id}", "iam.users.delete", delete)
}

/// What sort of principal a user is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UserType {
    /// A person.
    #[default]
    User,
}

/// A user to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewUser)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its id; without it one is made up.
    #[schema(value_type = Option<IdText>, example = "user-bob")]
    id: Option<Name>,
    /// Its name.
    #[schema(value_type = LabelText, example = "Bob Smith")]
    name: Label,
    /// Where mail reaches it.
    #[serde(default)]
    #[schema(value_type = String, required = false, max_length = 254, example = "bob@example.com")]
    email: Email,
    /// Programs are service accounts.
    #[serde(default, rename = "type")]
    #[schema(required = false)]
    _type: UserType,
    /// The org that manages it; without one the system does.
    #[schema(value_type = Option<IdText>)]
    org_id: Option<Name>,
}

/// What changes of a user; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = UserChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// Where mail reaches it; empty for nowhere.
    #[schema(value_type = Option<String>, max_length = 254)]
    email: Option<Email>,
    /// Whether it may do nothing. Disabling ends its tokens.
    disabled: Option<bool>,
}

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those with a binding at the org or project of this id, above it, or in it; in dev mode also those that have
    /// no binding at all. `system` is an id, too.
    #[param(value_type = Option<IdText>)]
    scope_id: Option<Name>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct Answer {
    #[schema(value_type = IdText, example = "user-alice")]
    id: Name,
    #[schema(example = "Alice Johnson")]
    name: String,
    #[schema(example = "alice@example.com")]
    email: String,
    r#type: UserType,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = IdText, required = false)]
    org_id: Option<Name>,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Users.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Users)]
pub(crate) struct ListAnswer {
    users: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<User>> for Answer {
    fn from(user: Versioned<User>) -> Self {
        Self {
            id: user.value.id,
            name: user.value.name,
            email: user.value.email,
            r#type: UserType::User,
            org_id: user.value.org,
            disabled: user.value.disabled,
            created_at: user.value.created_at,
            updated_at: user.value.updated_at,
            revision: user.revision,
        }
    }
}

/// Makes a user.
#[utoipa::path(
    post, path = "/api/v1/users", tag = "users", operation_id = "create_user",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewUser {
        id: body.id,
        name: body.name,
        email: body.email,
        org: body.org_id,
    };
    let user = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(user.revision, user.into()))
}

/// Lists the users the caller may see.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "users", operation_id = "list_users",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = UserFilter {
        scope: query.scope_id,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        users: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A user.
#[utoipa::path(
    get, path = "/api/v1/users/{id}", tag = "users", operation_id = "get_user",
    params(("id" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
) -> Result<Revised<Answer>, RestError> {
    let user = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(user.revision, user.into()))
}

/// Changes a user.
#[utoipa::path(
    patch, path = "/api/v1/users/{id}", tag = "users", operation_id = "update_user",
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
    let change = UserChange {
        name: body.name,
        email: body.email,
        disabled: body.disabled,
    };
    let user = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(user.revision, user.into()))
}

/// Deletes a user with its credentials, bindings and memberships. Its tokens end.
#[utoipa::path(
    delete, path = "/api/v1/users/{id}", tag = "users", operation_id = "delete_user",
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
