//! `/api/v1/projects`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_authz::Project;
use photon_core::Name;
use photon_server::rest::{Data, Json, Path, Query, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewProject, ProjectChange, ProjectFilter, service};
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
        .create("/api/v1/projects", "iam.projects.create", create)
        .get("/api/v1/projects", "iam.projects.list", list)
        .get("/api/v1/projects/{id}", "iam.projects.get", get)
        .patch("/api/v1/projects/{id}", "iam.projects.update", update)
        .delete("/api/v1/projects/{id}", "iam.projects.delete", delete)
}

/// A project to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewProject)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its id; without it one is made up.
    #[schema(value_type = Option<IdText>)]
    id: Option<Name>,
    /// What people call it; unique in its org.
    #[schema(value_type = LabelText)]
    name: Label,
    /// The org it belongs to. In dev mode it is made, if it is not there.
    #[schema(value_type = IdText)]
    org_id: Name,
}

/// What changes of a project; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ProjectChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// What people call it.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// Whether nothing can be done in it. Disabling ends its tokens.
    disabled: Option<bool>,
}

/// Which projects.
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

/// A project.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct Answer {
    #[schema(value_type = IdText)]
    id: Name,
    name: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    /// Made by dev mode on first use.
    implicit: bool,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Projects.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Projects)]
pub(crate) struct ListAnswer {
    projects: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<Project>> for Answer {
    fn from(project: Versioned<Project>) -> Self {
        Self {
            id: project.value.id,
            name: project.value.name,
            org_id: project.value.org,
            implicit: project.value.implicit,
            disabled: project.value.disabled,
            created_at: project.value.created_at,
            revision: project.revision,
        }
    }
}

/// Makes a project, or makes an implicit one its own.
#[utoipa::path(
    post, path = "/api/v1/projects", tag = "projects", operation_id = "create_project",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewProject {
        id: body.id,
        name: body.name,
        org: body.org_id,
    };
    let project = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(project.revision, project.into()))
}

/// Lists the projects the caller may see.
#[utoipa::path(
    get, path = "/api/v1/projects", tag = "projects", operation_id = "list_projects",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = ProjectFilter { org: query.org_id };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        projects: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A project.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}", tag = "projects", operation_id = "get_project",
    params(("id" = IdText, Path)),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<Name>,
) -> Result<Revised<Answer>, RestError> {
    let project = service::get(&app, &ctx, &id).await?;
    Ok(Revised::ok(project.revision, project.into()))
}

/// Changes a project, or makes an implicit one its own.
#[utoipa::path(
    patch, path = "/api/v1/projects/{id}", tag = "projects", operation_id = "update_project",
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
    let change = ProjectChange {
        name: body.name,
        disabled: body.disabled,
    };
    let project = service::update(&app, &ctx, &id, &change, expected).await?;
    Ok(Revised::ok(project.revision, project.into()))
}

/// Deletes a project with what hangs on it: service accounts, their credentials, bindings, deny rules. Its tokens end.
#[utoipa::path(
    delete, path = "/api/v1/projects/{id}", tag = "projects", operation_id = "delete_project",
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
