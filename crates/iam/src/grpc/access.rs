//! `photon.iam.v1.Access`: decisions for whoever cannot make them alone.

use photon_authz::Permission;
use photon_core::Error;
use photon_proto::photon::iam::v1::{
    BatchCheckRequest, BatchCheckResponse, CheckRequest, CheckResponse, access_server::Access,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{given, invalid, maybe_principal, scope},
};
use crate::access::{Answer, Check, Semantic, service};

fn parsed(asked: &CheckRequest) -> Result<Check, Error> {
    if asked.permission.is_empty() {
        return Err(Error::required("permission"));
    }
    let source = given(&asked.source_address).map(str::parse).transpose();
    Ok(Check {
        principal: maybe_principal("principal", &asked.principal)?,
        permission: Permission::parse_field("permission", &asked.permission)?,
        scope: scope("scope", &asked.scope)?,
        source: source.map_err(|error| invalid("source_address", error))?,
        time: None,
    })
}

/// 0 is what proto3 has for "not given".
fn at_least(min_revision: i64) -> Result<Option<i64>, Error> {
    if min_revision < 0 {
        let message = "min_revision must not be negative";
        return Err(Error::validation("min_revision", "range", message));
    }
    Ok((min_revision > 0).then_some(min_revision))
}

impl From<Answer> for CheckResponse {
    fn from(answer: Answer) -> Self {
        Self {
            allowed: answer.allowed,
            reason: answer.reason.unwrap_or_default(),
            granted_by: answer.granted_by.unwrap_or_default(),
            revision: answer.revision,
        }
    }
}

#[tonic::async_trait]
impl Access for Doors {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let (check, from) = (parsed(&asked)?, at_least(asked.min_revision)?);
            Ok(service::check(&app, &ctx, &check, from).await?.into())
        })
        .await
    }

    async fn batch_check(
        &self,
        request: Request<BatchCheckRequest>,
    ) -> Result<Response<BatchCheckResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let element = |(index, check): (usize, &CheckRequest)| {
                parsed(check).map_err(|error| error.within(&format!("checks[{index}]")))
            };
            let checks = asked.checks.iter().enumerate().map(element);
            let checks = checks.collect::<Result<Vec<Check>, Error>>()?;
            let from = at_least(asked.min_revision)?;
            let answers = service::batch(&app, &ctx, &checks, from, Semantic::All).await?;
            let revision = answers.first().map_or(0, |answer| answer.revision);
            Ok(BatchCheckResponse {
                results: answers.into_iter().map(CheckResponse::from).collect(),
                revision,
            })
        })
        .await
    }
}
