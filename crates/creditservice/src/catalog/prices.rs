//! What is published of one SKU. Which price may follow depends on all of them, so each is added to the ones it was
//! decided by: a counter beside them changes with every price.

use creditservice_ledger::{Refusal, Request, Shard, Sku, State, Time};
use photon_store::{Error, Store, Transaction};
use serde::{Deserialize, Serialize};

use super::{PRICES, Row, read, write};
use crate::shard::stored;

/// Below it: how many prices a SKU has.
const COUNTS: &str = "/photon/creditservice/prices/";

#[derive(Serialize, Deserialize)]
struct Count {
    prices: u64,
}

/// The prices of a SKU, as they were at one moment.
#[derive(Debug)]
pub(crate) struct SkuPrices {
    count_key: String,
    /// Of the counter; 0 if there is none.
    revision: i64,
    rows: Vec<Row>,
}

impl SkuPrices {
    pub(crate) async fn read(store: &Store, sku: &Sku) -> Result<Self, Error> {
        let count_key = format!("{COUNTS}{sku}");
        // First: a price that comes between the two is noticed when one is added.
        let count = store.get_raw(&count_key).await?;
        Ok(Self {
            count_key,
            revision: count.map_or(0, |entry| entry.revision),
            rows: read(store, &format!("{PRICES}{sku}/")).await?,
        })
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What the ledgers will say of one more price: a ledger that knows nothing but these is asked.
    pub(crate) fn check(&self, row: &Row) -> Result<(), Refusal> {
        let mut ledger = State::new(Shard::FIRST);
        for row in self.rows.iter().chain([row]) {
            let request = Request::from(row.command());
            ledger.apply(&request, Time::from_seconds(0))?;
        }
        Ok(())
    }

    /// A transaction that adds a price, unless it is one of them. It happens only as long as there is no other one.
    pub(crate) fn adding(&self, store: &Store, row: &Row) -> Result<Transaction, Error> {
        let mut transaction = store.transaction();
        match self.revision {
            0 => transaction.absent(&self.count_key)?,
            revision => transaction.at_revision(&self.count_key, revision)?,
        };
        if !self.rows.contains(row) {
            let count = Count {
                prices: self.rows.len() as u64 + 1,
            };
            transaction.put_raw(&self.count_key, stored::encode(&count)?, 0)?;
            write(&mut transaction, row)?;
        }
        Ok(transaction)
    }
}
