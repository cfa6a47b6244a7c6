//! `photon.credit.v1.Billing`.

use photon_proto::photon::credit::v1::{self as pb, billing_server::Billing};
use tonic::{Request, Response, Status};

use super::{Terms, service};
use crate::grpc::{Doors, fields::name};

impl From<Terms> for pb::Terms {
    fn from(terms: Terms) -> Self {
        Self {
            org_id: terms.org.into(),
            required: terms.required,
            own: terms.own,
        }
    }
}

#[tonic::async_trait]
impl Billing for Doors {
    async fn get(
        &self,
        request: Request<pb::GetTermsRequest>,
    ) -> Result<Response<pb::Terms>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let org = name("org_id", &asked.org_id)?;
            Ok(service::get(&app, &ctx, org).await?.into())
        })
        .await
    }

    async fn set(
        &self,
        request: Request<pb::SetTermsRequest>,
    ) -> Result<Response<pb::Terms>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let org = name("org_id", &asked.org_id)?;
            let terms = service::set(&app, &ctx, org, asked.required).await?;
            Ok(terms.into())
        })
        .await
    }
}
