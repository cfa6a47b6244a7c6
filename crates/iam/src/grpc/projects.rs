//! `photon.iam.v1.Projects`.

use photon_authz::Project;
use photon_proto::photon::iam::v1::{
    self as pb, CreateProjectRequest, DeleteProjectRequest, DeleteProjectResponse,
    GetProjectRequest, ListProjectsRequest, ListProjectsResponse, UpdateProjectRequest,
    projects_server::Projects,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{IntoMessage, ask, id, label, maybe_label, maybe_name, name, page, shown_time},
};
use crate::{
    project::{NewProject, ProjectChange, ProjectFilter, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Project> {
    type Message = pb::Project;

    fn into_message(self) -> pb::Project {
        let Versioned { value, revision } = self;
        pb::Project {
            id: value.id.into(),
            name: value.name,
            org_id: value.org.into(),
            implicit: value.implicit,
            disabled: value.disabled,
            created_at: Some(shown_time(value.created_at)),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Projects for Doors {
    async fn create(
        &self,
        request: Request<CreateProjectRequest>,
    ) -> Result<Response<pb::Project>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewProject {
                name: label("name", asked.name)?,
                id: maybe_name("id", &asked.id)?,
                org: name("org_id", &asked.org_id)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetProjectRequest>,
    ) -> Result<Response<pb::Project>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("project", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListProjectsRequest>,
    ) -> Result<Response<ListProjectsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = ProjectFilter {
                org: maybe_name("org_id", &asked.org_id)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (projects, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListProjectsResponse {
                projects,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateProjectRequest>,
    ) -> Result<Response<pb::Project>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("project", &asked.id)?;
            let change = ProjectChange {
                name: maybe_label("name", asked.name)?,
                disabled: asked.disabled,
            };
            let done = service::update(&app, &ctx, &id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteProjectRequest>,
    ) -> Result<Response<DeleteProjectResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("project", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteProjectResponse { revision })
        })
        .await
    }
}
