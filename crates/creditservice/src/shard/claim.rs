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
use photon_store::Error;

use super::{
    layout,
    raw::{Changes, RawStore},
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
    /// Changes that happen only while the ownership lasts.
    pub(crate) fn fenced(&self) -> Changes {
        let mut changes = Changes::default();
        changes.at_revision(layout::epoch(self.shard), self.revision);
        changes
    }

    /// Makes way for another owner. Everything of this one must be written.
    pub(crate) async fn give_up<S: RawStore>(&self, store: &S) -> Result<(), Error> {
        let mut changes = self.fenced();
        changes.delete(layout::owner(self.shard));
        store.commit(changes).await.map(|_| ())
    }
}

/// Claims a shard that is vacant, or that a process of the same instance owned: then `own` is the revision of its key.
/// `None`: somebody else was first.
pub(crate) async fn claim<S: RawStore>(
    store: &S,
    shard: Shard,
    candidate: &Candidate,
    own: Option<i64>,
) -> Result<Option<Claim>, Error> {
    let (epoch_key, owner_key) = (layout::epoch(shard), layout::owner(shard));
    let mut changes = Changes::default();
    let before = store.read(&epoch_key).await?;
    let epoch = match &before {
        Some(entry) => {
            changes.at_revision(epoch_key.clone(), entry.revision);
            stored::read::<Epoch>(entry)?.epoch + 1
        }
        None => {
            changes.absent(epoch_key.clone());
            1
        }
    };
    match own {
        Some(revision) => changes.at_revision(owner_key.clone(), revision),
        None => changes.absent(owner_key.clone()),
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
    changes.put(epoch_key, stored::encode(&raised)?).put_under(
        owner_key,
        stored::encode(&owner)?,
        candidate.lease,
    );
    match store.commit(changes).await {
        Ok(revision) => Ok(Some(Claim {
            shard,
            epoch,
            revision,
        })),
        Err(Error::AlreadyExists { .. } | Error::Conflict { .. } | Error::NotFound { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
