//! What a period costs, before it is held: whether a reservation that somebody names is enough for it. What is charged is
//! CreditService's to say.

use creditservice_ledger::Rate;
use jiff::Timestamp;
use photon_core::{Code, Error};
use photon_proto::photon::credit::v1::Price;
use serde_json::json;

/// What quantities of SKUs cost for so many seconds by the prices of a moment, each rounded up as a hold is.
///
/// # Errors
/// `PRICE_NOT_FOUND`; `INTERNAL` for a price that cannot be.
pub(super) fn price(
    book: &[Price],
    skus: impl IntoIterator<Item = (&'static str, u64)>,
    at: Timestamp,
    seconds: u64,
) -> Result<i64, Error> {
    let mut sum: i64 = 0;
    for (sku, quantity) in skus {
        let cost = rate_at(book, sku, at)?.cost(quantity, seconds);
        sum = cost
            .and_then(|cost| sum.checked_add(cost.ceil()))
            .ok_or_else(|| Error::new(Code::BALANCE_OUT_OF_RANGE, "it costs more than there is"))?;
    }
    Ok(sum)
}

fn rate_at(book: &[Price], sku: &str, at: Timestamp) -> Result<Rate, Error> {
    let from = |price: &Price| price.effective_from.map(|from| from.seconds);
    let effective = book
        .iter()
        .filter(|price| price.sku == sku && from(price) <= Some(at.as_second()))
        .max_by_key(|price| from(price));
    let price = effective.ok_or_else(|| {
        Error::new(Code::PRICE_NOT_FOUND, format!("{sku} has no price"))
            .with_details(json!({ "sku": sku, "at": at }))
    })?;
    Rate::new(price.nanos, price.per_quantity, price.per_seconds).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(sku: &str, from: i64, yen_an_hour: u64, per_quantity: u64) -> Price {
        Price {
            sku: sku.to_owned(),
            effective_from: Some(prost_types::Timestamp {
                seconds: from,
                nanos: 0,
            }),
            nanos: yen_an_hour * 1_000_000_000,
            per_quantity,
            per_seconds: Some(3_600),
            currency: String::new(),
        }
    }

    #[test]
    fn each_sku_is_rounded_up_by_the_price_of_the_moment() {
        let book = [
            of("vcpu", 0, 10, 1),
            of("vcpu", 100, 20, 1),
            of("memory_mib", 0, 1, 1024),
        ];
        let at = |second| Timestamp::from_second(second).unwrap();
        let skus = [("vcpu", 2), ("memory_mib", 512)];
        assert_eq!(price(&book, skus, at(99), 3_600).unwrap(), 20 + 1);
        assert_eq!(price(&book, skus, at(100), 3_600).unwrap(), 40 + 1);
        assert_eq!(price(&book, skus, at(100), 900).unwrap(), 10 + 1);
        let missing = price(&book, [("disk_gib", 1)], at(1), 60).unwrap_err();
        assert_eq!(missing.code(), Code::PRICE_NOT_FOUND);
    }
}
