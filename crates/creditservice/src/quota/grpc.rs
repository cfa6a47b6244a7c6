//! `photon.credit.v1.Quotas`.

use creditservice_ledger::Limit;
use photon_core::Error;
use photon_proto::photon::credit::v1::{
    self as pb, quotas_server::Quotas, register_limit_request::To as Default, set_quota_request::To,
};
use tonic::{Request, Response, Status};

use super::{Quota, service};
use crate::{
    catalog::Row,
    grpc::{
        Doors,
        fields::{invalid, name, text, units},
    },
};

impl From<Quota> for pb::Quota {
    fn from(quota: Quota) -> Self {
        Self {
            kind: quota.kind.into(),
            limit: quota.limit.count(),
            own: quota.own,
            used: quota.used,
            reserved: quota.reserved,
        }
    }
}

fn registered(row: Row) -> Option<pb::RegisteredLimit> {
    match row {
        Row::Limit { kind, default } => Some(pb::RegisteredLimit {
            kind: kind.into(),
            default: default.count(),
        }),
        Row::Price { .. } => None,
    }
}

/// The limit that is meant; `None` for the default.
fn limit(to: Option<To>) -> Result<Option<Limit>, Error> {
    match to {
        Some(To::Limit(count)) => {
            let limit = Limit::at_most(count).map_err(|error| invalid("limit", error))?;
            Ok(Some(limit))
        }
        Some(To::Unlimited(true)) => Ok(Some(Limit::UNLIMITED)),
        Some(To::Default(true)) => Ok(None),
        Some(To::Unlimited(false) | To::Default(false)) | None => Err(Error::required("limit")),
    }
}

#[tonic::async_trait]
impl Quotas for Doors {
    async fn list(
        &self,
        request: Request<pb::ListQuotasRequest>,
    ) -> Result<Response<pb::ListQuotasResponse>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let project = name("project_id", &asked.project_id)?;
            let quotas = service::list(&app, &ctx, &project).await?;
            Ok(pb::ListQuotasResponse {
                quotas: quotas.into_iter().map(Into::into).collect(),
            })
        })
        .await
    }

    async fn set(
        &self,
        request: Request<pb::SetQuotaRequest>,
    ) -> Result<Response<pb::Quota>, Status> {
        self.change("Quotas/Set", request, |app, ctx, key, asked| async move {
            let limit = limit(asked.to)?;
            let kind = name("kind", &asked.kind)?;
            let project = name("project_id", &asked.project_id)?;
            let done = service::set(&app, &ctx, &key, &project, &kind, limit).await?;
            Ok(done.map(Into::into))
        })
        .await
    }

    async fn list_limits(
        &self,
        request: Request<pb::ListLimitsRequest>,
    ) -> Result<Response<pb::ListLimitsResponse>, Status> {
        self.read(request, |app, ctx, _| async move {
            let rows = service::registered(&app, &ctx).await?;
            Ok(pb::ListLimitsResponse {
                limits: rows.into_iter().filter_map(registered).collect(),
            })
        })
        .await
    }

    async fn register_limit(
        &self,
        request: Request<pb::RegisterLimitRequest>,
    ) -> Result<Response<pb::RegisteredLimit>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let default = match asked.to {
                Some(Default::Default(count)) => {
                    Limit::at_most(count).map_err(|error| invalid("default", error))?
                }
                Some(Default::Unlimited(true)) => Limit::UNLIMITED,
                Some(Default::Unlimited(false)) | None => return Err(Error::required("default")),
            };
            let kind = name("kind", &asked.kind)?;
            service::register(&app, &ctx, kind.clone(), default).await?;
            Ok(pb::RegisteredLimit {
                kind: kind.into(),
                default: default.count(),
            })
        })
        .await
    }

    async fn free(
        &self,
        request: Request<pb::FreeUnitsRequest>,
    ) -> Result<Response<pb::FreeUnitsResponse>, Status> {
        self.change("Quotas/Free", request, |app, ctx, key, asked| async move {
            let claimant = text("resource_id", asked.resource_id)?;
            let units = Some(units(asked.units)?).filter(|units| !units.is_empty());
            let project = name("project_id", &asked.project_id)?;
            let done = service::free(&app, &ctx, &key, &project, claimant, units).await?;
            Ok(done.map(|()| pb::FreeUnitsResponse {}))
        })
        .await
    }

    async fn recount(
        &self,
        request: Request<pb::RecountUnitsRequest>,
    ) -> Result<Response<pb::RecountUnitsResponse>, Status> {
        self.change(
            "Quotas/Recount",
            request,
            |app, ctx, key, asked| async move {
                let claimant = text("resource_id", asked.resource_id)?;
                let units = units(asked.units)?;
                let project = name("project_id", &asked.project_id)?;
                let done = service::recount(&app, &ctx, &key, &project, claimant, units).await?;
                Ok(done.map(|()| pb::RecountUnitsResponse {}))
            },
        )
        .await
    }
}
