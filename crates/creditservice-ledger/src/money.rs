//! Amounts of money: whole minor units of a currency, within what a JSON number holds exactly.

use serde::{Deserialize, Serialize};

/// The largest amount and balance: 2⁵³−1 minor units. Beyond it JSON readers lose digits.
pub const MAX_MINOR: i64 = (1 << 53) - 1;

/// A currency, by its ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Currency {
    /// Yen; it has no smaller unit.
    #[serde(rename = "JPY")]
    Jpy,
}

impl Currency {
    /// How many decimal digits the minor unit has.
    #[must_use]
    pub fn exponent(self) -> u32 {
        match self {
            Self::Jpy => 0,
        }
    }

    /// The ISO 4217 code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Jpy => "JPY",
        }
    }

    /// The currency of that code; exactly as ISO writes it.
    #[must_use]
    pub fn by_code(code: &str) -> Option<Self> {
        (code == "JPY").then_some(Self::Jpy)
    }
}

/// A number is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from {least} to {MAX_MINOR}")]
pub struct AmountError {
    least: i64,
}

/// An amount that moves: 1 … 2⁵³−1 minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(i64);

impl Amount {
    /// Parses an amount.
    pub fn new(minor: i64) -> Result<Self, AmountError> {
        if (1..=MAX_MINOR).contains(&minor) {
            Ok(Self(minor))
        } else {
            Err(AmountError { least: 1 })
        }
    }

    /// In minor units.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

/// An amount that may be nothing: 0 … 2⁵³−1 minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Charge(i64);

impl Charge {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Parses an amount that may be nothing.
    pub fn new(minor: i64) -> Result<Self, AmountError> {
        if (0..=MAX_MINOR).contains(&minor) {
            Ok(Self(minor))
        } else {
            Err(AmountError { least: 0 })
        }
    }

    /// In minor units.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Amount {
    type Error = AmountError;
    fn try_from(minor: i64) -> Result<Self, AmountError> {
        Self::new(minor)
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> Self {
        amount.0
    }
}

impl TryFrom<i64> for Charge {
    type Error = AmountError;
    fn try_from(minor: i64) -> Result<Self, AmountError> {
        Self::new(minor)
    }
}

impl From<Charge> for i64 {
    fn from(charge: Charge) -> Self {
        charge.0
    }
}

impl From<Amount> for Charge {
    fn from(amount: Amount) -> Self {
        Self(amount.0)
    }
}

/// Whether a balance may be this large.
pub(crate) fn in_range(minor: i64) -> bool {
    (-MAX_MINOR..=MAX_MINOR).contains(&minor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_an_amount() {
        for good in [1, 2, MAX_MINOR] {
            assert_eq!(Amount::new(good).unwrap().get(), good);
            assert_eq!(Charge::new(good).unwrap().get(), good);
        }
        for bad in [0, -1, MAX_MINOR + 1, i64::MAX, i64::MIN] {
            assert!(Amount::new(bad).is_err(), "{bad}");
        }
        assert_eq!(Charge::new(0).unwrap(), Charge::ZERO);
        assert!(Charge::new(-1).is_err());
        assert!(Charge::new(MAX_MINOR + 1).is_err());
    }

    #[test]
    fn amounts_in_json_are_whole_numbers_in_range() {
        assert_eq!(serde_json::from_str::<Amount>("5").unwrap().get(), 5);
        for bad in [
            "0",
            "-5",
            "5.0",
            "5.5",
            "\"5\"",
            "1e400",
            "1e3",
            "9007199254740992",
            "9223372036854775808",
            "null",
        ] {
            assert!(serde_json::from_str::<Amount>(bad).is_err(), "{bad}");
        }
    }
}
