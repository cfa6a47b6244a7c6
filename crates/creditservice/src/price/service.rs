//! The use cases of the price book.

use creditservice_ledger::{Rate, Sku};
use jiff::Timestamp;
use photon_auth::{Context, Tell};
use photon_authz::Scope;
use photon_core::Error;

use crate::{
    app::{self, App},
    catalog::{self, Row, SkuPrices},
    refusal,
};

/// How long before it is effective a price must be published: no shard may have rated by an older one.
const AHEAD_SECONDS: i64 = 60;
/// The most prices of one SKU.
const MOST_PRICES: usize = 1_000;
/// How often it is decided anew because somebody else published one meanwhile.
const ATTEMPTS: usize = 16;

/// All prices, by SKU and time.
pub(crate) async fn list(app: &App, ctx: &Context) -> Result<Vec<Row>, Error> {
    ctx.allow_somewhere()?;
    Ok(catalog::read(app.shards.store(), catalog::PRICES).await?)
}

/// Publishes a price in every shard; it is effective from that second on. Repeating it changes nothing.
pub(crate) async fn publish(
    app: &App,
    ctx: &Context,
    sku: Sku,
    effective_from: Option<Timestamp>,
    rate: Rate,
) -> Result<Row, Error> {
    ctx.allow(&Scope::System)?;
    let store = app.shards.store();
    for _ in 0..ATTEMPTS {
        let prices = SkuPrices::read(store, &sku).await?;
        let row = Row::Price {
            sku: sku.clone(),
            effective_from: effective(&prices, effective_from)?,
            rate,
        };
        prices
            .check(&row)
            .map_err(|refusal| refusal::error(&refusal))?;
        if !prices.rows().contains(&row) {
            check_room(&prices, &row)?;
        }
        let mut transaction = prices.adding(store, &row)?;
        ctx.once(&mut transaction, "price", row.kind_or_sku(), Tell::Again)?;
        match transaction.commit().await {
            Err(
                photon_store::Error::Conflict { .. } | photon_store::Error::AlreadyExists { .. },
            ) => continue,
            done => done?,
        };
        return catalog::tell(&app.shards, row, Some(&app::actor(ctx)?), ctx.deadline).await;
    }
    Err(Error::unavailable(
        "others publish prices of this SKU all the time",
    ))
}

/// From when on, in seconds since 1970.
fn effective(prices: &SkuPrices, given: Option<Timestamp>) -> Result<i64, Error> {
    let effective_from = match given {
        Some(moment) => moment.as_second(),
        // The first of a SKU counts from the beginning: nothing was rated before.
        None if prices.rows().is_empty() => 0,
        None => Timestamp::now().as_second() + 2 * AHEAD_SECONDS,
    };
    if effective_from < 0 {
        let message = "effective_from must not be before 1970";
        return Err(Error::validation("effective_from", "min", message));
    }
    Ok(effective_from)
}

/// Whether a new price comes early enough, and is not one too many.
fn check_room(prices: &SkuPrices, row: &Row) -> Result<(), Error> {
    let Row::Price { effective_from, .. } = row else {
        return Err(Error::internal("a limit is no price"));
    };
    let earliest = Timestamp::now().as_second() + AHEAD_SECONDS;
    if !prices.rows().is_empty() && *effective_from < earliest {
        let message = format!("effective_from must be at least {AHEAD_SECONDS} s ahead");
        return Err(Error::validation("effective_from", "min", message));
    }
    if prices.rows().len() >= MOST_PRICES {
        return Err(Error::failed_precondition("the SKU has too many prices"));
    }
    Ok(())
}
