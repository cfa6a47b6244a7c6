//! Words and numbers of wallets as REST writes them.

use creditservice_ledger::{Amount, Charge, Direction, Mode, Status};
use photon_core::Error;
use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

/// A whole number that is not 0: positive brings credit in, negative takes it out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed {
    pub(crate) direction: Direction,
    pub(crate) amount: Amount,
}

impl Signed {
    /// Parses a number.
    pub(crate) fn new(number: i64) -> Result<Self, &'static str> {
        const REASON: &str = "must be a whole number from 1 to 9007199254740991, or its negative";
        let direction = if number < 0 {
            Direction::Debit
        } else {
            Direction::Credit
        };
        let amount = number.checked_abs().ok_or(REASON)?;
        let amount = Amount::new(amount).map_err(|_| REASON)?;
        Ok(Self { direction, amount })
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(i64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The word for a status.
pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Suspended => "suspended",
        Status::Closed => "closed",
    }
}

/// The word for a mode.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Manual => "manual",
        Mode::Metered => "metered",
    }
}

/// The status of a word.
pub(crate) fn status_of(word: &str) -> Result<Status, Error> {
    match word {
        "active" => Ok(Status::Active),
        "suspended" => Ok(Status::Suspended),
        "closed" => Ok(Status::Closed),
        _ => Err(one_of("status", "active, suspended, closed")),
    }
}

/// The mode of a word.
pub(crate) fn mode_of(word: &str) -> Result<Mode, Error> {
    match word {
        "manual" => Ok(Mode::Manual),
        "metered" => Ok(Mode::Metered),
        _ => Err(one_of("billing_mode", "manual, metered")),
    }
}

fn one_of(field: &str, words: &str) -> Error {
    Error::validation(field, "value", format!("{field} must be one of {words}"))
}

/// An amount that moves.
#[derive(ToSchema)]
#[schema(value_type = i64, minimum = 1, maximum = 9007199254740991_i64, example = 5000)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct AmountNumber(i64);

/// An amount that may be nothing.
#[derive(ToSchema)]
#[schema(value_type = i64, minimum = 0, maximum = 9007199254740991_i64, example = 10000)]
#[expect(dead_code, reason = "only described, never built")]
pub(crate) struct ChargeNumber(i64);

/// Zero where nothing is said.
pub(crate) fn or_zero(amount: Option<Charge>) -> Charge {
    amount.unwrap_or(Charge::ZERO)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn corrections_have_a_sign() {
        let signed = |json| serde_json::from_str::<Signed>(json);
        let plus = signed("300").unwrap();
        assert_eq!(
            (plus.direction, plus.amount.get()),
            (Direction::Credit, 300)
        );
        let minus = signed("-300").unwrap();
        assert_eq!(
            (minus.direction, minus.amount.get()),
            (Direction::Debit, 300)
        );
        for bad in [
            "0",
            "1.5",
            "\"5\"",
            "9007199254740992",
            "-9007199254740992",
            "-9223372036854775808",
        ] {
            assert!(signed(bad).is_err(), "{bad}");
        }
    }
}
