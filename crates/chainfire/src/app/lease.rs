//! Leases: grant, revoke, keep alive, ask, list; and the leader's loop that ends those that ran out.

use std::{sync::Arc, time::Duration};

use chainfire_engine::{EtcdError, Request, lessor};
use futures::{StreamExt as _, stream};
use photon_proto::{
    etcdserverpb::{
        LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
        LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus, LeaseTimeToLiveRequest,
        LeaseTimeToLiveResponse,
    },
    photon::chainfire::command::v1::{
        LeaseCheckpoint, command::Op, lease_checkpoint::Remaining, reply,
    },
};
use photon_raft::Role;
use tokio::time::Instant;

use super::{App, Caller, TICK, leader, unexpected_reply};

/// Revocations one look at the clock may propose: 1,000 per second, as in etcd, so that a pile of
/// leases that end together does not crowd out clients.
const REVOKE_PER_TICK: usize = 500;

/// Remaining times one look at the clock may write down.
const CHECKPOINTS_PER_TICK: usize = 1000;

/// Revocations under way at once.
const REVOKE_AT_ONCE: usize = 32;

/// Ids the server picks are positive and survive a JSON number.
const PICKED_IDS: std::ops::Range<i64> = 1..1 << 53;

impl App {
    /// Grants a lease; id 0 lets the server pick one. The TTL is raised to one and a half election timeouts.
    ///
    /// # Errors
    /// `lease already exists`, `too large lease TTL`, `database space exceeded`, and what every
    /// proposal may answer.
    pub async fn lease_grant(
        &self,
        caller: &Caller,
        mut request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, EtcdError> {
        self.require_user(caller)?;
        request.ttl = lessor::grant_ttl(request.ttl, self.config.min_lease_ttl_seconds())?;
        self.require_space().await?;
        let pick = request.id == 0;
        loop {
            if pick {
                request.id = rand::random_range(PICKED_IDS);
            }
            match self.propose(caller, Op::LeaseGrant(request)).await {
                Err(error) if pick && error == EtcdError::LEASE_EXIST => {}
                Err(error) => return Err(error),
                Ok(applied) => {
                    let header = Some(self.header_of(&applied));
                    return match applied.result {
                        Some(reply::Result::LeaseGrant(response)) => {
                            Ok(LeaseGrantResponse { header, ..response })
                        }
                        _ => Err(unexpected_reply()),
                    };
                }
            }
        }
    }

    /// Revokes a lease and deletes its keys in one revision.
    ///
    /// # Errors
    /// `requested lease not found`, `permission denied`, and what every proposal may answer.
    pub async fn lease_revoke(
        &self,
        caller: &Caller,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, EtcdError> {
        self.require_user(caller)?;
        self.authorize(caller, Request::LeaseRevoke(request.id))?;
        let applied = self.propose(caller, Op::LeaseRevoke(request)).await?;
        Ok(LeaseRevokeResponse {
            header: Some(self.header_of(&applied)),
        })
    }

    /// Extends a lease to its full length; TTL 0 in the answer says that there is no such lease.
    ///
    /// # Errors
    /// No leader or timeout.
    pub async fn lease_keep_alive(
        &self,
        caller: &Caller,
        id: i64,
    ) -> Result<LeaseKeepAliveResponse, EtcdError> {
        self.require_user(caller)?;
        self.require_voter()?;
        let ttl = match leader::keep_alive(&self.group, id, self.deadline()).await {
            Err(error) if error == EtcdError::LEASE_NOT_FOUND => 0,
            outcome => outcome?,
        };
        Ok(LeaseKeepAliveResponse {
            header: Some(self.header()),
            id,
            ttl,
        })
    }

    /// How long a lease has left, and its keys when asked; TTL -1 says that there is no such lease.
    ///
    /// # Errors
    /// `permission denied` for a key that the caller may not read; no leader or timeout.
    pub async fn lease_time_to_live(
        &self,
        caller: &Caller,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, EtcdError> {
        self.require_user(caller)?;
        self.linearize().await?;
        let id = request.id;
        let gone = LeaseTimeToLiveResponse {
            header: Some(self.header()),
            id,
            ttl: -1,
            ..Default::default()
        };
        let Some(lease) = self.engine.lease(id) else {
            return Ok(gone);
        };
        let ttl = match leader::remaining(&self.group, id, self.deadline()).await {
            Err(error) if error == EtcdError::LEASE_NOT_FOUND => return Ok(gone),
            outcome => outcome?,
        };
        let mut keys = Vec::new();
        if request.keys {
            self.authorize(caller, Request::LeaseKeys(id))?;
            keys = self.engine.lease_keys(id).unwrap_or_default();
        }
        Ok(LeaseTimeToLiveResponse {
            ttl,
            granted_ttl: lease.ttl,
            keys,
            ..gone
        })
    }

    /// Every lease there is.
    ///
    /// # Errors
    /// No leader or timeout.
    pub async fn lease_list(&self, caller: &Caller) -> Result<LeaseLeasesResponse, EtcdError> {
        self.require_user(caller)?;
        self.linearize().await?;
        let leases = self.engine.leases();
        Ok(LeaseLeasesResponse {
            header: Some(self.header()),
            leases: leases
                .into_iter()
                .map(|lease| LeaseStatus { id: lease.id })
                .collect(),
        })
    }
}

/// Runs for the life of the node; acts only while it leads.
pub(super) async fn expire_while_leading(app: Arc<App>) {
    let mut raft = app.raft_watch();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => break,
            changed = raft.changed() => if changed.is_err() { break },
            _ = tick.tick() => {}
        }
        let (role, term) = {
            let status = raft.borrow_and_update();
            (status.role, status.term)
        };
        if role != Role::Leader {
            if app.desk.leading().is_some() {
                app.desk.step_down();
            }
            continue;
        }
        if app.desk.leading() != Some(term) {
            // Everything of earlier terms is applied when a read of this term may be served.
            let deadline = Instant::now() + TICK;
            if app.group.lead_confirmed(deadline).await.is_err()
                || app.group.read_index(deadline).await.is_err()
            {
                continue;
            }
            app.desk.take_over(
                term,
                Duration::from_millis(app.config.raft.election_timeout_ms),
            );
            tracing::info!(term, "leases taken over");
        }
        tokio::select! {
            () = app.stop.cancelled() => break,
            () = revoke_expired(&app) => {}
        }
        checkpoint(&app).await;
    }
    app.desk.step_down();
}

/// Ends the leases that ran out, after a quorum has confirmed that this node still leads: one that was
/// paused or cut off must not end leases which its successor has extended.
async fn revoke_expired(app: &App) {
    let expired = app.desk.expired(REVOKE_PER_TICK);
    if expired.is_empty() {
        return;
    }
    if app
        .group
        .lead_confirmed(Instant::now() + Duration::from_secs(1))
        .await
        .is_err()
    {
        return;
    }
    stream::iter(expired)
        .for_each_concurrent(REVOKE_AT_ONCE, async |id| {
            let revoke = Op::LeaseRevoke(LeaseRevokeRequest { id });
            match app.propose(&Caller::SYSTEM, revoke).await {
                Ok(_) => {}
                // Somebody else was faster.
                Err(error) if error == EtcdError::LEASE_NOT_FOUND => {}
                // The lessor offers it again.
                Err(error) => tracing::warn!(id, %error, "could not revoke an expired lease"),
            }
        })
        .await;
}

/// Writes down how long long leases have left, so that a new leader does not start them afresh.
async fn checkpoint(app: &App) {
    let remaining = app.desk.checkpoints(CHECKPOINTS_PER_TICK);
    if remaining.is_empty() {
        return;
    }
    let leases = remaining
        .into_iter()
        .map(|(id, remaining_ttl_seconds)| Remaining {
            id,
            remaining_ttl_seconds,
        })
        .collect();
    let checkpoint = Op::LeaseCheckpoint(LeaseCheckpoint { leases });
    if let Err(error) = app.propose(&Caller::SYSTEM, checkpoint).await {
        tracing::warn!(%error, "could not record the remaining time of leases");
    }
}
