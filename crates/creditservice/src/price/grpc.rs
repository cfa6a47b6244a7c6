//! `photon.credit.v1.Prices`.

use creditservice_ledger::{Currency, Rate};
use photon_core::Error;
use photon_proto::photon::credit::v1::{self as pb, prices_server::Prices};
use tonic::{Request, Response, Status};

use super::{rate, service};
use crate::{
    catalog::Row,
    grpc::{
        Doors,
        fields::{name, timestamp},
    },
};

fn price(row: Row) -> Option<pb::Price> {
    match row {
        Row::Price {
            sku,
            effective_from,
            rate,
        } => Some(pb::Price {
            sku: sku.into(),
            effective_from: Some(prost_types::Timestamp {
                seconds: effective_from,
                nanos: 0,
            }),
            nanos: rate.nanos(),
            per_quantity: rate.per_quantity(),
            per_seconds: rate.per_seconds(),
            currency: Currency::Jpy.code().to_owned(),
        }),
        Row::Limit { .. } => None,
    }
}

fn asked_rate(asked: &pb::PublishPriceRequest) -> Result<Rate, Error> {
    rate(
        asked.nanos,
        Some(asked.per_quantity).filter(|quantity| *quantity != 0),
        asked.per_seconds,
    )
}

#[tonic::async_trait]
impl Prices for Doors {
    async fn list(
        &self,
        request: Request<pb::ListPricesRequest>,
    ) -> Result<Response<pb::ListPricesResponse>, Status> {
        self.read(request, |app, ctx, _| async move {
            let rows = service::list(&app, &ctx).await?;
            Ok(pb::ListPricesResponse {
                prices: rows.into_iter().filter_map(price).collect(),
            })
        })
        .await
    }

    async fn publish(
        &self,
        request: Request<pb::PublishPriceRequest>,
    ) -> Result<Response<pb::Price>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let rate = asked_rate(&asked)?;
            let sku = name("sku", &asked.sku)?;
            let from = timestamp("effective_from", asked.effective_from)?;
            let row = service::publish(&app, &ctx, sku, from, rate).await?;
            price(row).ok_or_else(|| Error::internal("a price is no price"))
        })
        .await
    }
}
