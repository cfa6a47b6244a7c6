//! The owner of a shard: one task that has the state, and is the only one to write.
//!
//! ```text
//!   inbox ──> group: expire what is due, then command by command ──> ONE transaction ──> everybody is answered
//!     │           while it is being written the next group gathers        │ fails
//!     │                                                                   └──> the state is dropped, who waits is told
//!     └── closed when it is to make way: what is in it is still done
//! ```
//! Questions stand in the same queue. So what is read was written, and a refusal is told only when what it was decided by
//! is written. An answer without a write is given only while the lease lasts by our own clock.

use std::{fmt, sync::Arc, time::Duration};

use creditservice_ledger::{Command, State};
use photon_store::{Error, Lease};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    ask::{Ask, Outcome, Reply, Said},
    block::{self, Link, Place},
    claim::Claim,
    group::{Group, Work},
    layout,
    load::Loaded,
    public::Known,
    raw::RawStore,
    snapshot,
    stored::{self, Head},
};
use crate::{clock::LedgerClock, history::Unpaged};

/// Questions that may wait; more are refused.
const QUEUE: usize = 4096;

/// How to ask the owner of a shard in this process. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    works: mpsc::Sender<Work>,
    unpaged: Arc<Unpaged>,
    lease: Arc<dyn Term>,
}

/// What an owner takes from.
pub(crate) type Works = mpsc::Receiver<Work>;

impl Inbox {
    /// An inbox and its other end.
    pub(crate) fn new(unpaged: Arc<Unpaged>, lease: Arc<dyn Term>) -> (Self, Works) {
        let (works, received) = mpsc::channel(QUEUE);
        let inbox = Self {
            works,
            unpaged,
            lease,
        };
        (inbox, received)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, ask: Ask) -> Outcome {
        if let Ask::Unpaged { project } = &ask {
            return self.unpaged_of(project);
        }
        let (answer, answered) = oneshot::channel();
        match self.works.try_send(Work { ask, answer }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let refused = photon_core::Error::new(
                    photon_core::Code::OVERLOADED,
                    "too many requests wait for this project's ledger",
                );
                return Outcome::Answered(Box::new(Reply::Refused(Said::of(&refused))));
            }
            Err(TrySendError::Closed(_)) => return Outcome::not_done("the owner makes way"),
        }
        answered
            .await
            .unwrap_or_else(|_| Outcome::unknown("the owner ended"))
    }

    /// Entries come here when they are written, so this need not wait for what is being written.
    fn unpaged_of(&self, project: &photon_core::Name) -> Outcome {
        let entries = self.unpaged.of(project);
        if self.lease.is_over() {
            return Outcome::not_done("the lease is over");
        }
        Outcome::Answered(Box::new(Reply::Unpaged { entries }))
    }
}

/// The lease of a process, as far as its owners ask.
pub(crate) trait Term: fmt::Debug + Send + Sync {
    /// Whether somebody else may own what is under it.
    fn is_over(&self) -> bool;
}

impl Term for Lease {
    fn is_over(&self) -> bool {
        self.is_lost() || Instant::now() >= self.until()
    }
}

/// Why an owner ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It made way: everything it took is written.
    Drained,
    /// It must not go on from what it has in memory.
    Failed(Error),
}

/// A shard's owner.
#[derive(Debug)]
pub(crate) struct Owner<S> {
    store: S,
    claim: Claim,
    clock: Arc<LedgerClock>,
    lease: Arc<dyn Term>,
    state: State,
    link: Link,
    head_revision: i64,
    known: Known,
    unpaged: Arc<Unpaged>,
    snapshot_entries: u64,
    /// Entries since the last snapshot.
    since_snapshot: u64,
    /// One that is being written.
    snapshot: Option<JoinHandle<()>>,
}

/// What an owner works with.
#[derive(Debug)]
pub(crate) struct Tools<S> {
    pub(crate) store: S,
    pub(crate) clock: Arc<LedgerClock>,
    pub(crate) lease: Arc<dyn Term>,
    /// After so many entries the state is written as a whole.
    pub(crate) snapshot_entries: u64,
}

impl<S: RawStore> Owner<S> {
    /// Goes on from what was loaded.
    pub(crate) fn new(tools: Tools<S>, claim: Claim, loaded: Loaded) -> Self {
        let Tools {
            store,
            clock,
            lease,
            snapshot_entries,
        } = tools;
        Self {
            store,
            claim,
            clock,
            lease,
            known: Known::of(&loaded.state),
            state: loaded.state,
            link: loaded.link,
            head_revision: loaded.head_revision,
            unpaged: Arc::new(loaded.unpaged),
            snapshot_entries,
            since_snapshot: loaded.replayed,
            snapshot: None,
        }
    }

    /// What is not in pages yet.
    pub(crate) fn unpaged(&self) -> Arc<Unpaged> {
        Arc::clone(&self.unpaged)
    }

    /// Does commands of the service's own before it serves.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) async fn prepare(&mut self, commands: Vec<Command>) -> Result<(), Error> {
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let mut group = Group::begin(&mut self.state, &self.known, self.clock.now());
            while group.has_room(&self.state)
                && let Some(command) = commands.next()
            {
                // Nobody waits for the answer.
                let (answer, _) = oneshot::channel();
                let ask = Ask::Apply(Box::new(command.into()));
                group.take(&mut self.state, &self.known, Work { ask, answer });
            }
            self.write(group).await?;
        }
        Ok(())
    }

    /// Works until it is told to make way, or cannot go on.
    pub(crate) async fn run(mut self, mut works: Works, stop: CancellationToken) -> Ended {
        let mut stopping = false;
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    works.close();
                    continue;
                }
                work = works.recv() => match work {
                    Some(work) => Some(work),
                    None => return Ended::Drained,
                },
                () = self.due() => None,
            };
            if let Err(error) = self.group(first, &mut works).await {
                return Ended::Failed(error);
            }
        }
    }

    /// Waits until a hold is over; for ever if there is none.
    async fn due(&self) {
        /// Timers are asked again: the wall clock may be set.
        const LONGEST: Duration = Duration::from_secs(60);
        loop {
            let Some(due) = self.state.next_expiry() else {
                return std::future::pending().await;
            };
            let left = due.micros().saturating_sub(self.clock.now().micros());
            let Ok(left) = u64::try_from(left) else {
                return;
            };
            if left == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_micros(left).min(LONGEST)).await;
        }
    }

    /// Puts a group together, writes it and answers.
    async fn group(&mut self, first: Option<Work>, works: &mut Works) -> Result<(), Error> {
        let mut next = first;
        loop {
            let mut group = Group::begin(&mut self.state, &self.known, self.clock.now());
            while group.has_room(&self.state) {
                match next.take().or_else(|| works.try_recv().ok()) {
                    Some(work) => group.take(&mut self.state, &self.known, work),
                    None => break,
                }
            }
            self.write(group).await?;
            // Holds that were due left no room for it.
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn write(&mut self, mut group: Group) -> Result<(), Error> {
        if let Some(defect) = group.defect.take() {
            group.fail(&Outcome::not_done("the ledger contradicts itself"));
            let error = photon_core::error::in_one_line(&defect);
            return Err(Error::Protocol(format!("a defect of the ledger: {error}")));
        }
        if group.is_empty() {
            if self.lease.is_over() {
                group.fail(&Outcome::not_done("the lease is over"));
                return Err(Error::LeaseLost);
            }
            group.acknowledge();
            return Ok(());
        }
        match self.commit(&mut group).await {
            Ok((link, revision)) => {
                self.link = link;
                self.head_revision = revision;
                for (project, published) in &group.public {
                    self.known.note(project, published.flags);
                }
                for entry in std::mem::take(&mut group.entries) {
                    self.since_snapshot += 1;
                    self.unpaged.push(entry);
                }
                group.acknowledge();
                self.snapshot_if_due();
                Ok(())
            }
            Err(error) => {
                let outcome = match &error {
                    Error::Unknown { .. } => Outcome::unknown(&error),
                    error => Outcome::not_done(error),
                };
                group.fail(&outcome);
                Err(error)
            }
        }
    }

    /// Begins to write the state as a whole, beside what goes on, if it is time and none is being written.
    fn snapshot_if_due(&mut self) {
        let is_writing = self.snapshot.as_ref().is_some_and(|one| !one.is_finished());
        // A large state is written less often: what is written stays in proportion to what changed.
        let due = self.snapshot_entries.max(self.state.rows() / 4);
        if self.since_snapshot < due || is_writing {
            return;
        }
        self.since_snapshot = 0;
        let (store, claim) = (self.store.clone(), self.claim.clone());
        let (state, link) = (self.state.clone(), self.link.clone());
        self.snapshot = Some(tokio::spawn(async move {
            // The fence ends it when there is another owner; it holds up nobody.
            if let Err(error) = snapshot::write(&store, &claim, state, link).await {
                tracing::warn!(shard = claim.shard.number(), %error, "a snapshot was not written");
            }
        }));
    }

    /// Writes a group as the next block.
    async fn commit(&self, group: &mut Group) -> Result<(Link, i64), Error> {
        let shard = self.claim.shard;
        let number = self.link.block + 1;
        let bytes = block::encode(
            &Place {
                shard,
                block: number,
                epoch: self.claim.epoch,
                at: self.state.at(),
                prev: &self.link.hash,
            },
            &group.entries_json(),
        );
        let link = Link {
            block: number,
            hash: block::hash(&bytes),
        };
        let head = Head {
            block: number,
            seq: self.state.seq(),
            at: self.state.at(),
            hash: link.hash.clone(),
            epoch: self.claim.epoch,
        };
        let head_key = layout::head(shard);
        let block_key = layout::block(shard, number);
        let mut changes = self.claim.fenced();
        match self.head_revision {
            0 => changes.absent(head_key.clone()),
            revision => changes.at_revision(head_key.clone(), revision),
        };
        changes
            .absent(block_key.clone())
            .put(block_key, bytes)
            .put(head_key, stored::encode(&head)?);
        for (project, published) in &group.public {
            let record = stored::encode(published)?;
            changes.put(layout::public_wallet(project), record);
        }
        let revision = self.store.commit(changes).await?;
        Ok((link, revision))
    }
}
