//! `photon.prismnet.v1.SecurityGroups`, with their rules.

use photon_core::Error;
use photon_proto::photon::prismnet::v1::{self as pb, security_groups_server::SecurityGroups};
use prismnet_model::{Remote, Rule, SecurityGroup};
use tonic::{Request, Response, Status};

use super::{GroupChange, GroupFilter, NewGroup, service, status};
use crate::{
    grpc::{
        Doors,
        fields::{
            IntoMessage, ask, description, given, id, id_in, label, maybe_description, maybe_label,
            maybe_name, name, page, shown_time,
        },
    },
    rule::{self, RuleFields},
    scope::{Home, Owner},
    versioned::Versioned,
};

impl IntoMessage for Versioned<SecurityGroup> {
    type Message = pb::SecurityGroup;

    fn into_message(self) -> pb::SecurityGroup {
        let Versioned { value, revision } = self;
        pb::SecurityGroup {
            status: status(&value).to_owned(),
            id: value.id.to_string(),
            name: value.name,
            org_id: value.org.into(),
            project_id: value.project.into(),
            description: value.description,
            created_at: Some(shown_time(value.created_at)),
            updated_at: Some(shown_time(value.updated_at)),
            revision,
        }
    }
}

impl IntoMessage for Versioned<Rule> {
    type Message = pb::Rule;

    fn into_message(self) -> pb::Rule {
        let Versioned { value, revision } = self;
        let (remote_cidr, remote_group_id) = match value.remote {
            Remote::Cidr(block) => (block.to_string(), String::new()),
            Remote::Group(group) => (String::new(), group.to_string()),
        };
        pb::Rule {
            id: value.id.to_string(),
            security_group_id: value.group.to_string(),
            direction: value.direction.as_str().to_owned(),
            protocol: value.services.protocol().to_string(),
            port_min: value.services.min().map(Into::into),
            port_max: value.services.max().map(Into::into),
            remote_cidr,
            remote_group_id,
            description: value.description,
            created_at: Some(shown_time(value.created_at)),
            revision,
        }
    }
}

fn fields(asked: pb::CreateRuleRequest) -> Result<RuleFields, Error> {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(RuleFields {
        direction: asked.direction,
        protocol: text(asked.protocol),
        port_min: asked.port_min,
        port_max: asked.port_max,
        remote_cidr: text(asked.remote_cidr),
        remote_group_id: text(asked.remote_group_id),
        description: description(asked.description)?,
    })
}

#[tonic::async_trait]
impl SecurityGroups for Doors {
    async fn create(
        &self,
        request: Request<pb::CreateSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewGroup {
                name: label("name", asked.name)?,
                home: Home {
                    org: name("org_id", &asked.org_id)?,
                    project: name("project_id", &asked.project_id)?,
                },
                description: description(asked.description)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<pb::GetSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("security group", &asked.id)?;
            Ok(service::get(&app, &ctx, id, &Owner::default())
                .await?
                .into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<pb::ListSecurityGroupsRequest>,
    ) -> Result<Response<pb::ListSecurityGroupsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = GroupFilter {
                owner: Owner {
                    org: maybe_name("org_id", &asked.org_id)?,
                    project: maybe_name("project_id", &asked.project_id)?,
                },
                name: given(&asked.name).map(str::to_owned),
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = service::list(&app, &ctx, &filter, &ask).await?;
            let (security_groups, next_page_token) = page(listing);
            Ok(pb::ListSecurityGroupsResponse {
                security_groups,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<pb::UpdateSecurityGroupRequest>,
    ) -> Result<Response<pb::SecurityGroup>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("security group", &asked.id)?;
            let change = GroupChange {
                name: maybe_label("name", asked.name)?,
                description: maybe_description(asked.description)?,
            };
            let done = service::update(&app, &ctx, id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteSecurityGroupRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = id("security group", &asked.id)?;
            let owner = Owner::default();
            let revision = service::delete(&app, &ctx, id, &owner, asked.revision).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }

    async fn create_rule(
        &self,
        request: Request<pb::CreateRuleRequest>,
    ) -> Result<Response<pb::Rule>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let group = id_in(
                "security_group_id",
                "security group",
                &asked.security_group_id,
            )?;
            let new = fields(asked)?.parsed()?;
            Ok(rule::service::create(&app, &ctx, group, new)
                .await?
                .into_message())
        })
        .await
    }

    async fn list_rules(
        &self,
        request: Request<pb::ListRulesRequest>,
    ) -> Result<Response<pb::ListRulesResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let group = id_in(
                "security_group_id",
                "security group",
                &asked.security_group_id,
            )?;
            let ask = ask(asked.limit, &asked.page_token)?;
            let listing = rule::service::list(&app, &ctx, group, &ask).await?;
            let (rules, next_page_token) = page(listing);
            Ok(pb::ListRulesResponse {
                rules,
                next_page_token,
            })
        })
        .await
    }

    async fn delete_rule(
        &self,
        request: Request<pb::DeleteRuleRequest>,
    ) -> Result<Response<pb::Deleted>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let group = id_in(
                "security_group_id",
                "security group",
                &asked.security_group_id,
            )?;
            let id = id("rule", &asked.id)?;
            let revision = rule::service::delete(&app, &ctx, group, id).await?;
            Ok(pb::Deleted { revision })
        })
        .await
    }
}
