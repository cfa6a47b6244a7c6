//! `photon.credit.v1.Usage`.

use creditservice_ledger::{
    Forecast, ForecastLine, Interval, NextHold, Quantity, Resource, Usage as Used,
};
use photon_core::Error;
use photon_proto::photon::credit::v1::{self as pb, usage_server::Usage};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use super::{
    Reported,
    service::{self, Step},
};
use crate::{
    grpc::{
        Doors,
        fields::{given, invalid, maybe_text, name, text, ttl},
    },
    reservation,
};

impl From<Reported> for pb::UsageResult {
    fn from(reported: Reported) -> Self {
        let figures = reported.figures.as_ref();
        Self {
            charged: reported.charged,
            billed: reported.billed,
            available: figures.map_or(0, |figures| figures.available),
            owed: figures.map_or(0, |figures| figures.owed),
            next: reported.next.map(reservation::grpc::message),
        }
    }
}

fn interval(
    field: &str,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
) -> Result<Interval, Error> {
    let second = |name: &str, time: Option<Timestamp>| {
        let field = format!("{field}.{name}");
        let time = time.ok_or_else(|| Error::required(&field))?;
        if time.nanos == 0 {
            Ok(time.seconds)
        } else {
            let message = format!("{field} must be a whole second");
            Err(Error::validation(&field, "value", message))
        }
    };
    Interval::new(second("start", start)?, second("end", end)?)
        .map_err(|error| invalid(&format!("{field}.end"), error))
}

/// Base units; proto3 does not tell 0 from none, which is one.
fn quantity(field: &str, number: u64) -> Result<Quantity, Error> {
    Quantity::new(number.max(1)).map_err(|error| invalid(&format!("{field}.quantity"), error))
}

fn used(lines: Vec<pb::UsageLine>) -> Result<Vec<Used>, Error> {
    let line = |(index, line): (usize, pb::UsageLine)| {
        let field = format!("usage[{index}]");
        Ok(Used {
            resource_id: text(&format!("{field}.resource_id"), line.resource_id)?,
            sku: name(&format!("{field}.sku"), &line.sku)?,
            interval: interval(&field, line.start, line.end)?,
            quantity: quantity(&field, line.quantity)?,
        })
    };
    lines.into_iter().enumerate().map(line).collect()
}

/// What is expected to be used.
pub(crate) fn forecast(field: &str, forecast: pb::Forecast) -> Result<Forecast, Error> {
    let line = |(index, line): (usize, pb::ForecastLine)| {
        let field = format!("{field}.lines[{index}]");
        Ok(ForecastLine {
            sku: name(&format!("{field}.sku"), &line.sku)?,
            quantity: quantity(&field, line.quantity)?,
        })
    };
    let lines = forecast.lines.into_iter().enumerate().map(line);
    Ok(Forecast {
        interval: interval(field, forecast.start, forecast.end)?,
        lines: lines.collect::<Result<_, Error>>()?,
    })
}

#[tonic::async_trait]
impl Usage for Doors {
    async fn record(
        &self,
        request: Request<pb::RecordUsageRequest>,
    ) -> Result<Response<pb::UsageResult>, Status> {
        self.change("Usage/Record", request, |app, ctx, key, asked| async move {
            let usage = used(asked.usage)?;
            let project = name("project_id", &asked.project_id)?;
            let done = service::record(&app, &ctx, &key, &project, usage).await?;
            Ok(done.map(Into::into))
        })
        .await
    }

    async fn settle(
        &self,
        request: Request<pb::SettleRequest>,
    ) -> Result<Response<pb::UsageResult>, Status> {
        self.change("Usage/Settle", request, |app, ctx, key, asked| async move {
            let reservation = given(&asked.reservation_id)
                .map(reservation::grpc::id)
                .transpose()?;
            let next = match asked.next {
                None => None,
                Some(next) => Some(NextHold {
                    forecast: forecast("next", next)?,
                    ttl: ttl("next_ttl_seconds", asked.next_ttl_seconds)?,
                }),
            };
            let step = Step {
                reservation,
                usage: used(asked.usage)?,
                next,
                resource: Resource {
                    kind: maybe_text("resource_type", asked.resource_type)?,
                    id: maybe_text("resource_id", asked.resource_id)?,
                },
            };
            let project = name("project_id", &asked.project_id)?;
            let done = service::settle(&app, &ctx, &key, &project, step).await?;
            Ok(done.map(Into::into))
        })
        .await
    }
}
