//! A line of an exported file: a block as it was stored.

use creditservice_ledger::{Shard, Time};
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;

/// The longest line that is believed to be a block; the store takes 1.5 MiB.
pub(super) const LONGEST: u64 = 4 << 20;

/// A block on its way to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) block: u64,
    /// The hash of the block before.
    pub(super) prev: String,
    /// `YYYY-MM`, that of its last entry.
    pub(super) month: String,
    /// As stored, without a newline.
    pub(super) bytes: Vec<u8>,
}

/// What a line says about itself.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Name {
    pub(super) shard: Shard,
    pub(super) block: u64,
}

impl Name {
    /// Reads it off a line without its newline.
    pub(super) fn of(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line)
    }
}

/// The month of a moment, UTC.
pub(super) fn month_of(at: Time) -> String {
    // The ledger's time ends hours behind that of timestamps.
    let at = Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

/// A chain of blocks, for tests.
#[cfg(test)]
pub(super) fn chain(shard: u16, months: &[&str]) -> Vec<Line> {
    let mut prev = String::new();
    let blocks = months.iter().zip(1_u64..).map(|(month, block)| {
        let text = format!(
            r#"{{"v":1,"shard":{shard},"block":{block},"epoch":1,"at":5,"prev":"{prev}","entries":[]}}"#
        );
        let line = Line {
            block,
            prev: prev.clone(),
            month: (*month).to_owned(),
            bytes: text.into_bytes(),
        };
        prev = crate::shard::block::hash(&line.bytes);
        line
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_utc() {
        let of = |second| month_of(Time::from_seconds(second));
        assert_eq!(of(0), "1970-01");
        assert_eq!(of(1_793_491_199), "2026-10");
        assert_eq!(of(1_793_491_200), "2026-11");
        assert_eq!(of(i64::MAX), "9999-12");
    }
}
