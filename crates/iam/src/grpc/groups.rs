//! `photon.iam.v1.Groups`.

use photon_authz::Group;
use photon_proto::photon::iam::v1::{
    self as pb, CreateGroupRequest, DeleteGroupRequest, DeleteGroupResponse, GetGroupRequest,
    GroupMemberRequest, ListGroupsRequest, ListGroupsResponse, UpdateGroupRequest,
    groups_server::Groups,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{
        IntoMessage, ask, given, id, maybe_label, maybe_name, maybe_text, page, principal,
        principals, texts,
    },
};
use crate::{
    group::{GroupChange, GroupFilter, NewGroup, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Group> {
    type Message = pb::Group;

    fn into_message(self) -> pb::Group {
        let Versioned { value, revision } = self;
        pb::Group {
            id: value.id.into(),
            org_id: maybe_text(value.org),
            title: value.title,
            members: texts(&value.members),
            revision,
        }
    }
}

#[tonic::async_trait]
impl Groups for Doors {
    async fn create(
        &self,
        request: Request<CreateGroupRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewGroup {
                id: maybe_name("id", &asked.id)?,
                org: maybe_name("org_id", &asked.org_id)?,
                title: maybe_label("title", given(&asked.title).map(str::to_owned))?,
                members: principals("members", &asked.members)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(&self, request: Request<GetGroupRequest>) -> Result<Response<pb::Group>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("group", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = GroupFilter {
                org: maybe_name("org_id", &asked.org_id)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (groups, next_page_token) = page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListGroupsResponse {
                groups,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateGroupRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("group", &asked.id)?;
            let change = GroupChange {
                title: maybe_label("title", asked.title)?,
            };
            let done = service::update(&app, &ctx, &id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteGroupRequest>,
    ) -> Result<Response<DeleteGroupResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("group", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteGroupResponse { revision })
        })
        .await
    }

    async fn add_member(
        &self,
        request: Request<GroupMemberRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("group", &asked.id)?;
            let member = principal("member", &asked.member)?;
            Ok(service::add_member(&app, &ctx, &id, &member)
                .await?
                .into_message())
        })
        .await
    }

    async fn remove_member(
        &self,
        request: Request<GroupMemberRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("group", &asked.id)?;
            let member = principal("member", &asked.member)?;
            Ok(service::remove_member(&app, &ctx, &id, &member)
                .await?
                .into_message())
        })
        .await
    }
}
