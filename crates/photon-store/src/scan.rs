//! Raw entries of a range, in either order, a bounded number at once.
//!
//! For what is no [`crate::Record`]: values whose bytes matter as they are, and lists that are read from their end.

use etcd_client::{GetOptions, SortOrder, SortTarget};

use crate::feed::Entry;
use crate::store::Store;
use crate::{Result, key};

/// Which entries below a prefix.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Absolute; ends with a slash where whole segments are meant.
    pub prefix: String,
    /// From this absolute key on; from the prefix's first one if absent.
    pub from: Option<String>,
    /// Before this absolute key; to the prefix's last one if absent.
    pub before: Option<String>,
    /// The last ones first.
    pub descending: bool,
    /// At most so many.
    pub limit: u32,
}

impl Scan {
    /// The first entries below a prefix.
    pub fn below(prefix: impl Into<String>, limit: u32) -> Self {
        Self {
            prefix: prefix.into(),
            from: None,
            before: None,
            descending: false,
            limit,
        }
    }
}

/// Part of a range.
#[derive(Clone, Debug)]
pub struct Scanned {
    /// The entries, in the order asked for.
    pub entries: Vec<Entry>,
    /// Whether the range has more.
    pub more: bool,
}

impl Store {
    /// Reads raw entries by absolute key, linearizably.
    ///
    /// # Errors
    /// As any read.
    pub async fn scan(&self, scan: &Scan) -> Result<Scanned> {
        let bounds = [Some(&scan.prefix), scan.from.as_ref(), scan.before.as_ref()];
        for bound in bounds.into_iter().flatten() {
            key::check(bound.trim_end_matches('/'))?;
        }
        let from = scan.from.as_ref().unwrap_or(&scan.prefix);
        let end = match &scan.before {
            Some(before) => self.full(before),
            None => key::prefix_end(&self.full(&scan.prefix)),
        };
        let order = if scan.descending {
            SortOrder::Descend
        } else {
            SortOrder::Ascend
        };
        let options = GetOptions::new()
            .with_range(end)
            .with_sort(SortTarget::Key, order)
            .with_limit(i64::from(scan.limit));
        let answer = self.range_raw(self.full(from), options).await?;
        let entries = answer.kvs().iter().map(|kv| self.entry(kv));
        Ok(Scanned {
            entries: entries.collect::<Result<_>>()?,
            more: answer.more(),
        })
    }
}
