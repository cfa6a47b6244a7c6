//! Keeps a lease alive in the background, and says when it is lost.
//!
//! ```text
//!   Alive --renewed--> Alive --member says it is gone, or its time is up without a renewal--> Lost
//! ```

use std::time::Duration;

use photon_proto::photon::chainfire::v1::{
    LeaseKeepAliveRequest, LeaseRevokeRequest, LeaseRevokeResponse,
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};
use tonic::{Request, Response, Status};

use crate::{ChainFireClient, client::bare};

/// Pause after a renewal that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Renews a lease at a third of its time until it is dropped; then the lease runs out by itself.
///
/// A lease that could not be renewed is taken as lost once its time is up, counted from *before* the last successful
/// renewal was asked for: never later than the cluster does. It is no fence: guard writes by revision as well.
pub struct LeaseKeeper {
    id: i64,
    client: ChainFireClient,
    lost: watch::Receiver<bool>,
    task: AbortHandle,
}

impl LeaseKeeper {
    pub(crate) async fn start(mut client: ChainFireClient, id: i64) -> Result<Self, Status> {
        let (ttl, until) = renew(&mut client, id).await?;
        let (report, lost) = watch::channel(false);
        let task = tokio::spawn(keep(client.clone(), id, ttl, until, report)).abort_handle();
        Ok(Self {
            id,
            client,
            lost,
            task,
        })
    }

    /// The lease.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    /// True once the lease is gone, or must be taken to be.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Returns when the lease is lost. Cancel safe.
    pub async fn lost(&mut self) {
        // The sender goes away only with the task, which ends when the lease is lost.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    /// Ends the lease now and deletes its keys.
    ///
    /// # Errors
    /// As the members answer; the lease is no longer renewed in any case.
    pub async fn revoke(mut self) -> Result<Response<LeaseRevokeResponse>, Status> {
        self.task.abort();
        self.client
            .lease_revoke(LeaseRevokeRequest { id: self.id })
            .await
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    mut client: ChainFireClient,
    id: i64,
    ttl: Duration,
    until: Instant,
    report: watch::Sender<bool>,
) {
    let (mut ttl, mut until) = (ttl, until);
    loop {
        sleep(ttl / 3).await;
        let renewed = tokio::select! {
            renewed = renew_until_told(&mut client, id) => renewed,
            () = sleep_until(until) => None,
        };
        let Some(renewed) = renewed else {
            tracing::warn!(lease = id, "lease lost");
            // Nobody listens when the keeper is being dropped.
            let _ = report.send(true);
            return;
        };
        (ttl, until) = renewed;
    }
}

/// Asks until a member renews the lease (its time, and when that is up) or says that it is gone (`None`).
async fn renew_until_told(client: &mut ChainFireClient, id: i64) -> Option<(Duration, Instant)> {
    loop {
        match renew(client, id).await {
            Ok(renewed) => return Some(renewed),
            Err(status) if status.code() == tonic::Code::NotFound => return None,
            Err(status) => tracing::debug!(lease = id, %status, "lease not renewed, trying again"),
        }
        sleep(PAUSE).await;
    }
}

async fn renew(client: &mut ChainFireClient, id: i64) -> Result<(Duration, Instant), Status> {
    let asked = Instant::now();
    let mut request: Request<_> = bare(&LeaseKeepAliveRequest { id });
    request.set_timeout(client.options().deadline);
    let ttl = client
        .lease_keep_alive(request)
        .await?
        .into_inner()
        .ttl_seconds;
    match u64::try_from(ttl) {
        Ok(seconds) if seconds > 0 => {
            let ttl = Duration::from_secs(seconds);
            Ok((ttl, asked + ttl))
        }
        _ => Err(Status::not_found(format!("lease {id} is gone"))),
    }
}
