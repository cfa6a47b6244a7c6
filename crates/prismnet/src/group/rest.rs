//! `/api/v1/security-groups`.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Name;
use photon_server::rest::{Data, Json, Query, RestError, RestResult};
use prismnet_model::{Description, GroupId, Label, SecurityGroup};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{GroupChange, GroupFilter, NewGroup, service, status};
use crate::{
    app::App,
    listing::Ask,
    rest::{
        Envelope, Failure, IfMatch, IfMatchHeader, OwnerQuery, Path, Removed, Revised, removed,
        schema::{DescriptionText, GroupText, IdText, LabelText},
    },
    scope::{Home, Owner},
    versioned::Versioned,
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .create(
            "/api/v1/security-groups",
            "prismnet.security_groups.create",
            create,
        )
        .get(
            "/api/v1/security-groups",
            "prismnet.security_groups.list",
            list,
        )
        .get(
            "/api/v1/security-groups/{id}",
            "prismnet.security_groups.get",
            get,
        )
        .patch(
            "/api/v1/security-groups/{id}",
            "prismnet.security_groups.update",
            update,
        )
        .delete(
            "/api/v1/security-groups/{id}",
            "prismnet.security_groups.delete",
            delete,
        )
}

/// A security group to be made. It has no rules at first: whoever is in it may send and receive nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewSecurityGroup)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Its name; unique in the project.
    #[schema(value_type = LabelText)]
    name: Label,
    /// The org that owns the project.
    #[schema(value_type = IdText)]
    org_id: Name,
    /// The project that owns it.
    #[schema(value_type = IdText)]
    project_id: Name,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = DescriptionText, required = false)]
    description: Description,
}

/// What changes of a security group; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = SecurityGroupChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// Its name. The default group keeps its.
    #[schema(value_type = Option<LabelText>)]
    name: Option<Label>,
    /// What it is for.
    #[schema(value_type = Option<DescriptionText>)]
    description: Option<Description>,
}

/// Which security groups.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only those of this org.
    #[param(value_type = Option<IdText>)]
    org_id: Option<Name>,
    /// Only those of this project.
    #[param(value_type = Option<IdText>)]
    project_id: Option<Name>,
    /// Only the one of this name.
    name: Option<String>,
    /// The most rows of a page. Without it everything, up to 10,000.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u64>,
    /// Where to continue: `next_page_token` of the page before.
    page_token: Option<String>,
}

/// A security group. Its rules are listed by `/rules`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecurityGroup)]
pub(crate) struct Answer {
    #[schema(value_type = GroupText)]
    id: GroupId,
    name: String,
    #[schema(value_type = IdText)]
    org_id: Name,
    #[schema(value_type = IdText)]
    project_id: Name,
    description: String,
    /// `active`, or `deleting`: a deletion was cut off; delete it again.
    #[schema(example = "active")]
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// The store's revision of its last change.
    revision: i64,
}

/// Security groups.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecurityGroups)]
pub(crate) struct ListAnswer {
    security_groups: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_page_token: Option<String>,
}

impl From<Versioned<SecurityGroup>> for Answer {
    fn from(group: Versioned<SecurityGroup>) -> Self {
        let Versioned { value, revision } = group;
        Self {
            status: status(&value),
            id: value.id,
            name: value.name,
            org_id: value.org,
            project_id: value.project,
            description: value.description,
            created_at: value.created_at,
            updated_at: value.updated_at,
            revision,
        }
    }
}

/// Makes a security group.
#[utoipa::path(
    post, path = "/api/v1/security-groups", tag = "security-groups", operation_id = "create_security_group",
    request_body = CreateBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<CreateBody>,
) -> Result<Revised<Answer>, RestError> {
    let new = NewGroup {
        name: body.name,
        home: Home {
            org: body.org_id,
            project: body.project_id,
        },
        description: body.description,
    };
    let group = service::create(&app, &ctx, new).await?;
    Ok(Revised::created(group.revision, group.into()))
}

/// Lists the security groups the caller may see.
#[utoipa::path(
    get, path = "/api/v1/security-groups", tag = "security-groups", operation_id = "list_security_groups",
    params(ListQuery),
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ctx: Context,
    Query(query): Query<ListQuery>,
) -> RestResult<ListAnswer> {
    let ask = Ask::new(query.limit, query.page_token.as_deref())?;
    let filter = GroupFilter {
        owner: Owner {
            org: query.org_id,
            project: query.project_id,
        },
        name: query.name,
    };
    let listing = service::list(&app, &ctx, &filter, &ask).await?;
    Ok(Data(ListAnswer {
        security_groups: listing.items.into_iter().map(Into::into).collect(),
        next_page_token: listing.next_page_token,
    }))
}

/// A security group.
#[utoipa::path(
    get, path = "/api/v1/security-groups/{id}", tag = "security-groups", operation_id = "get_security_group",
    params(("id" = GroupText, Path), OwnerQuery),
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<GroupId>,
    Query(owner): Query<OwnerQuery>,
) -> Result<Revised<Answer>, RestError> {
    let group = service::get(&app, &ctx, id, &owner.into()).await?;
    Ok(Revised::ok(group.revision, group.into()))
}

/// Changes a security group's name or description.
#[utoipa::path(
    patch, path = "/api/v1/security-groups/{id}", tag = "security-groups", operation_id = "update_security_group",
    params(("id" = GroupText, Path), IfMatchHeader),
    request_body = ChangeBody,
    responses((status = 200, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<GroupId>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ChangeBody>,
) -> Result<Revised<Answer>, RestError> {
    let change = GroupChange {
        name: body.name,
        description: body.description,
    };
    let group = service::update(&app, &ctx, id, &change, expected).await?;
    Ok(Revised::ok(group.revision, group.into()))
}

/// Deletes a security group that no port and no other group's rule uses, with its rules.
#[utoipa::path(
    delete, path = "/api/v1/security-groups/{id}", tag = "security-groups", operation_id = "delete_security_group",
    params(("id" = GroupText, Path), OwnerQuery, IfMatchHeader),
    responses((status = 200, body = Envelope<Removed>), Failure)
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    ctx: Context,
    Path(id): Path<GroupId>,
    Query(owner): Query<OwnerQuery>,
    IfMatch(expected): IfMatch,
) -> RestResult<Removed> {
    let revision = service::delete(&app, &ctx, id, &owner.into(), expected).await?;
    Ok(removed(id, revision))
}
