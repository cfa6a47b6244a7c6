//! `photon.iam.v1.DenyRules`.

use photon_authz::DenyRule;
use photon_proto::photon::iam::v1::{
    self as pb, CreateDenyRuleRequest, DeleteDenyRuleRequest, DeleteDenyRuleResponse,
    GetDenyRuleRequest, ListDenyRulesRequest, ListDenyRulesResponse, deny_rules_server::DenyRules,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{
        IntoMessage, ask, condition, generated_id, maybe_principal, maybe_scope, maybe_text, page,
        patterns, scope, shown_condition, shown_time, texts,
    },
};
use crate::{
    deny_rule::{DenyRuleFilter, NewDenyRule, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<DenyRule> {
    type Message = pb::DenyRule;

    fn into_message(self) -> pb::DenyRule {
        let Versioned { value, revision } = self;
        pb::DenyRule {
            id: value.id.to_string(),
            principal: maybe_text(value.principal),
            permissions: texts(&value.permissions),
            scope: value.scope.into(),
            condition: value.condition.map(shown_condition),
            created_at: Some(shown_time(value.created_at)),
            created_by: value.created_by,
            revision,
        }
    }
}

#[tonic::async_trait]
impl DenyRules for Doors {
    async fn create(
        &self,
        request: Request<CreateDenyRuleRequest>,
    ) -> Result<Response<pb::DenyRule>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let new = NewDenyRule {
                permissions: patterns("permissions", &asked.permissions)?,
                principal: maybe_principal("principal", &asked.principal)?,
                scope: scope("scope", &asked.scope)?,
                condition: condition("condition", asked.condition)?,
            };
            Ok(service::create(&app, &ctx, new).await?.into_message())
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetDenyRuleRequest>,
    ) -> Result<Response<pb::DenyRule>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("deny rule", &asked.id)?;
            Ok(service::get(&app, &ctx, &id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListDenyRulesRequest>,
    ) -> Result<Response<ListDenyRulesResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let filter = DenyRuleFilter {
                principal: maybe_principal("principal", &asked.principal)?,
                scope: maybe_scope("scope", &asked.scope)?,
            };
            let ask = ask(asked.limit, &asked.page_token)?;
            let (deny_rules, next_page_token) =
                page(service::list(&app, &ctx, &filter, &ask).await?);
            Ok(ListDenyRulesResponse {
                deny_rules,
                next_page_token,
            })
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteDenyRuleRequest>,
    ) -> Result<Response<DeleteDenyRuleResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("deny rule", &asked.id)?;
            let revision = service::delete(&app, &ctx, &id, asked.revision).await?;
            Ok(DeleteDenyRuleResponse { revision })
        })
        .await
    }
}
