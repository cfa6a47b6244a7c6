//! What a wallet is set to.

use serde::{Deserialize, Serialize};

use crate::money::{Charge, MAX_MINOR};

/// Whether a wallet may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything.
    #[default]
    Active,
    /// Nothing new is held or charged; holds are resolved, credit comes in, usage that happened is charged.
    Suspended,
    /// Nothing any more, for good.
    Closed,
}

/// Who reserves and charges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Whoever creates things reserves and commits himself.
    #[default]
    Manual,
    /// Services hold and charge by the price book on their own.
    Metered,
}

/// Balances at or below which an event is raised: at most 8, each 0 … 2⁵³−1, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<i64>", into = "Vec<i64>")]
pub struct Thresholds(Box<[i64]>);

/// Numbers are not thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be at most {} whole numbers from 0 to {MAX_MINOR}",
    Thresholds::MAX
)]
pub struct ThresholdsError;

impl Thresholds {
    /// How many there may be.
    pub const MAX: usize = 8;

    /// Parses thresholds; order and repetition do not matter.
    pub fn new(mut all: Vec<i64>) -> Result<Self, ThresholdsError> {
        all.sort_unstable();
        all.dedup();
        let in_range = all.iter().all(|one| (0..=MAX_MINOR).contains(one));
        if in_range && all.len() <= Self::MAX {
            Ok(Self(all.into()))
        } else {
            Err(ThresholdsError)
        }
    }

    /// Ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }
}

impl TryFrom<Vec<i64>> for Thresholds {
    type Error = ThresholdsError;
    fn try_from(all: Vec<i64>) -> Result<Self, ThresholdsError> {
        Self::new(all)
    }
}

impl From<Thresholds> for Vec<i64> {
    fn from(all: Thresholds) -> Self {
        all.0.into()
    }
}

/// How a wallet behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Who reserves and charges.
    pub mode: Mode,
    /// How far below zero `available` may go.
    pub overdraft: Charge,
    /// Whether a commit may take more than was held, from what is available.
    pub allow_overage: bool,
    /// Where events are raised.
    pub low_balance: Thresholds,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn thresholds_are_a_small_set() {
        let thresholds = Thresholds::new(vec![5, 0, 5, 3]).unwrap();
        assert_eq!(thresholds.as_slice(), [0, 3, 5]);
        assert!(Thresholds::new(vec![-1]).is_err());
        assert!(Thresholds::new(vec![MAX_MINOR + 1]).is_err());
        assert!(Thresholds::new((0..9).collect()).is_err());
        assert!(Thresholds::new(vec![1; 100]).is_ok());
    }
}
