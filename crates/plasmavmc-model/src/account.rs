//! What CreditService holds and counts for a VM: its units, and the money for the time that it runs.
//!
//! ```text
//!   a start holds a period ──> Bill, not begun ──seen running──> begun: from … until ──period over, ended──> due ──settled──┐
//!                                                                  ^                                                      │
//!                                                                  └───────────────────── the next period ────────────────┤
//!                                                                     no credit: `unpaid`, with what is used from then on ─┤
//!                                                                                                     it runs no more: none
//! ```
//! What is about to be told is written down first (`due`): who is cut off in between, or who leads after him, says the very same
//! again, under the number of the period, and CreditService does it once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What CreditService holds and counts for a VM. Written by the controller, but for the hold of a start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its quota; none before it is counted, or while it has to be counted anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<UnitsOf>,
    /// A reservation of the project's own that is to replace the first hold; until it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// What it costs to run, while it does, or is to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bill: Option<Bill>,
    /// How often something was settled: each has a number of its own.
    #[serde(default)]
    pub settled: u64,
    /// How often it went on after it was suspended: each such run is counted apart, as each boot is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed: u64,
    /// Why it was stopped though nobody asked for that; until the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_for: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Account {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How CreditService has the units of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum UnitsOf {
    /// Held by this reservation: all of them of one that is being made, and of one that is there what it became larger by.
    Held {
        /// Its id.
        reservation: String,
    },
    /// Counted as used by the VM's id.
    Used,
}

/// The money for one run of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// The run that it is for: the boot that it began with, and how often the VM was resumed by then.
    pub boot: u64,
    /// What holds the money for the present period; none, if there was no credit for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When that was taken.
    pub held_at: Timestamp,
    /// From when on what is used is not charged yet, in whole seconds; none before it was seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When the period is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// That there is no credit for the next period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaid: Option<Unpaid>,
    /// What CreditService is to be told now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Due>,
}

/// A reservation of the service's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its id at CreditService.
    pub reservation: String,
    /// What it holds, in minor units of the wallet's currency; 0 where the wallet does not pay for use.
    pub amount: i64,
}

/// There is no credit for the next period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpaid {
    /// Since when: the grace counts from there.
    pub since: Timestamp,
    /// When it was last asked for.
    pub tried: Timestamp,
    /// What CreditService says.
    pub reason: String,
}

/// A step of the bill, as it is told to CreditService.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// What was used until then is charged; nothing, if it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// The period to be held next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextPeriod>,
    /// Whether the VM runs on afterwards; without, the bill is closed.
    pub runs_on: bool,
}

/// A period that is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextPeriod {
    /// Its beginning, a whole second.
    pub from: Timestamp,
    /// Its end, a whole second.
    pub until: Timestamp,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_stored_form_is_that_of_the_first_version() {
        let stored = json!({
            "units": { "state": "held", "reservation": "rsv-1" }, "reservation": "rsv-2", "settled": 7, "resumed": 2,
            "stopped_for": "there is no credit",
            "bill": {
                "boot": 2, "hold": { "reservation": "rsv-3", "amount": 60 }, "held_at": "2026-11-23T00:00:00Z",
                "from": "2026-11-23T00:00:01Z", "until": "2026-11-23T01:00:01Z",
                "unpaid": { "since": "2026-11-23T01:00:01Z", "tried": "2026-11-23T01:00:01Z", "reason": "no" },
                "due": {
                    "end": "2026-11-23T01:00:01Z", "runs_on": true,
                    "next": { "from": "2026-11-23T01:00:01Z", "until": "2026-11-23T02:00:01Z" },
                },
            },
        });
        let account: Account = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(&account).unwrap(), stored);
        assert!(!account.is_empty());
        let empty: Account = serde_json::from_value(json!({})).unwrap();
        assert!(empty.is_empty());
        assert_eq!(
            serde_json::from_value::<UnitsOf>(json!({ "state": "used" })).unwrap(),
            UnitsOf::Used
        );
    }
}
