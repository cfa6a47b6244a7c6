//! What CreditService is still to be told, as it is stored.

use jiff::Timestamp;
use photon_core::Name;
use photon_store::{Record, Store, Transaction};
use serde::{Deserialize, Serialize};

use super::Unit;

/// The version of the stored form.
const VERSION: u32 = 1;

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Want {
    /// The thing is there and uses a unit.
    Held,
    /// It is gone.
    Free,
}

/// A claim, stored at `<id of the thing>`. A thing's later claim takes the place of its earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The thing.
    pub(super) id: String,
    /// Whose it is.
    pub(super) project: Name,
    /// What is counted, in CreditService's word.
    pub(super) unit: String,
    /// How it is.
    pub(super) want: Want,
    /// What holds the unit meanwhile.
    #[serde(default)]
    pub(super) reservation: Option<String>,
    /// When it was written.
    pub(super) at: Timestamp,
}

impl Record for Claim {
    const ROOT: &'static str = "/photon/prismnet/claim/";
}

/// The stored form with its version.
#[derive(Serialize)]
struct Form<'a> {
    v: u32,
    #[serde(flatten)]
    claim: &'a Claim,
}

impl Claim {
    pub(super) fn new(project: &Name, unit: Unit, id: &str, want: Want) -> Self {
        Self {
            id: id.to_owned(),
            project: project.clone(),
            unit: unit.as_str().to_owned(),
            want,
            reservation: None,
            at: Timestamp::now(),
        }
    }

    fn key(&self) -> String {
        format!("{}{}", Self::ROOT, self.id)
    }

    /// Writes it over whatever stands there.
    pub(super) fn put(&self, transaction: &mut Transaction) -> photon_store::Result<()> {
        let form = Form {
            v: VERSION,
            claim: self,
        };
        let value = serde_json::to_vec(&form)
            .map_err(|error| photon_store::Error::Protocol(format!("{}: {error}", self.id)))?;
        transaction.put_raw(&self.key(), value, 0).map(|_| ())
    }

    /// Removes it if it still is as it was written.
    pub(super) async fn remove(&self, store: &Store, revision: i64) -> photon_store::Result<()> {
        let key = self.key();
        let mut transaction = store.transaction();
        transaction.at_revision(&key, revision)?.delete_raw(&key)?;
        transaction.commit().await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_stored_form_is_that_of_the_first_version() {
        let stored = json!({
            "v": 1, "id": "vpc-1", "project": "shop", "unit": "vpc", "want": "held", "reservation": "rsv-1",
            "at": "2026-11-23T02:00:00Z",
        });
        let claim: Claim = serde_json::from_value(stored.clone()).unwrap();
        let form = Form {
            v: VERSION,
            claim: &claim,
        };
        assert_eq!(serde_json::to_value(form).unwrap(), stored);
    }
}
