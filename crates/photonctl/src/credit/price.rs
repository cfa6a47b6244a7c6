//! `photonctl price`.

use serde_json::{Value, json};

use super::{
    Once,
    cli::PriceBook,
    connection::Credit,
    money::shown_price,
    record::{self, Field, Show},
};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{Body, client::Call},
};

const COLUMNS: &[Field] = &[
    ("sku", Show::Plain),
    ("price", Show::Count),
    ("effective_from", Show::Plain),
];

pub(crate) async fn run(credit: &Credit<'_>, command: PriceBook) -> Result<(), Failure> {
    match command {
        PriceBook::List { sku } => list(credit, sku.as_deref()).await,
        PriceBook::Publish {
            sku,
            price,
            per,
            per_quantity,
            effective_from,
        } => {
            let body = Body::default()
                .set("sku", sku)
                .set("nanos", price.nanos)
                .set("per_quantity", per_quantity)
                .maybe("per_seconds", per)
                .maybe(
                    "effective_from",
                    effective_from.map(|time| time.to_string()),
                );
            let path = ["api", "v1", "prices"];
            let published = match effective_from {
                // Asked for again it is the same price.
                Some(_) => credit.post(&path, body, Once::default()).await?,
                // Each time it is asked for it would be another one, that much later.
                None => credit.service.call(Call::post(&path, body.into())).await?,
            };
            match credit.format {
                Format::Human => record::print(&row(&published), COLUMNS, None),
                Format::Data(notation) => output::data(notation, &published),
            }
        }
    }
}

async fn list(credit: &Credit<'_>, sku: Option<&str>) -> Result<(), Failure> {
    let answer = credit.get(&["api", "v1", "prices"]).await?;
    let Some(prices) = answer["prices"].as_array() else {
        return Err(credit.service.not_understood("it has no prices"));
    };
    let wanted = |price: &&Value| sku.is_none_or(|sku| price["sku"] == sku);
    let prices: Vec<&Value> = prices.iter().filter(wanted).collect();
    if let (Some(sku), true) = (sku, prices.is_empty()) {
        return Err(Failure::not_found(format!("{sku} has no price")));
    }
    match credit.format {
        Format::Human => {
            let rows: Vec<Value> = prices.into_iter().map(row).collect();
            record::table(COLUMNS, &rows, |_| None)
        }
        Format::Data(notation) => output::data(notation, &json!({ "prices": prices })),
    }
}

/// A price as people read it.
fn row(price: &Value) -> Value {
    let from = match price["effective_from"].as_str() {
        // The beginning of time as computers count it.
        Some("1970-01-01T00:00:00Z") => "always",
        Some(from) => from,
        None => "",
    };
    json!({
        "sku": price["sku"],
        "price": shown_price(price),
        "effective_from": from,
    })
}
