//! What was used, and what is expected to be.

use serde::{Deserialize, Serialize};

use super::Sku;
use crate::{money::MAX_MINOR, text::ResourceId};

/// `[start, end)` in whole seconds since 1970: at least one second, at most 31 days, between 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(i64, i64)", into = "(i64, i64)")]
pub struct Interval {
    start: i64,
    end: i64,
}

/// Two numbers are not an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must begin before it ends and be at most {} seconds long",
    Interval::MAX_SECONDS
)]
pub struct IntervalError;

impl Interval {
    /// 31 days.
    pub const MAX_SECONDS: i64 = 31 * 86_400;
    const LAST: i64 = 253_402_300_799;

    /// Parses an interval.
    pub fn new(start: i64, end: i64) -> Result<Self, IntervalError> {
        let in_order = 0 <= start && start < end && end <= Self::LAST;
        if in_order && end - start <= Self::MAX_SECONDS {
            Ok(Self { start, end })
        } else {
            Err(IntervalError)
        }
    }

    /// The first second.
    #[must_use]
    pub fn start(self) -> i64 {
        self.start
    }

    /// The second after the last.
    #[must_use]
    pub fn end(self) -> i64 {
        self.end
    }
}

impl TryFrom<(i64, i64)> for Interval {
    type Error = IntervalError;
    fn try_from((start, end): (i64, i64)) -> Result<Self, IntervalError> {
        Self::new(start, end)
    }
}

impl From<Interval> for (i64, i64) {
    fn from(interval: Interval) -> Self {
        (interval.start, interval.end)
    }
}

/// How many base units: 1 … 2⁵³−1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Quantity(u64);

/// A number is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to {MAX_MINOR}")]
pub struct QuantityError;

impl Quantity {
    /// Parses a quantity.
    pub fn new(quantity: u64) -> Result<Self, QuantityError> {
        if (1..=MAX_MINOR.unsigned_abs()).contains(&quantity) {
            Ok(Self(quantity))
        } else {
            Err(QuantityError)
        }
    }

    /// In base units.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Quantity {
    type Error = QuantityError;
    fn try_from(quantity: u64) -> Result<Self, QuantityError> {
        Self::new(quantity)
    }
}

impl From<Quantity> for u64 {
    fn from(quantity: Quantity) -> Self {
        quantity.0
    }
}

/// What a resource used of a SKU in an interval. With the project this is its natural id: counted once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The resource.
    pub resource_id: ResourceId,
    /// What it used.
    pub sku: Sku,
    /// When.
    pub interval: Interval,
    /// How much: held throughout the interval where time counts, else used up within it.
    pub quantity: Quantity,
}

/// What is expected to be used: the price of a period that is held in advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// The period.
    pub interval: Interval,
    /// What will be used in it.
    pub lines: Vec<ForecastLine>,
}

/// One line of a [`Forecast`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastLine {
    /// What.
    pub sku: Sku,
    /// How much.
    pub quantity: Quantity,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_interval() {
        assert!(Interval::new(0, 1).is_ok());
        assert!(Interval::new(5, 5 + Interval::MAX_SECONDS).is_ok());
        for (start, end) in [
            (1, 1),
            (2, 1),
            (-1, 1),
            (0, Interval::MAX_SECONDS + 1),
            (Interval::LAST, Interval::LAST + 1),
            (i64::MIN, i64::MAX),
        ] {
            assert!(Interval::new(start, end).is_err(), "{start} {end}");
        }
    }
}
