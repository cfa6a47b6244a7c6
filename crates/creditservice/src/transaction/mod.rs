//! Transactions: a project's entries as it reads them.

pub(crate) mod rest;
pub(crate) mod service;
pub(crate) mod usage;

use creditservice_ledger::{
    Description, Entry, EntryId, Line, Place, ReservationId, Resource, ResourceId, Shard, What,
};
use jiff::Timestamp;
use photon_core::{Error, Name};

use crate::refusal::shown;

/// What kind of transaction an entry is, in the guide's words and a few more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionType {
    /// Credit came in.
    Deposit,
    /// Credit was taken.
    Charge,
    /// A charge was given back.
    Refund,
    /// A correction by hand.
    Adjustment,
    /// Credit is held; the balance stays.
    Reservation,
    /// A hold was given back.
    Release,
    /// A hold's time was over.
    Expiry,
}

impl TransactionType {
    pub(crate) const ALL: [Self; 7] = [
        Self::Deposit,
        Self::Charge,
        Self::Refund,
        Self::Adjustment,
        Self::Reservation,
        Self::Release,
        Self::Expiry,
    ];

    /// What is shown if nobody says: what moves the balance.
    pub(crate) const USUAL: [Self; 4] =
        [Self::Deposit, Self::Charge, Self::Refund, Self::Adjustment];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
            Self::Reservation => "reservation",
            Self::Release => "release",
            Self::Expiry => "expiry",
        }
    }

    /// Parses a word of `types`.
    pub(crate) fn parse_field(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|one| one.word() == word)
            .ok_or_else(|| {
                let all: Vec<&str> = Self::ALL.into_iter().map(Self::word).collect();
                let message = format!("types must be of {}", all.join(", "));
                Error::validation("types", "value", message)
            })
    }
}

/// A transaction.
#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) id: EntryId,
    pub(crate) seq: u64,
    pub(crate) project: Name,
    /// What the balance changed by.
    pub(crate) amount: i64,
    pub(crate) kind: TransactionType,
    pub(crate) description: Option<Description>,
    pub(crate) resource_id: Option<ResourceId>,
    pub(crate) reservation: Option<ReservationId>,
    pub(crate) at: Timestamp,
}

impl Transaction {
    /// An entry as its project reads it; `None` for what is none of its money.
    pub(crate) fn of(entry: &Entry, shard: Shard) -> Option<Self> {
        let is_money = entry
            .postings
            .iter()
            .any(|posting| posting.0.kind().is_none());
        if !is_money {
            return None;
        }
        let amount = entry.amount();
        let (kind, resource_id, reservation) = meaning(entry, amount, shard)?;
        Some(Self {
            id: entry.id(shard),
            seq: entry.seq,
            project: entry.project.clone()?,
            amount,
            kind,
            description: entry
                .description
                .clone()
                .or_else(|| usage::of(lines(entry))),
            resource_id,
            reservation,
            at: shown(entry.at),
        })
    }
}

/// What an entry rated, if it did.
fn lines(entry: &Entry) -> &[Line] {
    match &entry.what {
        What::Used { lines } | What::Settled { lines, .. } => lines,
        _ => &[],
    }
}

type Meaning = (TransactionType, Option<ResourceId>, Option<ReservationId>);

fn meaning(entry: &Entry, amount: i64, shard: Shard) -> Option<Meaning> {
    use TransactionType as Type;
    let of = |resource: &Resource| resource.id.clone();
    Some(match &entry.what {
        What::WalletCreated { .. } if amount != 0 => (Type::Deposit, None, None),
        What::Deposit { .. } => (Type::Deposit, None, None),
        What::Adjustment => (Type::Adjustment, None, None),
        What::Charge { resource, .. } => (Type::Charge, of(resource), None),
        What::Collected { .. } => (Type::Charge, None, None),
        What::Refund { .. } => (Type::Refund, None, None),
        What::Reserved(held) => {
            let made = entry.reservation_id(shard);
            (Type::Reservation, of(&held.resource), Some(made))
        }
        What::Committed {
            reservation,
            resource,
            ..
        } => (Type::Charge, of(resource), Some(*reservation)),
        What::Released { reservation } => (Type::Release, None, Some(*reservation)),
        What::Expired { reservation } => (Type::Expiry, None, Some(*reservation)),
        What::Used { lines } => {
            let first = lines.first().map(|line| line.usage.resource_id.clone());
            let same = lines
                .iter()
                .all(|line| Some(&line.usage.resource_id) == first.as_ref());
            (Type::Charge, first.filter(|_| same), None)
        }
        What::Settled {
            reservation,
            lines,
            resource,
            next,
            ..
        } => {
            let kind = if !lines.is_empty() {
                Type::Charge
            } else if next.is_some() {
                Type::Reservation
            } else {
                Type::Release
            };
            (kind, of(resource), *reservation)
        }
        What::WalletCreated { .. }
        | What::WalletUpdated { .. }
        | What::Extended { .. }
        | What::LimitRegistered { .. }
        | What::LimitSet { .. }
        | What::UnitsFreed { .. }
        | What::UnitsRecounted { .. }
        | What::PricePublished { .. } => return None,
    })
}

/// A description where the guide has one always.
pub(crate) fn text(description: Option<&Description>) -> String {
    description.map_or_else(String::new, |text| text.as_str().to_owned())
}

/// When the entry of an id was made.
pub(crate) fn shown_at(id: EntryId) -> Timestamp {
    Place::of(id).map_or(Timestamp::UNIX_EPOCH, |place| shown(place.at))
}

/// The id of a transaction that a body names.
pub(crate) fn id_field(text: &str) -> Result<EntryId, Error> {
    text.parse().map_err(|error: photon_core::id::IdError| {
        let message = "transaction_id is no id of a transaction";
        Error::validation("transaction_id", "format", message).with_source(error)
    })
}
