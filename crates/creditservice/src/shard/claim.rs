//! Becoming the owner of a shard, and ceasing to be.
//!
//! ```text
//!   vacant ── claim: owner's key absent, epoch + 1, in one transaction ──> owned ── give_up ──> vacant
//!                                                                            └── the lease ends ──┘
//! ```
//! The owner's key lives under the lease of its process and tells others whom to ask. It does not keep a paused owner from
//! writing: the epoch does. Every write of an owner requires the revision at which it raised the epoch; the next
//! owner's claim changes it.

use creditservice_ledger::Shard;
use photon_store::{Error, Store, Transaction};

use super::{
    layout,
    stored::{self, Epoch, Owner},
};

/// Who claims.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) instance: String,
    /// Where other processes reach it.
    pub(crate) grpc: String,
    /// The lease of its process.
    pub(crate) lease: i64,
}

/// An ownership, as long as nobody else has claimed.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) shard: Shard,
    pub(crate) epoch: u64,
    /// At which the epoch was raised.
    revision: i64,
}

impl Claim {
    /// A transaction that happens only while the ownership lasts.
    pub(crate) fn fenced(&self, store: &Store) -> Result<Transaction, Error> {
        let mut transaction = store.transaction();
        transaction.at_revision(&layout::epoch(self.shard), self.revision)?;
        Ok(transaction)
    }

    /// Makes way for another owner. Everything of this one must be written.
    pub(crate) async fn give_up(&self, store: &Store) -> Result<(), Error> {
        let mut transaction = self.fenced(store)?;
        transaction.delete_raw(&layout::owner(self.shard))?;
        transaction.commit().await.map(|_| ())
    }
}

/// Claims a shard that is vacant, or that a process of the same instance owned: then `own` is the revision of its key.
/// `None`: somebody else was first.
pub(crate) async fn claim(
    store: &Store,
    shard: Shard,
    candidate: &Candidate,
    own: Option<i64>,
) -> Result<Option<Claim>, Error> {
    let (epoch_key, owner_key) = (layout::epoch(shard), layout::owner(shard));
    let mut transaction = store.transaction();
    let before = store.get_raw(&epoch_key).await?;
    let epoch = match &before {
        Some(entry) => {
            transaction.at_revision(&epoch_key, entry.revision)?;
            stored::read::<Epoch>(entry)?.epoch + 1
        }
        None => {
            transaction.absent(&epoch_key)?;
            1
        }
    };
    match own {
        Some(revision) => transaction.at_revision(&owner_key, revision)?,
        None => transaction.absent(&owner_key)?,
    };
    let owner = Owner {
        instance: candidate.instance.clone(),
        grpc: candidate.grpc.clone(),
        epoch,
    };
    let raised = Epoch {
        epoch,
        instance: candidate.instance.clone(),
    };
    transaction
        .put_raw(&epoch_key, stored::encode(&raised)?, 0)?
        .put_raw(&owner_key, stored::encode(&owner)?, candidate.lease)?;
    match transaction.commit().await {
        Ok(committed) => Ok(Some(Claim {
            shard,
            epoch,
            revision: committed.revision,
        })),
        Err(Error::AlreadyExists { .. } | Error::Conflict { .. } | Error::NotFound { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
