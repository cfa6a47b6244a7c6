//! A rate: what a quantity costs, for a time or at once.

use serde::{Deserialize, Serialize};

use super::exact::{Exact, RESOLUTION};
use crate::money::MAX_MINOR;

const NANOS: u128 = 1_000_000_000;
/// Every divisor of it may be a rate's quantity.
const QUANTITIES: u64 = 1 << 30;
/// Every divisor of it may be a rate's time: 30 days.
const SECONDS: u64 = 2_592_000;

/// `nanos` billionths of a minor unit for `per_quantity` base units, and if `per_seconds` is there, for so long.
///
/// 10 JPY per GiB and hour, metered in MiB: `{nanos: 10_000_000_000, per_quantity: 1024, per_seconds: 3600}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Rate {
    nanos: u64,
    per_quantity: u64,
    per_seconds: Option<u64>,
}

/// Why a rate is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// More than 2⁵³−1: JSON readers would lose digits.
    #[error("nanos must be a whole number from 0 to {MAX_MINOR}")]
    Nanos,
    /// Not a divisor of 2³⁰.
    #[error("per_quantity must be a power of two up to {QUANTITIES}")]
    Quantity,
    /// Not a divisor of 30 days.
    #[error("per_seconds must divide {SECONDS}")]
    Seconds,
}

#[derive(Serialize, Deserialize)]
struct Unchecked {
    nanos: u64,
    #[serde(default = "one")]
    per_quantity: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    per_seconds: Option<u64>,
}

fn one() -> u64 {
    1
}

impl Rate {
    /// Parses a rate; without `per_seconds` a quantity costs once, however long it took.
    pub fn new(nanos: u64, per_quantity: u64, per_seconds: Option<u64>) -> Result<Self, RateError> {
        let divides = |number: u64, of: u64| number > 0 && of.is_multiple_of(number);
        if nanos > MAX_MINOR.unsigned_abs() {
            Err(RateError::Nanos)
        } else if !divides(per_quantity, QUANTITIES) {
            Err(RateError::Quantity)
        } else if !per_seconds.is_none_or(|seconds| divides(seconds, SECONDS)) {
            Err(RateError::Seconds)
        } else {
            Ok(Self {
                nanos,
                per_quantity,
                per_seconds,
            })
        }
    }

    /// Billionths of a minor unit.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.nanos
    }

    /// For so many base units.
    #[must_use]
    pub fn per_quantity(self) -> u64 {
        self.per_quantity
    }

    /// And for so long, if time counts.
    #[must_use]
    pub fn per_seconds(self) -> Option<u64> {
        self.per_seconds
    }

    /// What a quantity costs, over so many seconds if time counts. None beyond 2⁵³−1 minor units.
    #[must_use]
    pub fn cost(self, quantity: u64, seconds: u64) -> Option<Exact> {
        let (seconds, per_seconds) = self.per_seconds.map_or((1, 1), |per| (seconds, per));
        let parts = u128::from(quantity)
            .checked_mul(u128::from(seconds))?
            .checked_mul(u128::from(self.nanos))?;
        let parts_per_unit = NANOS * u128::from(self.per_quantity) * u128::from(per_seconds);
        let whole = i64::try_from(parts / parts_per_unit).ok()?;
        // A divisor by construction, so this is exact.
        let fraction = parts % parts_per_unit * (RESOLUTION / parts_per_unit);
        Exact::new(whole, fraction).ok()
    }
}

impl TryFrom<Unchecked> for Rate {
    type Error = RateError;
    fn try_from(rate: Unchecked) -> Result<Self, RateError> {
        Self::new(rate.nanos, rate.per_quantity, rate.per_seconds)
    }
}

impl From<Rate> for Unchecked {
    fn from(rate: Rate) -> Self {
        Self {
            nanos: rate.nanos,
            per_quantity: rate.per_quantity,
            per_seconds: rate.per_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn ten_yen_a_gib_and_hour_are_exact() {
        let rate = Rate::new(10_000_000_000, 1024, Some(3600)).unwrap();
        assert_eq!(rate.cost(1024, 3600).unwrap(), Exact::new(10, 0).unwrap());
        // 360 seconds at a time, ten times over: no part is a whole number, the sum is.
        let part = rate.cost(1, 1).unwrap();
        assert_eq!(part.floor(), 0);
        let mut sum = Exact::ZERO;
        for _ in 0..1024 * 360 {
            sum = sum.plus(part).unwrap();
        }
        assert_eq!(sum, Exact::new(1, 0).unwrap());
    }

    #[test]
    fn without_time_a_quantity_costs_once() {
        let rate = Rate::new(500_000_000, 1 << 30, None).unwrap();
        assert_eq!(rate.cost(1 << 31, 7).unwrap(), Exact::new(1, 0).unwrap());
        assert_eq!(rate.cost(1 << 31, 7), rate.cost(1 << 31, 700_000));
    }

    #[test]
    fn what_is_a_rate() {
        assert_eq!(Rate::new(1, 3, None), Err(RateError::Quantity));
        assert_eq!(Rate::new(1, 0, None), Err(RateError::Quantity));
        assert_eq!(Rate::new(1, 1 << 31, None), Err(RateError::Quantity));
        assert_eq!(Rate::new(1, 1, Some(7)), Err(RateError::Seconds));
        assert_eq!(Rate::new(1, 1, Some(0)), Err(RateError::Seconds));
        assert_eq!(Rate::new(u64::MAX, 1, None), Err(RateError::Nanos));
        for seconds in [1, 60, 3600, 86_400, 2_592_000] {
            assert!(Rate::new(1, 1 << 30, Some(seconds)).is_ok());
        }
        let rate: Rate = serde_json::from_str(r#"{"nanos":5}"#).unwrap();
        assert_eq!(rate, Rate::new(5, 1, None).unwrap());
    }

    #[test]
    fn a_cost_out_of_range_is_none() {
        let most = Rate::new(MAX_MINOR.unsigned_abs(), 1, Some(1)).unwrap();
        assert_eq!(most.cost(u64::MAX, u64::MAX), None);
        assert_eq!(most.cost(1 << 53, 1 << 20), None);
    }
}
