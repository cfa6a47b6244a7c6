//! When a binding or a deny rule counts: between two moments, in hours of the week, from some networks.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use jiff::Timestamp;
use photon_core::Error;
use serde::{Deserialize, Serialize};

/// The most networks one condition may name.
pub const MAX_NETWORKS: usize = 64;

/// All that is said must hold; what is left out holds always.
///
/// Members it does not know are refused, unlike those of the records around it: a condition that says more than is
/// understood must not be taken for one that says less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// From this moment on (inclusive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Until this moment (exclusive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Only in these hours of the week, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WeeklyWindow>,
    /// Only from these networks. Empty: from anywhere. An address that is not known is in no network: a binding
    /// then does not count, a deny rule does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_networks: Vec<IpNet>,
}

/// Hours on some days of the week, in UTC. With `until` not after `from` the hours go on past midnight, into the day
/// after each of `days`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeeklyWindow {
    /// The days on which the hours begin. Empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From this time of day on (inclusive).
    pub from: TimeOfDay,
    /// Until this time of day (exclusive); `24:00` is the end of the day.
    pub until: TimeOfDay,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// Monday first.
    pub const ALL: [Self; 7] = [
        Self::Mon,
        Self::Tue,
        Self::Wed,
        Self::Thu,
        Self::Fri,
        Self::Sat,
        Self::Sun,
    ];
}

/// A time of day, in text `HH:MM`, from `00:00` to `24:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    minutes: u16,
}

/// A text that is not a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time of day from 00:00 to 24:00")]
pub struct TimeOfDayError;

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

impl TimeOfDay {
    /// That many minutes after midnight; at most 1440.
    pub const fn from_minutes(minutes: u16) -> Result<Self, TimeOfDayError> {
        if minutes <= DAY_MINUTES {
            Ok(Self { minutes })
        } else {
            Err(TimeOfDayError)
        }
    }

    /// Minutes after midnight.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        self.minutes
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, TimeOfDayError> {
        let [h1, h2, b':', m1, m2] = text.as_bytes() else {
            return Err(TimeOfDayError);
        };
        let digit = |byte: &u8| {
            byte.is_ascii_digit()
                .then(|| u16::from(byte - b'0'))
                .ok_or(TimeOfDayError)
        };
        let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
        if minutes > 59 {
            return Err(TimeOfDayError);
        }
        Self::from_minutes(hours * 60 + minutes)
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = TimeOfDayError;
    fn try_from(text: String) -> Result<Self, TimeOfDayError> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

/// A moment as conditions see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Microseconds since 1970. Finer parts do not count.
    pub(crate) micros: i64,
    /// 0 is Monday.
    pub(crate) day: u8,
    /// Minutes since midnight, UTC.
    pub(crate) minute: u16,
}

/// A timestamp in the unit in which moments are compared.
pub(crate) fn micros(timestamp: Timestamp) -> i64 {
    timestamp.as_microsecond()
}

impl Moment {
    pub(crate) fn at(now: Timestamp) -> Self {
        let micros = micros(now);
        let minutes = micros.div_euclid(60_000_000);
        // 1970-01-01 was a Thursday.
        let day = (minutes.div_euclid(i64::from(DAY_MINUTES)) + 3).rem_euclid(7);
        let minute = minutes.rem_euclid(i64::from(DAY_MINUTES));
        Self {
            micros,
            day: u8::try_from(day).unwrap_or_default(),
            minute: u16::try_from(minute).unwrap_or_default(),
        }
    }
}

/// An address in the one form in which it is compared: IPv4 even where it came in as `::ffff:a.b.c.d`.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Addresses are compared in their canonical form, so such a network would have none.
fn is_ipv4_in_ipv6(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(net) if net.prefix_len() >= 96 && net.addr().to_ipv4_mapped().is_some())
}

impl Condition {
    /// Whether it says nothing and so always holds.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks what serde cannot: that it says something, can ever hold and is not too long. `field` is where it stands in the request,
    /// for example `condition`; errors name the field below it.
    pub fn check(&self, field: &str) -> Result<(), Error> {
        if self.is_empty() {
            let message = format!("{field} must say something: leave it out if there is none");
            return Err(Error::validation(field, "empty", message));
        }
        let refuse = |below: &str, constraint: &str, message: &str| {
            let field = format!("{field}.{below}");
            let message = format!("{field} {message}");
            Err(Error::validation(&field, constraint, message))
        };
        if let (Some(from), Some(until)) = (self.not_before, self.not_after)
            && micros(from) >= micros(until)
        {
            return refuse("not_after", "order", "must be after not_before");
        }
        if let Some(window) = &self.window {
            if window.from == window.until {
                return refuse("window.until", "order", "must differ from window.from");
            }
            if window.from.minutes == DAY_MINUTES {
                return refuse("window.from", "range", "must be before 24:00");
            }
            if window.days.len() > Day::ALL.len() {
                return refuse("window.days", "length", "must name each day at most once");
            }
        }
        if self.source_networks.len() > MAX_NETWORKS {
            return refuse(
                "source_networks",
                "length",
                &format!("must have at most {MAX_NETWORKS} networks"),
            );
        }
        if self.source_networks.iter().any(is_ipv4_in_ipv6) {
            return refuse(
                "source_networks",
                "network",
                "must have IPv4 networks in IPv4 form, not as ::ffff:…",
            );
        }
        Ok(())
    }
}
