//! One leader among many, with a revision that fences it.
//!
//! Each candidate writes a key of its own under the election's name and its lease. The one whose key is oldest
//! (smallest creation revision) leads; each other waits for the key just before its own. This is the recipe of etcd's
//! own elections, so `etcdctl elect` sees the same leader.
//!
//! Leadership ends when the lease does, and a leader that was paused does not know. So a leader's writes carry its
//! [`Fence`]: they happen only while its key is still there.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{GetOptions, SortOrder, SortTarget};
use tokio::time::Instant;

use crate::feed::{Entry, FeedEvent};
use crate::lease::Lease;
use crate::store::Store;
use crate::{Error, Result, key};

/// Proof of a leadership, to be given to [`crate::Transaction::fenced`]. Later leaders have greater revisions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The leader's key.
    pub key: String,
    /// Its creation revision.
    pub revision: i64,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What the leader wrote about itself.
    pub value: Bytes,
    /// Its fence.
    pub fence: Fence,
}

/// A leadership that was won. Dropping it lets the lease run out; [`Leadership::resign`] makes way at once.
#[derive(Debug)]
pub struct Leadership {
    fence: Fence,
    lease: Lease,
}

impl Leadership {
    /// What this leader's writes must carry.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Whether the leadership has ended or may have.
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Waits until the leadership has ended or may have.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }

    /// Makes way for the next candidate.
    ///
    /// # Errors
    /// As [`Lease::revoke`].
    pub async fn resign(self) -> Result<()> {
        self.lease.revoke().await
    }
}

impl Store {
    /// Stands for election under an absolute key (e.g. `/photon/prismnet/leader`) and waits to win it, at most for
    /// `patience`. `ttl` is how long after a crash the next one waits.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it was not won in time (the candidate has withdrawn), [`Error::LeaseLost`] when the
    /// lease ended while waiting, or those of any write.
    pub async fn campaign(
        &self,
        name: &str,
        value: impl Into<Bytes>,
        ttl: Duration,
        patience: Duration,
    ) -> Result<Leadership> {
        key::check(name)?;
        let end = Instant::now() + patience;
        let lease = self.lease(ttl).await?;
        let own = format!("{name}/{:x}", lease.id());
        let mut candidacy = self.transaction();
        candidacy
            .absent(&own)?
            .put_raw(&own, value.into(), lease.id())?;
        let fence = Fence {
            key: own,
            revision: candidacy.commit().await?.revision,
        };
        let won = tokio::select! {
            won = tokio::time::timeout_at(end, self.wait_to_lead(name, &fence)) => won,
            () = lease.lost() => return Err(Error::LeaseLost),
        };
        match won {
            Ok(Ok(())) => Ok(Leadership { fence, lease }),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                lease.revoke().await?;
                Err(Error::Unavailable {
                    reason: format!("{name} was led by others for {patience:?}"),
                })
            }
        }
    }

    /// Who leads now.
    ///
    /// # Errors
    /// As any read.
    pub async fn leader(&self, name: &str) -> Result<Option<Leader>> {
        key::check(name)?;
        let oldest = self
            .candidate(name, |options| {
                options.with_sort(SortTarget::Create, SortOrder::Ascend)
            })
            .await?;
        Ok(oldest.map(|entry| Leader {
            value: entry.value,
            fence: Fence {
                key: entry.key,
                revision: entry.create_revision,
            },
        }))
    }

    async fn wait_to_lead(&self, name: &str, own: &Fence) -> Result<()> {
        loop {
            let before = self
                .candidate(name, |options| {
                    options
                        .with_max_create_revision(own.revision - 1)
                        .with_sort(SortTarget::Create, SortOrder::Descend)
                })
                .await?;
            let Some(before) = before else {
                // Nobody is ahead; but our own key may have ended with the lease.
                let still = self.get_raw(&own.key).await?;
                return match still {
                    Some(entry) if entry.create_revision == own.revision => Ok(()),
                    _ => Err(Error::LeaseLost),
                };
            };
            self.wait_until_gone(&before).await?;
        }
    }

    async fn wait_until_gone(&self, entry: &Entry) -> Result<()> {
        let mut feed = self.feed(&entry.key).after(entry.revision);
        loop {
            match feed.next().await? {
                FeedEvent::Delete { key, .. } if key == entry.key => return Ok(()),
                FeedEvent::Snapshot { entries, .. }
                    if !entries.iter().any(|found| found.key == entry.key) =>
                {
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    async fn candidate(
        &self,
        name: &str,
        which: impl FnOnce(GetOptions) -> GetOptions,
    ) -> Result<Option<Entry>> {
        let from = self.full(&format!("{name}/"));
        let options = GetOptions::new()
            .with_range(key::prefix_end(&from))
            .with_limit(1);
        let answer = self.range_raw(from, which(options)).await?;
        answer.kvs().first().map(|kv| self.entry(kv)).transpose()
    }
}
