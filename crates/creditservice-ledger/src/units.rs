//! What quotas count: units of resource kinds.

use std::collections::BTreeMap;

use photon_core::Name;
use serde::{Deserialize, Serialize};

use crate::money::MAX_MINOR;

/// What a quota limits: `vcpu`, `memory_mib`, `floating_ip`.
pub type ResourceKind = Name;

/// Counts of several kinds, each 1 … 2⁵³−1, at most 32 kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<ResourceKind, i64>",
    into = "BTreeMap<ResourceKind, i64>"
)]
pub struct Units(BTreeMap<ResourceKind, i64>);

/// Why counts are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitsError {
    /// A count out of range.
    #[error("{0} must be a whole number from 1 to {MAX_MINOR}")]
    Count(ResourceKind),
    /// Too many kinds at once.
    #[error("must be at most {} kinds", Units::MAX_KINDS)]
    Kinds,
}

impl Units {
    /// How many kinds one command may name.
    pub const MAX_KINDS: usize = 32;

    /// Parses counts.
    pub fn new(counts: BTreeMap<ResourceKind, i64>) -> Result<Self, UnitsError> {
        if counts.len() > Self::MAX_KINDS {
            return Err(UnitsError::Kinds);
        }
        match counts
            .iter()
            .find(|(_, count)| !(1..=MAX_MINOR).contains(*count))
        {
            Some((kind, _)) => Err(UnitsError::Count(kind.clone())),
            None => Ok(Self(counts)),
        }
    }

    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of a kind.
    #[must_use]
    pub fn of(&self, kind: &ResourceKind) -> i64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Kinds and counts, by kind.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceKind, i64)> {
        self.0.iter().map(|(kind, count)| (kind, *count))
    }

    /// Adds (or with a negative count takes away); a kind that comes to nothing is left out.
    ///
    /// What it comes to is within range: the accounts that these counts are part of are checked first.
    pub(crate) fn add(&mut self, kind: &ResourceKind, count: i64) {
        let sum = self.of(kind) + count;
        if sum == 0 {
            self.0.remove(kind);
        } else {
            self.0.insert(kind.clone(), sum);
        }
    }
}

impl TryFrom<BTreeMap<ResourceKind, i64>> for Units {
    type Error = UnitsError;
    fn try_from(counts: BTreeMap<ResourceKind, i64>) -> Result<Self, UnitsError> {
        Self::new(counts)
    }
}

impl From<Units> for BTreeMap<ResourceKind, i64> {
    fn from(units: Units) -> Self {
        units.0
    }
}

/// How many units of a kind a project may reserve and use together. In JSON a number, or `"unlimited"`: `null` would be
/// taken for no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Limit(Option<i64>);

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a whole number from 0 on, or \"unlimited\""
)]
enum Written {
    Count(i64),
    Word(Unlimited),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unlimited {
    Unlimited,
}

/// A number is not a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 0 to {MAX_MINOR}, or \"unlimited\"")]
pub struct LimitError;

impl Limit {
    /// As many as there are.
    pub const UNLIMITED: Self = Self(None);

    /// At most so many.
    pub fn at_most(count: i64) -> Result<Self, LimitError> {
        if (0..=MAX_MINOR).contains(&count) {
            Ok(Self(Some(count)))
        } else {
            Err(LimitError)
        }
    }

    /// The number, or none if unlimited.
    #[must_use]
    pub fn count(self) -> Option<i64> {
        self.0
    }
}

impl TryFrom<Written> for Limit {
    type Error = LimitError;
    fn try_from(written: Written) -> Result<Self, LimitError> {
        match written {
            Written::Count(count) => Self::at_most(count),
            Written::Word(Unlimited::Unlimited) => Ok(Self::UNLIMITED),
        }
    }
}

impl From<Limit> for Written {
    fn from(limit: Limit) -> Self {
        limit
            .0
            .map_or(Self::Word(Unlimited::Unlimited), Self::Count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn counts_are_parsed() {
        let units = |json| serde_json::from_str::<Units>(json);
        assert_eq!(
            units(r#"{"vcpu":4}"#)
                .unwrap()
                .of(&Name::new("vcpu").unwrap()),
            4
        );
        for bad in [
            r#"{"vcpu":0}"#,
            r#"{"vcpu":-1}"#,
            r#"{"vcpu":1.5}"#,
            r#"{"vcpu":9007199254740992}"#,
            r#"{"V CPU":1}"#,
        ] {
            assert!(units(bad).is_err(), "{bad}");
        }
        let many = (0..33)
            .map(|n| (Name::new(format!("k{n}")).unwrap(), 1))
            .collect();
        assert_eq!(Units::new(many), Err(UnitsError::Kinds));
    }

    #[test]
    fn limits_are_parsed() {
        let limit = |json| serde_json::from_str::<Limit>(json);
        assert_eq!(limit("\"unlimited\"").unwrap(), Limit::UNLIMITED);
        let own: Option<Limit> = serde_json::from_str("null").unwrap();
        assert_eq!(own, None);
        assert_eq!(limit("0").unwrap().count(), Some(0));
        assert!(limit("-1").is_err());
        assert!(limit("9007199254740992").is_err());
    }
}
