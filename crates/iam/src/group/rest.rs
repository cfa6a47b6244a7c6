//! `/api/v1/groups`.

use std::sync::Arc;

use axum::extract::State;
use photon_auth::{Context, rest::Routes};
use photon_authz::{Group, PrincipalKind, PrincipalRef};
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{GroupChange, GroupFilter, NewGroup, service};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, Removed, Revised, removed,
        schema::{IdText, LabelText, PrincipalText},
    },
    text::Label,
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create("/api/v1/groups", "iam.groups.create", create)
        .get("/api/v1/groups", "iam.groups.list", list)
        .get("/api/v1/groups/{id}", "iam.groups.get", get)
        .patch("/api/v1/groups/{id}", "iam.groups.update", update)
        .delete("/api/v1/groups/{id}", "iam.groups.delete", delete)
        .put(MEMBER, "iam.groups.update", add_member)
        .delete(MEMBER, "iam.groups.update", remove_member)
}

/// One member, by kind and id.
const MEMBER: &str = "/api/v1/groups/{id}/members/{kind}/{member}";

/// A group to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewGroup)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its id; without it one is made up.
    #[schema(value_type = Option<IdText>)]
    id: Option<Name>,
    /// The org that owns it; without one the system does.
    #[schema(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// One line that says what it is for.
    #[schema(value_type = Option<LabelText>)]
    title: Option<Label>,
    /// Who is in it to begin with.
    #[serde(default)]
    #[schema(value_type = Vec<PrincipalText>, required = false, max_items = 100)]
    members: Vec<PrincipalRef>,
}

/// What changes of a group; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = GroupChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// One line that says what it is for.
    #[schema(value_type = Option<LabelText>)]
    title: Option<Label>,
}

/// Which groups.
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

/// A group.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Group)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    id: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = IdText, required = false)]
    org_id: Option<Name>,
    title: String,
    #[schema(value_type = Vec<PrincipalText>)]
    members: Vec<PrincipalRef>,
    /// The store's revision of its last change.
    revision: i64,
}

/// Groups.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Groups)]
pub(crate) struct ListAnswer {
    groups: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Group>> for Answer {
    fn from(group: Versioned<Group>) -> Self {
        Self {
            id: group.value.id,
            org_id: group.value.org,
            title: group.value.title,
            members: group.value.members,
            revision: group.revision,
        }
    }
}

/// Makes a group.
#[utoipa::path(
    post, path = "/api/v1/groups", tag = "groups", operation_id = "create_group",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewGroup {
        id: body.id,
        org: body.org_id,
        title: body.title,
        members: body.members,
    };
    let group = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(group.revision, group.into()))
}

/// Lists the groups the caller may see.
#[utoipa::path(
    get, path = "/api/v1/groups", tag = "groups", operation_id = "list_groups",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = GroupFilter { org: query.org_id };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        groups: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A group.
#[utoipa::path(
    get, path = "/api/v1/groups/{id}", tag = "groups", operation_id = "get_group",
    params(("id" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
) -> Result<Revised<Answer>, RestError> {
    let group = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(group.revision, group.into()))
}

/// Changes a group.
#[utoipa::path(
    patch, path = "/api/v1/groups/{id}", tag = "groups", operation_id = "update_group",
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
    let change = GroupChange { title: body.title };
    let group = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(group.revision, group.into()))
}

/// Deletes a group with its bindings and memberships.
#[utoipa::path(
    delete, path = "/api/v1/groups/{id}", tag = "groups", operation_id = "delete_group",
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

/// Puts a principal into a group; one that is in it already stays.
#[utoipa::path(
    put, path = "/api/v1/groups/{id}/members/{kind}/{member}", tag = "groups", operation_id = "add_group_member",
    params(
        ("id" = IdText, Path),
        ("kind" = String, Path, description = "`user`, `service_account`, `service` or `group`."),
        ("member" = IdText, Path),
    ),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn add_member(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path((id, kind, member)): Path<(Name, PrincipalKind, Name)>,
) -> Result<Revised<Answer>, RestError> {
    let member = PrincipalRef::new(kind, member);
    let group = service::add_member(&app, &ctx, &id, &member).await?;
    Ok(Revised::ok(group.revision, group.into()))
}

/// Takes a principal out of a group.
#[utoipa::path(
    delete, path = "/api/v1/groups/{id}/members/{kind}/{member}", tag = "groups",
    operation_id = "remove_group_member",
    params(
        ("id" = IdText, Path),
        ("kind" = String, Path, description = "`user`, `service_account`, `service` or `group`."),
        ("member" = IdText, Path),
    ),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn remove_member(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path((id, kind, member)): Path<(Name, PrincipalKind, Name)>,
) -> Result<Revised<Answer>, RestError> {
    let member = PrincipalRef::new(kind, member);
    let group = service::remove_member(&app, &ctx, &id, &member).await?;
    Ok(Revised::ok(group.revision, group.into()))
}
