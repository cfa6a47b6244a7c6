//! The price book: rates of SKUs, each effective from a second on until the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Exact, Interval, Quantity, Rate, Sku};

/// Rates by SKU and the second from which they are effective.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBook {
    skus: BTreeMap<Sku, BTreeMap<i64, Rate>>,
}

/// There is no price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPrice {
    /// For this SKU,
    pub sku: Sku,
    /// at this second.
    pub at: i64,
}

/// Why usage has no cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WhyNot {
    NoPrice(NoPrice),
    OutOfRange,
}

/// What publishing a rate would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    New,
    Known,
    /// Another rate is effective from that second.
    Fixed,
    /// The SKU's other rates are by time and this one is not, or the reverse.
    OtherBasis,
}

impl PriceBook {
    /// The rate of a SKU at a second.
    #[must_use]
    pub fn rate_at(&self, sku: &Sku, second: i64) -> Option<Rate> {
        let (_, rate) = self.skus.get(sku)?.range(..=second).next_back()?;
        Some(*rate)
    }

    /// All rates, by SKU and time.
    pub fn rates(&self) -> impl Iterator<Item = (&Sku, i64, Rate)> {
        self.skus
            .iter()
            .flat_map(|(sku, rates)| rates.iter().map(move |(from, rate)| (sku, *from, *rate)))
    }

    /// What a quantity of a SKU costs in an interval. Where time counts, each part of it at the rate of that part;
    /// else at the rate of its beginning.
    pub(crate) fn cost(
        &self,
        sku: &Sku,
        interval: Interval,
        quantity: Quantity,
    ) -> Result<Exact, WhyNot> {
        let no_price = || {
            WhyNot::NoPrice(NoPrice {
                sku: sku.clone(),
                at: interval.start(),
            })
        };
        let mut from = interval.start();
        let mut rate = self.rate_at(sku, from).ok_or_else(no_price)?;
        let mut sum = Exact::ZERO;
        let mut add = |rate: Rate, until: i64, from: i64| {
            let cost = rate.cost(quantity.get(), from.abs_diff(until));
            sum = cost
                .and_then(|cost| sum.plus(cost))
                .ok_or(WhyNot::OutOfRange)?;
            Ok(())
        };
        if rate.per_seconds().is_some() {
            let changes = self
                .skus
                .get(sku)
                .into_iter()
                .flat_map(|rates| rates.range(interval.start() + 1..interval.end()));
            for (change, next) in changes {
                add(rate, *change, from)?;
                (from, rate) = (*change, *next);
            }
        }
        add(rate, interval.end(), from)?;
        Ok(sum)
    }

    pub(crate) fn would_publish(&self, sku: &Sku, from: i64, rate: Rate) -> Publish {
        let Some(rates) = self.skus.get(sku) else {
            return Publish::New;
        };
        let by_time = |rate: &Rate| rate.per_seconds().is_some();
        match rates.get(&from) {
            Some(known) if *known == rate => Publish::Known,
            Some(_) => Publish::Fixed,
            None if rates.values().any(|other| by_time(other) != by_time(&rate)) => {
                Publish::OtherBasis
            }
            None => Publish::New,
        }
    }

    pub(crate) fn publish(&mut self, sku: Sku, from: i64, rate: Rate) {
        self.skus.entry(sku).or_default().insert(from, rate);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use photon_core::Name;

    use super::*;

    fn yen_a_second(yen: u64) -> Rate {
        Rate::new(yen * 1_000_000_000, 1, Some(1)).unwrap()
    }

    fn cost(book: &PriceBook, start: i64, end: i64) -> Result<i64, WhyNot> {
        let interval = Interval::new(start, end).unwrap();
        let sku = Name::new("vm").unwrap();
        let exact = book.cost(&sku, interval, Quantity::new(2).unwrap())?;
        assert_eq!(exact.floor(), exact.ceil());
        Ok(exact.floor())
    }

    #[test]
    fn an_interval_is_split_where_the_price_changes() {
        let vm = Name::new("vm").unwrap();
        let mut book = PriceBook::default();
        for (from, yen) in [(10, 1), (20, 5), (30, 0)] {
            assert_eq!(
                book.would_publish(&vm, from, yen_a_second(yen)),
                Publish::New
            );
            book.publish(vm.clone(), from, yen_a_second(yen));
        }
        assert_eq!(cost(&book, 10, 20), Ok(20));
        assert_eq!(cost(&book, 10, 21), Ok(30));
        assert_eq!(cost(&book, 19, 31), Ok(2 + 100));
        assert_eq!(cost(&book, 30, 99), Ok(0));
        let missing = cost(&book, 9, 20);
        assert_eq!(
            missing,
            Err(WhyNot::NoPrice(NoPrice {
                sku: vm.clone(),
                at: 9
            }))
        );
        assert_eq!(book.would_publish(&vm, 20, yen_a_second(5)), Publish::Known);
        assert_eq!(book.would_publish(&vm, 20, yen_a_second(6)), Publish::Fixed);
        let once = Rate::new(1, 1, None).unwrap();
        assert_eq!(book.would_publish(&vm, 40, once), Publish::OtherBasis);
    }

    #[test]
    fn what_is_counted_takes_the_price_of_its_beginning() {
        let traffic = Name::new("vm").unwrap();
        let mut book = PriceBook::default();
        book.publish(
            traffic.clone(),
            0,
            Rate::new(3_000_000_000, 1, None).unwrap(),
        );
        book.publish(traffic, 15, Rate::new(9_000_000_000, 1, None).unwrap());
        assert_eq!(cost(&book, 10, 20), Ok(6));
        assert_eq!(cost(&book, 15, 20), Ok(18));
    }
}
