//! The ledger's time: it is given, compared and added to, never asked for.

use serde::{Deserialize, Serialize};

const MICROS: i64 = 1_000_000;
/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// A moment: microseconds since 1970 in UTC, between 1970 and the end of 9999.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "i64", into = "i64")]
pub struct Time(i64);

impl Time {
    /// 1970.
    pub const START: Self = Self(0);

    /// The moment so many microseconds after 1970; what lies outside 1970 … 9999 becomes the nearest moment within.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, LAST_SECOND * MICROS))
    }

    /// The moment so many seconds after 1970, held to the same bounds.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(MICROS))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0 / MICROS
    }

    /// So many seconds later (or earlier).
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_micros(self.0.saturating_add(seconds.saturating_mul(MICROS)))
    }
}

impl From<i64> for Time {
    fn from(micros: i64) -> Self {
        Self::from_micros(micros)
    }
}

impl From<Time> for i64 {
    fn from(time: Time) -> Self {
        time.0
    }
}

/// How long a reservation holds: 1 second … 31 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Ttl(i64);

/// A number of seconds is not a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number of seconds from 1 to {}", Ttl::MAX_SECONDS)]
pub struct TtlError;

impl Ttl {
    /// 31 days.
    pub const MAX_SECONDS: i64 = 31 * 86_400;

    /// Parses a time to live in seconds.
    pub fn new(seconds: i64) -> Result<Self, TtlError> {
        if (1..=Self::MAX_SECONDS).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(TtlError)
        }
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Ttl {
    type Error = TtlError;
    fn try_from(seconds: i64) -> Result<Self, TtlError> {
        Self::new(seconds)
    }
}

impl From<Ttl> for i64 {
    fn from(ttl: Ttl) -> Self {
        ttl.0
    }
}

/// The month (UTC) of a second since 1970, counted from January of year 0: year · 12 + month − 1.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub(crate) fn month_of(seconds: i64) -> i64 {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March: the leap day is the last of a year.
    let from_march = (5 * day_of_year + 2) / 153;
    let year_from_march = year_of_era + era * 400;
    year_from_march * 12 + from_march + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        // Seconds of each first of a month as `date -u +%s` gives them.
        for (second, year, month) in [
            (0, 1970, 1),
            (951_782_400, 2000, 2),    // 2000-02-29
            (951_868_799, 2000, 2),    // its last second
            (951_868_800, 2000, 3),    // 2000-03-01
            (1_764_547_199, 2025, 11), // 2025-11-30T23:59:59
            (1_764_547_200, 2025, 12),
            (1_767_225_599, 2025, 12),
            (1_767_225_600, 2026, 1),
            (4_107_542_400, 2100, 3), // 2100 has no leap day
            (4_107_542_399, 2100, 2),
        ] {
            assert_eq!(month_of(second), year * 12 + month - 1, "{second}");
        }
    }

    #[test]
    fn times_stay_within_their_bounds() {
        assert_eq!(Time::from_micros(-1), Time::START);
        let end = Time::from_micros(i64::MAX);
        assert_eq!(end.seconds(), LAST_SECOND);
        assert_eq!(end.plus_seconds(i64::MAX), end);
        assert_eq!(Time::START.plus_seconds(-1), Time::START);
    }

    #[test]
    fn times_to_live() {
        for bad in [0, -1, i64::MIN, Ttl::MAX_SECONDS + 1, 315_360_000, i64::MAX] {
            assert!(Ttl::new(bad).is_err(), "{bad}");
        }
        assert!(Ttl::new(1).is_ok() && Ttl::new(Ttl::MAX_SECONDS).is_ok());
    }
}
