//! What only the leader knows: when leases end. Any member asks it through [`photon_raft::Group::call_leader`].

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chainfire_engine::{
    Engine, EtcdError,
    lessor::{KeepAlive, Lessor, LessorOptions},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use photon_proto::photon::chainfire::command::v1::{
    Command, Failure, LeaseCheckpoint, Reply, command::Op, lease_checkpoint::Remaining, reply,
};
use photon_raft::{Group, LeaderService};
use prost::Message as _;
use tokio::time::Instant;

use super::{Machine, from_raft};

/// How long the leader may take to prove that it still leads before it answers for leases.
const CONFIRM_WITHIN: Duration = Duration::from_secs(2);

/// How often an expired lease whose revocation is under way is looked at again.
const REVOKING: Duration = Duration::from_millis(50);

/// The clock of leases, running on the leader alone.
pub struct LeaderDesk {
    engine: Engine,
    clock: Mutex<Clock>,
    /// The fixed point the lessor's times count from.
    started: Instant,
    /// Leases applied here since the start: granted, revoked or expired.
    granted: AtomicU64,
    revoked: AtomicU64,
    /// Set while the group runs: the group owns this desk, so one of the two has to let go.
    group: Mutex<Option<Group<Machine>>>,
}

struct Clock {
    lessor: Lessor,
    /// The term in which this node took over the leases; `None` while it does not lead.
    term: Option<u64>,
}

impl std::fmt::Debug for LeaderDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderDesk").finish_non_exhaustive()
    }
}

impl LeaderDesk {
    /// A desk that leads nothing yet.
    pub fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self {
            engine,
            clock: Mutex::new(Clock {
                lessor: Lessor::new(LessorOptions::default()),
                term: None,
            }),
            started: Instant::now(),
            granted: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
            group: Mutex::new(None),
        })
    }

    /// Names the group, which needs the desk to start and so exists later.
    pub fn attach(&self, group: Group<Machine>) {
        *self.group.lock() = Some(group);
    }

    /// Lets go of the group, which has been shut down.
    pub fn detach(&self) {
        *self.group.lock() = None;
    }

    fn group(&self) -> Option<Group<Machine>> {
        self.group.lock().clone()
    }

    /// Leases granted, and revoked or expired, since the start.
    pub(super) fn lease_counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.granted), read(&self.revoked))
    }

    /// The term in which this node took the leases over.
    pub(super) fn leading(&self) -> Option<u64> {
        self.clock.lock().term
    }

    /// Starts the clock of all leases at their remaining length. Call with leadership confirmed and
    /// everything of earlier terms applied.
    pub(super) fn take_over(&self, term: u64, extend: Duration) {
        let mut clock = self.clock.lock();
        // Under the lock, so that a lease applied meanwhile is told to the lessor after this.
        let leases = self.engine.leases();
        clock.lessor.promote(self.now(), extend, leases);
        clock.term = Some(term);
    }

    /// Monotonic, and so untouched by what happens to the wall clock.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn step_down(&self) {
        let mut clock = self.clock.lock();
        clock.lessor.demote();
        clock.term = None;
    }

    pub(super) fn expired(&self, max: usize) -> Vec<i64> {
        self.clock.lock().lessor.expired(self.now(), max)
    }

    pub(super) fn checkpoints(&self, max: usize) -> Vec<(i64, i64)> {
        self.clock.lock().lessor.checkpoints(self.now(), max)
    }

    /// Called by the apply thread after a batch: keeps the clock in step with the leases.
    pub(super) fn applied(&self, commands: &[Bytes], replies: &[Reply]) {
        for (command, reply) in commands.iter().zip(replies) {
            match &reply.result {
                Some(reply::Result::LeaseGrant(granted)) => {
                    self.granted.fetch_add(1, Ordering::Relaxed);
                    let now = self.now();
                    self.clock
                        .lock()
                        .lessor
                        .granted(now, granted.id, granted.ttl);
                }
                Some(reply::Result::LeaseRevoke(_)) => {
                    self.revoked.fetch_add(1, Ordering::Relaxed);
                    // Rare enough to read the command again for the id the answer does not carry.
                    if let Ok(Command {
                        op: Some(Op::LeaseRevoke(revoke)),
                        ..
                    }) = Command::decode(command.clone())
                    {
                        self.clock.lock().lessor.revoked(revoke.id);
                    }
                }
                Some(reply::Result::Done(_)) => self.checkpointed(command),
                _ => {}
            }
        }
    }

    fn checkpointed(&self, command: &Bytes) {
        let Ok(Command {
            op: Some(Op::LeaseCheckpoint(checkpoint)),
            ..
        }) = Command::decode(command.clone())
        else {
            return;
        };
        let mut clock = self.clock.lock();
        for lease in checkpoint.leases {
            clock
                .lessor
                .checkpointed(lease.id, lease.remaining_ttl_seconds);
        }
    }

    async fn answer(&self, ask: Ask) -> Result<i64, EtcdError> {
        let group = self.group().ok_or(EtcdError::NO_LEADER)?;
        group
            .lead_confirmed(Instant::now() + CONFIRM_WITHIN)
            .await
            .map_err(|error| from_raft(&error))?;
        match ask.question {
            Some(Question::KeepAlive(id)) => self.keep_alive(id).await,
            Some(Question::Remaining(id)) => {
                let clock = self.clock.lock();
                clock.term.ok_or(EtcdError::NO_LEADER)?;
                clock
                    .lessor
                    .remaining(self.now(), id)
                    .ok_or(EtcdError::LEASE_NOT_FOUND)
            }
            None => Err(EtcdError::NOT_CAPABLE),
        }
    }

    /// Extends a lease. One that has run out is not revived: its revocation is waited for.
    async fn keep_alive(&self, id: i64) -> Result<i64, EtcdError> {
        loop {
            let kept = self.clock.lock().lessor.keep_alive(self.now(), id);
            match kept {
                KeepAlive::Renewed {
                    ttl,
                    clear_checkpoint,
                } => {
                    if clear_checkpoint {
                        self.clear_checkpoint(id).await;
                    }
                    return Ok(ttl);
                }
                KeepAlive::Missing => return Err(EtcdError::LEASE_NOT_FOUND),
                KeepAlive::NotLeader => return Err(EtcdError::NO_LEADER),
                // The caller's deadline ends this wait by dropping it.
                KeepAlive::Expired => tokio::time::sleep(REVOKING).await,
            }
        }
    }

    /// Without this a next leader would start the lease with the shorter time written down earlier. It is
    /// tried once: at worst the lease ends early after a change of leader, never late.
    async fn clear_checkpoint(&self, id: i64) {
        let Some(group) = self.group() else {
            return;
        };
        let clear = Command {
            caller: None,
            op: Some(Op::LeaseCheckpoint(LeaseCheckpoint {
                leases: vec![Remaining {
                    id,
                    remaining_ttl_seconds: 0,
                }],
            })),
        };
        let deadline = Instant::now() + CONFIRM_WITHIN;
        let cleared = group.propose(clear.encode_to_vec().into(), deadline).await;
        if let Err(error) = cleared {
            tracing::warn!(id, %error, "could not clear a lease's checkpoint");
        }
    }
}

impl LeaderService for LeaderDesk {
    fn handle(&self, request: Bytes) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let ask = Ask::decode(request).map_err(io::Error::other)?;
            let outcome = match self.answer(ask).await {
                Ok(seconds) => Outcome::Seconds(seconds),
                Err(error) => Outcome::Failure(Failure {
                    code: error.code,
                    message: error.message.into_owned(),
                }),
            };
            Ok(Answer {
                outcome: Some(outcome),
            }
            .encode_to_vec()
            .into())
        })
    }
}

/// A question to the leader. Between members of one cluster; field numbers never change meaning.
#[derive(Clone, PartialEq, prost::Message)]
struct Ask {
    #[prost(oneof = "Question", tags = "1, 2")]
    question: Option<Question>,
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
enum Question {
    /// Extend this lease; the answer is its granted TTL.
    #[prost(int64, tag = "1")]
    KeepAlive(i64),
    /// How long does this lease live; the answer is the seconds left.
    #[prost(int64, tag = "2")]
    Remaining(i64),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(oneof = "Outcome", tags = "1, 2")]
    outcome: Option<Outcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Outcome {
    #[prost(int64, tag = "1")]
    Seconds(i64),
    #[prost(message, tag = "2")]
    Failure(Failure),
}

/// Asks the leader, wherever it is, to extend a lease.
pub(super) async fn keep_alive(
    group: &Group<Machine>,
    id: i64,
    deadline: Instant,
) -> Result<i64, EtcdError> {
    ask(group, Question::KeepAlive(id), deadline).await
}

/// Asks the leader how many seconds a lease has left.
pub(super) async fn remaining(
    group: &Group<Machine>,
    id: i64,
    deadline: Instant,
) -> Result<i64, EtcdError> {
    ask(group, Question::Remaining(id), deadline).await
}

async fn ask(
    group: &Group<Machine>,
    question: Question,
    deadline: Instant,
) -> Result<i64, EtcdError> {
    let request = Ask {
        question: Some(question),
    };
    let answer = group
        .call_leader(request.encode_to_vec().into(), deadline)
        .await
        .map_err(|error| from_raft(&error))?;
    let answer = Answer::decode(answer).map_err(|error| super::internal(&error))?;
    match answer.outcome {
        Some(Outcome::Seconds(seconds)) => Ok(seconds),
        Some(Outcome::Failure(failure)) => {
            Err(EtcdError::from_parts(failure.code, failure.message))
        }
        None => Err(super::unexpected_reply()),
    }
}
