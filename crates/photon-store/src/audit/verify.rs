//! Whether a trail is what was written.

use crate::{Error, Result};

use super::{AuditRecord, Head, Mark, NOTHING_BEFORE, Trails};

/// Records read at once.
const CHUNK: usize = 1000;
/// How often it begins again because records were exported under it.
const ATTEMPTS: usize = 5;

/// What is wrong with a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the record where it shows.
    pub seq: u64,
    /// What it is.
    pub what: String,
}

impl Fault {
    fn new(seq: u64, what: impl Into<String>) -> Self {
        Self {
            seq,
            what: what.into(),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Where the trail ended when it was looked at; `None`: nothing was ever written to it.
    pub head: Option<Head>,
    /// The number of the first record looked at.
    pub from: u64,
    /// The last record found good, or what the first one follows.
    pub through: Mark,
    /// How many records were found good.
    pub records: u64,
    /// Whether the end of the trail was reached.
    pub complete: bool,
    /// The first thing that is wrong. What comes after it was not looked at.
    pub fault: Option<Fault>,
}

/// Follows a chain record by record, wherever the records come from.
#[derive(Clone, Debug)]
pub struct Checker {
    last: Mark,
}

impl Checker {
    /// For the records after this one.
    pub fn after(last: Mark) -> Self {
        Self { last }
    }

    /// For a trail from its first record on.
    pub fn from_the_start() -> Self {
        Self::after(start())
    }

    /// The last record that was good.
    pub fn last(&self) -> &Mark {
        &self.last
    }

    /// Looks at the next record.
    ///
    /// # Errors
    /// What is wrong with it, or that it is not the next one.
    pub fn next(&mut self, record: &AuditRecord) -> std::result::Result<(), Fault> {
        let expected = self.last.seq + 1;
        if record.seq != expected {
            let what = format!("record {expected} is missing: {} comes next", record.seq);
            return Err(Fault::new(expected, what));
        }
        if record.computed_hash() != record.hash {
            return Err(Fault::new(expected, "its hash is not that of what it says"));
        }
        if record.prev != self.last.hash {
            return Err(Fault::new(
                expected,
                "it does not follow the record before it",
            ));
        }
        self.last = Mark {
            seq: record.seq,
            hash: record.hash.clone(),
        };
        Ok(())
    }
}

fn start() -> Mark {
    Mark {
        seq: 0,
        hash: NOTHING_BEFORE.to_owned(),
    }
}

impl Trails {
    /// Reads a trail from record `from` on (at least from the first that is still here) and checks every hash and link,
    /// for at most `most` records, and that it ends where its head says.
    ///
    /// # Errors
    /// Those of any read. What is wrong with the trail is no error but the [`Verdict::fault`].
    pub async fn verify(&self, trail: &str, from: u64, most: u64) -> Result<Verdict> {
        let mut attempts = 0;
        loop {
            let before = match self.head(trail).await {
                Ok(head) => head,
                Err(Error::Corrupt { reason, .. }) => return Ok(headless(from, &reason)),
                Err(error) => return Err(error),
            };
            let verdict = self.verify_to(trail, before.clone(), from, most).await?;
            attempts += 1;
            if verdict.fault.is_none() || attempts == ATTEMPTS {
                return Ok(verdict);
            }
            // Records that were exported meanwhile are missing for a good reason.
            let exported = |head: Option<Head>| head.and_then(|head| head.exported);
            let now = self.head(trail).await.ok().flatten();
            if exported(now) == exported(before) {
                return Ok(verdict);
            }
        }
    }

    async fn verify_to(
        &self,
        trail: &str,
        head: Option<Head>,
        from: u64,
        most: u64,
    ) -> Result<Verdict> {
        let Some(end) = head.clone() else {
            return self.verify_empty(trail).await;
        };
        let from = from.max(end.first());
        let mut checker = match self.before(trail, &end, from).await? {
            Ok(before) => Checker::after(before),
            Err(fault) => return Ok(faulty(head, from, &start(), 0, fault)),
        };
        let mut records = 0;
        while checker.last().seq < end.seq && records < most {
            let next = checker.last().seq + 1;
            let found = self.records(trail, next, CHUNK).await?;
            if found.is_empty() {
                let fault = Fault::new(next, format!("records {next} to {} are missing", end.seq));
                return Ok(faulty(head, from, checker.last(), records, fault));
            }
            for record in found {
                if checker.last().seq == end.seq || records == most {
                    break;
                }
                let good = match &record {
                    Ok(record) => checker.next(record),
                    Err(unreadable) => Err(Fault::new(
                        checker.last().seq + 1,
                        format!("{} cannot be read: {}", unreadable.key, unreadable.reason),
                    )),
                };
                if let Err(fault) = good {
                    return Ok(faulty(head, from, checker.last(), records, fault));
                }
                records += 1;
            }
        }
        let complete = checker.last().seq >= end.seq;
        if complete && from <= end.seq && checker.last().hash != end.hash {
            let fault = Fault::new(end.seq, "it is not the record that the head names");
            return Ok(faulty(head, from, checker.last(), records, fault));
        }
        if complete && let Some(fault) = self.past_its_end(trail, &end).await? {
            return Ok(faulty(head, from, checker.last(), records, fault));
        }
        Ok(Verdict {
            head,
            from,
            through: checker.last().clone(),
            records,
            complete,
            fault: None,
        })
    }

    /// What stands behind the record that the head names.
    async fn past_its_end(&self, trail: &str, end: &Head) -> Result<Option<Fault>> {
        let Some(key) = self.last_key_after(trail, end.seq).await? else {
            return Ok(None);
        };
        let seq = key.rsplit('/').next().and_then(|last| last.parse().ok());
        // A record and the head that names it are written at once: one that was seen is not past a head read later.
        let now = self.head(trail).await?.map_or(0, |head| head.seq);
        if seq.is_some_and(|seq: u64| seq <= now && key == self.record_key(trail, seq)) {
            return Ok(None);
        }
        let what = format!("{key} lies past the end of the trail, which is record {now}");
        Ok(Some(Fault::new(seq.unwrap_or(now + 1), what)))
    }

    /// A trail without a head is good if it has no records either.
    async fn verify_empty(&self, trail: &str) -> Result<Verdict> {
        let stray = self.records(trail, 0, 1).await?;
        let fault = (!stray.is_empty()).then(|| Fault::new(1, "there are records and no head"));
        Ok(Verdict {
            head: None,
            from: 1,
            through: start(),
            records: 0,
            complete: fault.is_none(),
            fault,
        })
    }

    /// What record `from` has to follow.
    async fn before(
        &self,
        trail: &str,
        head: &Head,
        from: u64,
    ) -> Result<std::result::Result<Mark, Fault>> {
        if from == head.first() {
            return Ok(Ok(head.exported.clone().unwrap_or_else(start)));
        }
        if from > head.seq {
            // Nothing to look at.
            return Ok(Ok(Mark {
                seq: head.seq,
                hash: head.hash.clone(),
            }));
        }
        let found = self.records(trail, from - 1, 1).await?.into_iter().next();
        Ok(match found {
            Some(Ok(record)) if record.seq == from - 1 => Ok(Mark {
                seq: record.seq,
                hash: record.hash,
            }),
            _ => Err(Fault::new(from - 1, "it is missing or cannot be read")),
        })
    }
}

fn faulty(head: Option<Head>, from: u64, through: &Mark, records: u64, fault: Fault) -> Verdict {
    Verdict {
        head,
        from,
        through: through.clone(),
        records,
        complete: false,
        fault: Some(fault),
    }
}

fn headless(from: u64, reason: &str) -> Verdict {
    let fault = Fault::new(0, format!("the head cannot be read: {reason}"));
    faulty(None, from, &start(), 0, fault)
}
