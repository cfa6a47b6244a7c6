//! The catalog: what is the same in every shard, registered limits and the price book.
//!
//! ```text
//!   PUT limit, POST price ──> catalog/… in the store ──> every shard's ledger, before the request is answered
//!                                   └── an owner that takes a shard over applies all of it before it serves
//! ```
//! Applying a row again changes nothing. So a request that failed half-way is mended by repeating it, or by the next owner.

mod prices;
mod spread;

pub(crate) use prices::SkuPrices;
pub(crate) use spread::{register_first, tell, tell_all};

use creditservice_ledger::{
    Command, Limit, PublishPrice, Rate, RegisterLimit, Request, ResourceKind, Sku,
};
use photon_store::{Error, Scan, Store, Transaction};
use serde::{Deserialize, Serialize};

use crate::shard::{raw::RawStore, stored};

/// Below it: all rows.
const ROOT: &str = "/photon/creditservice/catalog/";
/// Below it: registered limits.
pub(crate) const LIMITS: &str = "/photon/creditservice/catalog/limit/";
/// Below it: prices by SKU and the second they are effective from.
pub(crate) const PRICES: &str = "/photon/creditservice/catalog/price/";
/// Rows read at once.
const ROWS: u32 = 1_000;
/// The most rows there may be.
pub(crate) const MOST_ROWS: usize = 10_000;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Row {
    /// A kind of units, and the limit of projects without one of their own.
    Limit { kind: ResourceKind, default: Limit },
    /// What a SKU costs from a second on.
    Price {
        sku: Sku,
        effective_from: i64,
        rate: Rate,
    },
}

/// A row as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    row: Row,
}

impl Row {
    fn key(&self) -> String {
        match self {
            Self::Limit { kind, .. } => format!("{LIMITS}{kind}"),
            Self::Price {
                sku,
                effective_from,
                ..
            } => format!("{PRICES}{sku}/{effective_from:016x}"),
        }
    }

    /// What it is of.
    pub(crate) fn kind_or_sku(&self) -> &str {
        match self {
            Self::Limit { kind, .. } => kind.as_str(),
            Self::Price { sku, .. } => sku.as_str(),
        }
    }

    /// What every ledger is told.
    pub(crate) fn command(&self) -> Command {
        match self.clone() {
            Self::Limit { kind, default } => {
                Command::RegisterLimit(RegisterLimit { kind, default })
            }
            Self::Price {
                sku,
                effective_from,
                rate,
            } => Command::PublishPrice(PublishPrice {
                sku,
                effective_from,
                rate,
            }),
        }
    }
}

/// Whether a request is about the catalog: asking it again changes nothing.
pub(crate) fn is_of_catalog(request: &Request) -> bool {
    matches!(
        request.command,
        Command::RegisterLimit(_) | Command::PublishPrice(_)
    )
}

/// All rows below a prefix of the catalog, by key.
pub(crate) async fn read<S: RawStore>(store: &S, prefix: &str) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    let mut from = None;
    loop {
        let scan = Scan {
            from: from.take(),
            ..Scan::below(prefix, ROWS)
        };
        let scanned = store.range(&scan).await?;
        for entry in &scanned.entries {
            rows.push(stored::read::<Stored>(entry)?.row);
        }
        match scanned.entries.last() {
            // The first key behind it: no key has this character.
            Some(last) if scanned.more => from = Some(format!("{}!", last.key)),
            _ => return Ok(rows),
        }
    }
}

/// The whole catalog.
pub(crate) async fn read_all<S: RawStore>(store: &S) -> Result<Vec<Row>, Error> {
    read(store, ROOT).await
}

/// Writes a limit, or another one than before, with a transaction.
pub(crate) fn write(transaction: &mut Transaction, row: &Row) -> Result<(), Error> {
    transaction.put_raw(&row.key(), encode(row)?, 0)?;
    Ok(())
}

/// Writes a row unless there is one; whether it did.
pub(crate) async fn put_first(store: &Store, row: &Row) -> Result<bool, Error> {
    let key = row.key();
    let mut transaction = store.transaction();
    transaction.absent(&key)?.put_raw(&key, encode(row)?, 0)?;
    match transaction.commit().await {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The row that stands where this one does.
pub(crate) async fn current(store: &Store, row: &Row) -> Result<Option<Row>, Error> {
    let entry = store.get_raw(&row.key()).await?;
    let stored = entry.as_ref().map(stored::read::<Stored>).transpose()?;
    Ok(stored.map(|stored| stored.row))
}

fn encode(row: &Row) -> Result<Vec<u8>, Error> {
    stored::encode(&Stored { row: row.clone() })
}
