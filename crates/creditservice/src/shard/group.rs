//! A group: commands that become one block, and questions that are answered with it.
//!
//! Pure: it changes the state and collects bytes; the owner writes them and sends the answers.

use std::collections::BTreeMap;

use creditservice_ledger::{
    Entry, Refusal, Request, ReservationId, ReservationView, State, Time, What,
};
use photon_core::Name;
use serde::Serialize as _;
use tokio::sync::oneshot;

use super::{
    ask::{Ask, Outcome, Reply, Said, WalletView},
    public::{self, Published},
};
use crate::refusal;

/// A group takes no more commands once its entries have so many bytes. The store takes 1.5 MiB in all.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;
/// Commands and questions of one group.
const MOST: usize = 1024;
/// Public records of one group; etcd takes 128 operations in all.
const MOST_PUBLIC: usize = 100;
/// Holds that expire at once: each may change a public record.
const MOST_EXPIRED: usize = MOST_PUBLIC;

/// A question and whoever waits for its answer.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) ask: Ask,
    pub(crate) answer: oneshot::Sender<Outcome>,
}

/// What is being put together.
#[derive(Debug)]
pub(crate) struct Group {
    now: Time,
    /// The entries as they stand in the block: `[{…},{…}`.
    json: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    /// What others read of wallets, where it changes.
    pub(crate) public: BTreeMap<Name, Published>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    /// The ledger contradicts itself: nothing of this may be written.
    pub(crate) defect: Option<Refusal>,
}

impl Group {
    /// Begins with the holds whose time has come.
    pub(crate) fn begin(state: &mut State, known: &public::Known, now: Time) -> Self {
        let mut group = Self {
            now,
            json: b"[".to_vec(),
            entries: Vec::new(),
            public: BTreeMap::new(),
            answers: Vec::new(),
            defect: None,
        };
        match state.expire_due(now, MOST_EXPIRED) {
            Ok(expired) => group.add(state, known, expired),
            Err(defect) => group.defect = Some(defect),
        }
        group
    }

    /// Whether more holds are due: then they come first, and commands have to wait for the next group.
    pub(crate) fn has_room(&self, state: &State) -> bool {
        self.answers.len() < MOST
            && self.json.len() < BLOCK_BYTES
            && self.public.len() < MOST_PUBLIC
            && self.defect.is_none()
            && state.next_expiry().is_none_or(|due| due > self.now)
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Does what is asked.
    pub(crate) fn take(&mut self, state: &mut State, known: &public::Known, work: Work) {
        let reply = match &work.ask {
            Ask::Apply(request) => match self.apply(state, known, request) {
                Ok(reply) => reply,
                Err(defect) => {
                    self.defect = Some(defect);
                    // Answered as the others, once it is known that nothing was written.
                    Reply::Refused(Said::of(&photon_core::Error::internal("a defect")))
                }
            },
            Ask::Wallets { projects } => Reply::Wallets(
                projects
                    .iter()
                    .filter_map(|project| state.wallet(project))
                    .map(WalletView::from)
                    .collect(),
            ),
            Ask::Reservation { id } => Reply::Reservation(state.reservation(*id)),
            Ask::Reservations {
                project,
                after,
                limit,
            } => Reply::Reservations(open(state, project, *after, *limit)),
            Ask::Quotas { project } => {
                Reply::Quotas(state.quotas(project).map(Into::into).collect())
            }
            // Answered without the queue; an owner that gets it here has none.
            Ask::Unpaged { .. } => Reply::Unpaged {
                entries: Vec::new(),
            },
        };
        self.answers
            .push((work.answer, Outcome::Answered(Box::new(reply))));
    }

    fn apply(
        &mut self,
        state: &mut State,
        known: &public::Known,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        match state.apply(request, self.now) {
            Ok(applied) => {
                self.add(state, known, applied.entries);
                Ok(Reply::Applied {
                    answer: applied.answer,
                    replayed: applied.replayed,
                })
            }
            Err(defect @ Refusal::Defect(_)) => Err(defect),
            Err(refused) => Ok(Reply::Refused(Said::of(&refusal::error(&refused)))),
        }
    }

    fn add(&mut self, state: &State, known: &public::Known, entries: Vec<Entry>) {
        for entry in entries {
            if self.json.len() > 1 {
                self.json.push(b',');
            }
            // Entries are maps with text keys, and a vector takes every byte: it cannot fail.
            let mut writer = serde_json::Serializer::new(&mut self.json);
            if let Err(error) = entry.serialize(&mut writer) {
                self.defect = Some(Refusal::Invalid {
                    field: "entry",
                    constraint: "json",
                    reason: error.to_string(),
                });
            }
            if let Some(project) = &entry.project {
                let before = self.public.get(project);
                let is_new = matches!(entry.what, What::WalletCreated { .. })
                    || before.is_some_and(|published| published.is_new);
                match known.change(state, project, is_new) {
                    Some(published) => self.public.insert(project.clone(), published),
                    // What an earlier command of this group changed is as it was again.
                    None => self.public.remove(project),
                };
            }
            self.entries.push(entry);
        }
    }

    /// The entries as JSON.
    pub(crate) fn entries_json(&mut self) -> Vec<u8> {
        let mut json = std::mem::take(&mut self.json);
        json.push(b']');
        json
    }

    /// Answers everybody as was decided: it is written, or there was nothing to write.
    pub(crate) fn acknowledge(self) {
        for (answer, outcome) in self.answers {
            // Whoever went away has no use for it.
            let _ = answer.send(outcome);
        }
    }

    /// Tells everybody that it came to nothing, or that nobody knows.
    pub(crate) fn fail(self, outcome: &Outcome) {
        for (answer, _) in self.answers {
            let _ = answer.send(outcome.clone());
        }
    }
}

/// A project's open reservations by id, from behind one on.
fn open(
    state: &State,
    project: &Name,
    after: Option<ReservationId>,
    limit: usize,
) -> Vec<ReservationView> {
    let mut found: Vec<ReservationView> = state
        .reservations(project)
        .filter(|one| after.is_none_or(|after| one.id > after))
        .collect();
    found.sort_by_key(|one| one.id);
    found.truncate(limit);
    found
}
