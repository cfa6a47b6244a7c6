//! What is published of one SKU. Which price may follow depends on all of them, so each is added to the ones it was
//! decided by: a counter beside them changes with every price.

use creditservice_ledger::{Refusal, Request, Shard, Sku, State, Time};
use photon_store::{Error, Store};
use serde::{Deserialize, Serialize};

use super::{PRICES, Row, encode, read};
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

    /// Adds a price.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::AlreadyExists`]: there is another one meanwhile.
    pub(crate) async fn add(&self, store: &Store, row: &Row) -> Result<(), Error> {
        let count = Count {
            prices: self.rows.len() as u64 + 1,
        };
        let mut transaction = store.transaction();
        match self.revision {
            0 => transaction.absent(&self.count_key)?,
            revision => transaction.at_revision(&self.count_key, revision)?,
        };
        transaction
            .put_raw(&self.count_key, stored::encode(&count)?, 0)?
            .put_raw(&row.key(), encode(row)?, 0)?;
        transaction.commit().await.map(|_| ())
    }
}
