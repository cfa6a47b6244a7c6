//! `/api/v1/prices`.

use std::sync::Arc;

use axum::extract::State;
use creditservice_ledger::{Currency, Sku};
use jiff::Timestamp;
use photon_auth::{Context, rest::Routes};
use photon_core::Error;
use photon_server::rest::{Created, Data, Json, RestError, RestResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{rate, service};
use crate::{
    app::App,
    catalog::Row,
    rest::{
        Envelope, Failure,
        schema::{CurrencyText, IdText},
    },
};

pub(crate) fn routes() -> Routes<Arc<App>> {
    Routes::new()
        .get("/api/v1/prices", "creditservice.prices.list", list)
        .create("/api/v1/prices", "creditservice.prices.create", publish)
}

/// A price to be published: `nanos` billionths of a minor unit for `per_quantity` base units, and if `per_seconds` is there,
/// for so long.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewPrice)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishBody {
    /// Of what.
    #[schema(value_type = IdText, example = "vm.small")]
    sku: Sku,
    /// Billionths of a minor unit.
    #[schema(minimum = 0, maximum = 9007199254740991_i64, example = 10000000000_i64)]
    nanos: u64,
    /// For so many base units; a power of two. Default: 1.
    #[schema(example = 1)]
    per_quantity: Option<u64>,
    /// For so many seconds; a divisor of 30 days. Absent: it costs once.
    #[schema(example = 60)]
    per_seconds: Option<u64>,
    /// From when on, to the second; at least a minute ahead. Default: at once for the first price of a SKU, else in two
    /// minutes.
    #[schema(value_type = Option<String>, format = DateTime)]
    effective_from: Option<Timestamp>,
}

/// A price.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct Answer {
    #[schema(value_type = IdText, example = "vm.small")]
    sku: Sku,
    #[schema(value_type = String, format = DateTime)]
    effective_from: Timestamp,
    nanos: u64,
    per_quantity: u64,
    per_seconds: Option<u64>,
    #[schema(value_type = CurrencyText)]
    currency: &'static str,
}

/// The price book.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Prices)]
pub(crate) struct ListAnswer {
    prices: Vec<Answer>,
}

fn answer(row: Row) -> Option<Answer> {
    match row {
        Row::Price {
            sku,
            effective_from,
            rate,
        } => Some(Answer {
            sku,
            effective_from: Timestamp::from_second(effective_from).ok()?,
            nanos: rate.nanos(),
            per_quantity: rate.per_quantity(),
            per_seconds: rate.per_seconds(),
            currency: Currency::Jpy.code(),
        }),
        Row::Limit { .. } => None,
    }
}

/// The whole price book, by SKU and time.
#[utoipa::path(
    get, path = "/api/v1/prices", tag = "prices", operation_id = "list_prices",
    responses((status = 200, body = Envelope<ListAnswer>), Failure)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, ctx: Context) -> RestResult<ListAnswer> {
    let rows = service::list(&app, &ctx).await?;
    Ok(Data(ListAnswer {
        prices: rows.into_iter().filter_map(answer).collect(),
    }))
}

/// Publishes a price. It does not change any more; repeating it changes nothing.
#[utoipa::path(
    post, path = "/api/v1/prices", tag = "prices", operation_id = "publish_price",
    request_body = PublishBody,
    responses((status = 201, body = Envelope<Answer>), Failure)
)]
pub(crate) async fn publish(
    State(app): State<Arc<App>>,
    ctx: Context,
    Json(body): Json<PublishBody>,
) -> Result<Created<Answer>, RestError> {
    let rate = rate(body.nanos, body.per_quantity, body.per_seconds)?;
    let row = service::publish(&app, &ctx, body.sku, body.effective_from, rate).await?;
    let answer = answer(row).ok_or_else(|| Error::internal("a price is no price"))?;
    Ok(Created(answer))
}
