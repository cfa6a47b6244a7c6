//! Amounts finer than a minor unit, without rounding.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::MAX_MINOR;

/// Parts of a minor unit that every cost is a whole number of: 10⁹ · 2³⁰ · 2,592,000 (nanos, base units of a GiB,
/// seconds of 30 days).
pub(crate) const RESOLUTION: u128 = 1_000_000_000 * (1 << 30) * 2_592_000;

/// An amount of 0 or more minor units, exact to 1/`RESOLUTION`: `whole + fraction / RESOLUTION`.
///
/// In JSON the fraction is a text: it does not fit the numbers of JSON readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(i64, String)", into = "(i64, String)")]
pub struct Exact {
    whole: i64,
    fraction: u128,
}

/// A pair is not an exact amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be whole minor units from 0 and a fraction below one")]
pub struct ExactError;

impl Exact {
    /// Nothing.
    pub const ZERO: Self = Self {
        whole: 0,
        fraction: 0,
    };

    /// From parts that are in range: `0 ≤ whole ≤ 2⁵³−1`, `fraction < RESOLUTION`.
    pub(crate) fn new(whole: i64, fraction: u128) -> Result<Self, ExactError> {
        if (0..=MAX_MINOR).contains(&whole) && fraction < RESOLUTION {
            Ok(Self { whole, fraction })
        } else {
            Err(ExactError)
        }
    }

    /// The whole minor units in it.
    #[must_use]
    pub fn floor(self) -> i64 {
        self.whole
    }

    /// The least whole number of minor units that covers it.
    #[must_use]
    pub fn ceil(self) -> i64 {
        self.whole + i64::from(self.fraction > 0)
    }

    /// The sum, if it is within 2⁵³−1 minor units.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let fraction = self.fraction + other.fraction;
        let (carry, fraction) = if fraction >= RESOLUTION {
            (1, fraction - RESOLUTION)
        } else {
            (0, fraction)
        };
        let whole = self.whole.checked_add(other.whole)?.checked_add(carry)?;
        Self::new(whole, fraction).ok()
    }

    /// What is left after taking whole minor units, if there are so many.
    #[must_use]
    pub fn minus_whole(self, whole: i64) -> Option<Self> {
        let left = self.whole.checked_sub(whole)?;
        Self::new(left, self.fraction).ok()
    }

    /// The fraction in billionths of a minor unit, rounded down; for showing only.
    #[must_use]
    pub fn nanos(self) -> u32 {
        let nanos = self.fraction / (RESOLUTION / 1_000_000_000);
        u32::try_from(nanos).unwrap_or(u32::MAX)
    }
}

/// As a decimal with nine digits, rounded down; for showing only.
impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.whole, self.nanos())
    }
}

impl From<Exact> for (i64, String) {
    fn from(exact: Exact) -> Self {
        (exact.whole, exact.fraction.to_string())
    }
}

impl TryFrom<(i64, String)> for Exact {
    type Error = ExactError;
    fn try_from((whole, fraction): (i64, String)) -> Result<Self, ExactError> {
        Self::new(whole, fraction.parse().map_err(|_| ExactError)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn fractions_carry() {
        let third = Exact::new(0, RESOLUTION / 3).unwrap();
        let one = third.plus(third).unwrap().plus(third).unwrap();
        assert_eq!((one.floor(), one.ceil()), (1, 1));
        assert_eq!(third.ceil(), 1);
        assert_eq!(Exact::ZERO.ceil(), 0);
        assert_eq!(third.to_string(), "0.333333333");
        assert_eq!(one.minus_whole(1), Some(Exact::ZERO));
        assert_eq!(third.minus_whole(1), None);
        let most = Exact::new(MAX_MINOR, RESOLUTION - 1).unwrap();
        assert_eq!(most.plus(Exact::new(0, 1).unwrap()), None);
    }

    #[test]
    fn json_keeps_every_digit() {
        let exact = Exact::new(MAX_MINOR, RESOLUTION - 1).unwrap();
        let json = serde_json::to_string(&exact).unwrap();
        assert_eq!(serde_json::from_str::<Exact>(&json).unwrap(), exact);
        for bad in [
            r#"[-1,"0"]"#.to_owned(),
            r#"[0,"-1"]"#.to_owned(),
            format!(r#"[0,"{RESOLUTION}"]"#),
            r#"[9007199254740992,"0"]"#.to_owned(),
        ] {
            assert!(serde_json::from_str::<Exact>(&bad).is_err(), "{bad}");
        }
    }
}
