//! A lease kept alive in the background, with an honest word on whether it still holds.
//!
//! The deadline is counted from when the last answered request *left*, on our own monotonic clock: the store cannot have
//! started its own count earlier. So the lease is called lost at the latest when the store may end it, even if
//! the store is unreachable. A paused process can still be wrong about it for a moment: fence what matters.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::backoff::Backoff;
use crate::store::Store;
use crate::witness::{Freshness, Header};
use crate::{Error, Result};

/// How many times in its life a lease is renewed.
const RENEWALS: u32 = 3;

/// A lease. Dropping it ends the keeping alive; the store then ends the lease after its time to live.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    id: i64,
    ttl: Duration,
    lost: watch::Receiver<bool>,
    until: watch::Receiver<Instant>,
    _keeper: DropGuard,
}

impl Store {
    /// Takes a lease for `ttl` (whole seconds; the store may give more) and keeps it alive.
    ///
    /// # Errors
    /// As any write. After [`Error::Unknown`] a lease may be left behind, which ends by itself.
    pub async fn lease(&self, ttl: Duration) -> Result<Lease> {
        let limit = self.options().request_timeout;
        let seconds = i64::try_from(ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        self.witness().before_request()?;
        let asked = Instant::now();
        let granted = tokio::time::timeout(limit, self.client().lease_grant(seconds, None))
            .await
            .map_err(|_| Error::no_answer_to_write(limit))?
            .map_err(Error::of_write)?;
        self.witness()
            .observe(Header::of(granted.header())?, Freshness::Any)?;

        let ttl = seconds_of(granted.ttl());
        let (tell_lost, lost) = watch::channel(false);
        let (tell_until, until) = watch::channel(asked + ttl);
        let cancel = CancellationToken::new();
        let keeper = Keeper {
            store: self.clone(),
            id: granted.id(),
            ttl,
            end: asked + ttl,
            told: tell_until,
        };
        let cancelled = cancel.clone();
        tokio::spawn(async move {
            // Ends with the handle, or with the lease.
            if cancelled.run_until_cancelled(keeper.keep()).await.is_some() {
                tell_lost.send_replace(true);
            }
        });
        Ok(Lease {
            store: self.clone(),
            id: granted.id(),
            ttl,
            lost,
            until,
            _keeper: cancel.drop_guard(),
        })
    }
}

impl Lease {
    /// The id to write keys under.
    pub fn id(&self) -> i64 {
        self.id
    }

    /// The time to live the store has granted.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Whether the lease has ended or may have.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Until when the store cannot have ended the lease, by our own clock. For those who must not be wrong because this
    /// process was paused: whoever looks at the clock afterwards sees that the time is over, also before the keeper runs.
    pub fn until(&self) -> Instant {
        *self.until.borrow()
    }

    /// Waits until the lease has ended or may have; for ever if it is kept alive.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // The sender lives until it has told the loss or this handle is gone.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Ends the lease now and removes its keys.
    ///
    /// # Errors
    /// As any write; whatever happens it is no longer kept alive and ends by itself.
    pub async fn revoke(self) -> Result<()> {
        let limit = self.store.options().request_timeout;
        self.store.witness().before_request()?;
        let mut client = self.store.client();
        let revoked = tokio::time::timeout(limit, client.lease_revoke(self.id))
            .await
            .map_err(|_| Error::no_answer_to_write(limit))?;
        match revoked.map_err(Error::of_write) {
            Ok(_) | Err(Error::LeaseLost) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The background half.
struct Keeper {
    store: Store,
    id: i64,
    ttl: Duration,
    /// When the store may end the lease.
    end: Instant,
    told: watch::Sender<Instant>,
}

/// Why a stream of renewals ended.
enum Stopped {
    Lost,
    Interrupted,
}

impl Keeper {
    /// Renews until the lease is lost.
    async fn keep(mut self) {
        let mut backoff = Backoff::outage();
        loop {
            let before = self.end;
            match self.renew_on_one_stream().await {
                Stopped::Lost => break,
                Stopped::Interrupted => {}
            }
            if self.end > before {
                backoff = Backoff::outage();
            }
            if !backoff.pause_until(self.end).await {
                tokio::time::sleep_until(self.end).await;
                break;
            }
        }
        tracing::warn!(lease = format_args!("{:x}", self.id), "lease lost");
    }

    /// Until when to wait for an answer: one attempt may not use up the time of the others.
    fn patience(&self, asked: Instant) -> Instant {
        (asked + self.ttl / RENEWALS).min(self.end)
    }

    async fn renew_on_one_stream(&mut self) -> Stopped {
        let mut client = self.store.client();
        let mut asked = Instant::now();
        let opened =
            tokio::time::timeout_at(self.patience(asked), client.lease_keep_alive(self.id)).await;
        let (mut keeper, mut answers) = match opened {
            Ok(Ok(stream)) => stream,
            // The client library's word for "the store knows no such lease".
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(reason)))
                if reason == "lease not found" =>
            {
                return Stopped::Lost;
            }
            Ok(Err(_)) | Err(_) => return Stopped::Interrupted,
        };
        loop {
            self.end = asked + self.ttl;
            self.told.send_replace(self.end);
            tokio::time::sleep_until(asked + self.ttl / RENEWALS).await;
            asked = Instant::now();
            let renewal = async {
                keeper.keep_alive().await?;
                answers.message().await
            };
            match tokio::time::timeout_at(self.patience(asked), renewal).await {
                Ok(Ok(Some(answer))) if answer.ttl() > 0 => self.ttl = seconds_of(answer.ttl()),
                Ok(Ok(Some(_))) => return Stopped::Lost,
                Ok(Ok(None) | Err(_)) | Err(_) => return Stopped::Interrupted,
            }
        }
    }
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or(0))
}
