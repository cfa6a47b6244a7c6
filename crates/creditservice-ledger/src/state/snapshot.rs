//! A state as bytes: JSON lines, in chunks, with a version at the start and a checksum at the end.
//!
//! ```text
//!   {"head":{"v":1,"shard":7,"seq":…,"at":…}}
//!   {"limit":…} … {"price":…} … {"total":…} … {"project":…} … {"claim":…} … {"meter":…} … {"hold":…} …
//!   {"resolved":…} … {"key":…} … {"refund":…} …
//!   {"end":{"rows":…,"sha256":"…"}}             the checksum of every byte before this line
//! ```
//! Equal states give equal bytes. A chunk is whole lines.

use std::collections::BTreeMap;

use photon_core::Name;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Bounds, Meter, OpenHold, Project, Resolution, State, UnitUse, Wallet};
use crate::{
    answer::Answer,
    command::Resource,
    entry::Account,
    id::{EntryId, ReservationId, Shard},
    key::{Digest, Key},
    rating::{Covered, Exact, Rate, Sku},
    text::{Description, ResourceId},
    time::Time,
    units::{Limit, ResourceKind, Units},
};

/// The newest form that this program reads, and the one it writes.
pub const VERSION: u32 = 1;

/// A snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by a newer program.
    #[error("the snapshot is of version {found}; this program reads up to {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// A line is not what it should be.
    #[error("line {line} of the snapshot cannot be read")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Its first line is something else, or comes again.
    #[error("the snapshot does not begin with its head")]
    Head,
    /// Something is missing at the end, or follows it.
    #[error("the snapshot is not complete")]
    Incomplete,
    /// It is not what was written.
    #[error("the snapshot's checksum is wrong")]
    Checksum,
    /// It contradicts itself.
    #[error("the snapshot is not of a ledger: {0}")]
    Violation(#[from] super::Violation),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Row {
    Head {
        v: u32,
        shard: Shard,
        seq: u64,
        at: Time,
    },
    Limit(ResourceKind, Limit),
    Price(Sku, i64, Rate),
    /// A text: it may be more than JSON readers' numbers hold.
    Total(Account, String),
    Project {
        id: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wallet: Option<Wallet>,
        /// Held and used.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        units: BTreeMap<ResourceKind, (i64, i64)>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        limits: BTreeMap<ResourceKind, Limit>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        carries: BTreeMap<Sku, Exact>,
    },
    Claim(Name, ResourceId, Units),
    Meter(Name, Meter, Covered),
    Hold {
        id: ReservationId,
        project: Name,
        amount: i64,
        #[serde(default, skip_serializing_if = "Units::is_empty")]
        units: Units,
        expires_at: Time,
        #[serde(default, skip_serializing_if = "Resource::is_unknown")]
        resource: Resource,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<Description>,
    },
    Resolved(Time, ReservationId, Resolution),
    Key(Time, Key, Answer),
    Refund(EntryId, i64),
    End {
        rows: u64,
        sha256: Digest,
    },
}

/// The chunks of a state, each whole lines and at most `chunk_bytes` long unless a single line is longer.
pub fn encode(state: &State, chunk_bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    Encoder {
        rows: rows(state).peekable(),
        chunk_bytes,
        hash: Sha256::new(),
        written: 0,
        next: Vec::new(),
        ended: false,
    }
}

struct Encoder<I: Iterator<Item = Row>> {
    rows: std::iter::Peekable<I>,
    chunk_bytes: usize,
    hash: Sha256,
    written: u64,
    /// A line that did not fit into the chunk before.
    next: Vec<u8>,
    ended: bool,
}

impl<I: Iterator<Item = Row>> Iterator for Encoder<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut chunk = std::mem::take(&mut self.next);
        while let Some(line) = self.line() {
            if !chunk.is_empty() && chunk.len() + line.len() > self.chunk_bytes {
                self.next = line;
                break;
            }
            chunk.extend(line);
        }
        (!chunk.is_empty()).then_some(chunk)
    }
}

impl<I: Iterator<Item = Row>> Encoder<I> {
    fn line(&mut self) -> Option<Vec<u8>> {
        if let Some(row) = self.rows.next() {
            let line = text(&row);
            self.hash.update(&line);
            self.written += 1;
            return Some(line);
        }
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        Some(text(&Row::End {
            rows: self.written,
            sha256: Digest(self.hash.clone().finalize().into()),
        }))
    }
}

fn text(row: &Row) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "rows are numbers, texts and maps with text keys: JSON has them all"
    )]
    let mut line = serde_json::to_vec(row).expect("a row as JSON");
    line.push(b'\n');
    line
}

fn rows(state: &State) -> impl Iterator<Item = Row> + '_ {
    let head = Row::Head {
        v: VERSION,
        shard: state.shard,
        seq: state.seq,
        at: state.at,
    };
    let limits = state.limits.iter();
    let totals = state.totals.iter();
    let projects = state.projects.iter();
    let refunds = state.refunds.iter();
    std::iter::once(head)
        .chain(limits.map(|(kind, limit)| Row::Limit(kind.clone(), *limit)))
        .chain(
            state
                .prices
                .rates()
                .map(|(sku, from, rate)| Row::Price(sku.clone(), from, rate)),
        )
        .chain(totals.map(|(account, total)| Row::Total(account.clone(), total.to_string())))
        .chain(projects.flat_map(|(id, project)| project_rows(id, project)))
        .chain(state.holds.iter().map(|(id, hold)| hold_row(*id, hold)))
        .chain(
            state
                .resolved
                .iter()
                .map(|(at, id, resolution)| Row::Resolved(at, id, resolution.clone())),
        )
        .chain(
            state
                .keys
                .iter()
                .map(|(at, key, answer)| Row::Key(at, key, answer.clone())),
        )
        .chain(refunds.map(|(entry, sum)| Row::Refund(*entry, *sum)))
}

fn project_rows<'a>(id: &'a Name, project: &'a Project) -> impl Iterator<Item = Row> + 'a {
    let units = |(kind, units): (&ResourceKind, &UnitUse)| (kind.clone(), (units.held, units.used));
    let itself = Row::Project {
        id: id.clone(),
        wallet: project.wallet.as_deref().cloned(),
        units: project.units.iter().map(units).collect(),
        limits: project.limits.clone(),
        carries: project.carries.clone(),
    };
    let claims = project.claims.iter();
    let meters = project.meters.iter();
    std::iter::once(itself)
        .chain(
            claims.map(|(claimant, units)| Row::Claim(id.clone(), claimant.clone(), units.clone())),
        )
        .chain(
            meters.map(|(meter, covered)| Row::Meter(id.clone(), meter.clone(), covered.clone())),
        )
}

fn hold_row(id: ReservationId, hold: &OpenHold) -> Row {
    Row::Hold {
        id,
        project: hold.project.clone(),
        amount: hold.amount,
        units: hold.units.clone(),
        expires_at: hold.expires_at,
        resource: hold.resource.clone(),
        description: hold.description.clone(),
    }
}

/// Reads a state back, chunk by chunk.
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    state: Option<State>,
    hash: Sha256,
    rows: u64,
    ended: bool,
}

impl Decoder {
    /// For a ledger of these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            state: None,
            hash: Sha256::new(),
            rows: 0,
            ended: false,
        }
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            if self.ended {
                return Err(SnapshotError::Incomplete);
            }
            let row = self.parse(line)?;
            self.take(row, line)?;
        }
        Ok(())
    }

    fn parse(&self, line: &[u8]) -> Result<Row, SnapshotError> {
        let error = |source| SnapshotError::Line {
            line: self.rows + 1,
            source,
        };
        if self.state.is_none() {
            #[derive(Deserialize)]
            struct Versioned {
                head: Version,
            }
            #[derive(Deserialize)]
            struct Version {
                v: u32,
            }
            // The version first: the head of a newer one may be another.
            let first: Versioned = serde_json::from_slice(line).map_err(error)?;
            if first.head.v > VERSION {
                return Err(SnapshotError::Version {
                    found: first.head.v,
                });
            }
        }
        serde_json::from_slice(line).map_err(error)
    }

    fn take(&mut self, row: Row, line: &[u8]) -> Result<(), SnapshotError> {
        if let Row::End { rows, sha256 } = row {
            self.ended = true;
            let is_whole =
                rows == self.rows && sha256.0 == <[u8; 32]>::from(self.hash.clone().finalize());
            return is_whole.then_some(()).ok_or(SnapshotError::Checksum);
        }
        self.hash.update(line);
        self.rows += 1;
        match (&mut self.state, row) {
            (state @ None, Row::Head { shard, seq, at, .. }) => {
                let mut new = State::with_bounds(shard, self.bounds);
                (new.seq, new.at) = (seq, at);
                *state = Some(new);
            }
            (Some(state), row) => state.take_row(row).ok_or(SnapshotError::Head)?,
            (None, _) => return Err(SnapshotError::Head),
        }
        Ok(())
    }

    /// The state, checked.
    pub fn finish(self) -> Result<State, SnapshotError> {
        let state = self.state.filter(|_| self.ended);
        let state = state.ok_or(SnapshotError::Incomplete)?;
        state.check()?;
        Ok(state)
    }
}

impl State {
    /// Adds what a row says; none for a row that has no place within.
    fn take_row(&mut self, row: Row) -> Option<()> {
        match row {
            Row::Head { .. } | Row::End { .. } => return None,
            Row::Limit(kind, limit) => {
                self.limits.insert(kind, limit);
            }
            Row::Price(sku, from, rate) => self.prices.publish(sku, from, rate),
            Row::Total(account, total) => {
                self.totals.insert(account, total.parse().ok()?);
            }
            Row::Project {
                id,
                wallet,
                units,
                limits,
                carries,
            } => {
                let project = self.projects.entry(id).or_default();
                project.wallet = wallet.map(Box::new);
                project.units = units
                    .into_iter()
                    .map(|(kind, (held, used))| (kind, UnitUse { held, used }))
                    .collect();
                project.limits = limits;
                project.carries = carries;
            }
            Row::Claim(project, claimant, units) => {
                let project = self.projects.entry(project).or_default();
                project.claims.insert(claimant, units);
            }
            Row::Meter(name, meter, covered) => {
                self.meter_ages
                    .insert((covered.end(), name.clone(), meter.clone()));
                let project = self.projects.entry(name).or_default();
                project.meters.insert(meter, covered);
            }
            Row::Hold {
                id,
                project,
                amount,
                units,
                expires_at,
                resource,
                description,
            } => self.insert_hold(
                id,
                OpenHold {
                    project,
                    amount,
                    units,
                    expires_at,
                    resource,
                    description,
                },
            ),
            Row::Resolved(at, id, resolution) => self.resolved.remember(at, id, resolution),
            Row::Key(at, key, answer) => self.keys.remember(at, &key, answer),
            Row::Refund(entry, sum) => {
                self.refunds.insert(entry, sum);
            }
        }
        Some(())
    }
}
