//! From a command to entries. Reads the state and writes a draft; changes nothing.

mod draft;
mod expiry;
mod metering;
mod money;
mod prices;
mod quota;
mod rate_usage;
mod reservation;
mod wallet;

pub(crate) use draft::{Draft, Postings};

use photon_core::Name;

use crate::{
    answer::Answer,
    command::{Command, Request},
    entry::Entry,
    key::Key,
    refusal::Refusal,
    replay_error::ReplayError,
    state::{Known, State},
    time::Time,
};

/// How long after a charge it may be refunded: 400 days.
pub const REFUNDABLE_SECONDS: i64 = 400 * 86_400;
/// How old usage may be: 100 days.
pub const USAGE_SECONDS: i64 = 100 * 86_400;
/// How far ahead of the ledger usage may end: clocks differ.
pub const USAGE_AHEAD_SECONDS: i64 = 300;

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// To be written together. None if nothing changed, or if the command was answered before.
    pub entries: Vec<Entry>,
    /// For the caller, once the entries are written.
    pub answer: Answer,
    /// Whether this is the first answer to the same request under the same key.
    pub replayed: bool,
}

/// What a decision came to.
pub(crate) enum Outcome {
    /// The draft has entries.
    Entered,
    /// All is as asked for already.
    Unchanged(Answer),
}

impl State {
    /// Does what a command says, wholly, or refuses it and stays as it is.
    ///
    /// `now` is held to the ledger's time, which never goes back. The entries are part of the state at once; what was
    /// answered counts only when they are written, and if they cannot be, the state must be dropped.
    pub fn apply(&mut self, request: &Request, now: Time) -> Result<Applied, Refusal> {
        let at = now.max(self.at);
        if let Some(key) = &request.key
            && let Some(answer) = self.answered_before(key, at)?
        {
            return Ok(Applied {
                entries: Vec::new(),
                answer,
                replayed: true,
            });
        }
        let (outcome, mut entries) = self.decide(request, at)?;
        if let Outcome::Unchanged(answer) = outcome {
            return Ok(Applied {
                entries: Vec::new(),
                answer,
                replayed: false,
            });
        }
        if let Some(last) = entries.last_mut() {
            last.key = request.key;
        }
        let answer = self.enter(&entries).map_err(Refusal::Defect)?;
        Ok(Applied {
            entries,
            answer,
            replayed: false,
        })
    }

    fn answered_before(&self, key: &Key, at: Time) -> Result<Option<Answer>, Refusal> {
        let oldest = self.oldest_remembered(at);
        match self.keys.look_up(key, oldest, self.bounds.max_keys) {
            Known::New => Ok(None),
            Known::Same(answer) => Ok(Some(answer.clone())),
            Known::Other => Err(Refusal::KeyReused),
            Known::Full => Err(Refusal::TooManyKeys),
        }
    }

    /// Replays what was decided. The answer of the last entry.
    fn enter(&mut self, entries: &[Entry]) -> Result<Answer, ReplayError> {
        let mut remembered = None;
        for entry in entries {
            remembered = self.fold(entry)?;
        }
        let answer = || entries.last().map(|last| self.answer(last));
        Ok(remembered.or_else(answer).unwrap_or(Answer::Done))
    }

    /// Releases holds whose time has come, the first ones first, at most so many: the entries, which are part of the
    /// state already. Asked again until there are none.
    pub fn expire_due(&mut self, now: Time, at_most: usize) -> Result<Vec<Entry>, Refusal> {
        let at = now.max(self.at);
        let mut all = Vec::new();
        while all.len() < at_most
            && let Some(id) = self.due(at)
        {
            let entries = self.expiry_of(id, at)?;
            self.enter(&entries).map_err(Refusal::Defect)?;
            all.extend(entries);
        }
        Ok(all)
    }

    fn decide(&self, request: &Request, at: Time) -> Result<(Outcome, Vec<Entry>), Refusal> {
        let by = request.by.as_ref();
        let of_project = |project: &Name| Draft::of_project(self, at, by, project);
        let of_hold = |id, caller: &Option<Name>| {
            let hold = reservation::open_hold(self, id, caller.as_ref(), at)?;
            Ok::<_, Refusal>((Draft::of_project(self, at, by, &hold.project)?, hold))
        };
        let mut draft;
        let outcome = match &request.command {
            Command::CreateWallet(command) => {
                draft = of_project(&command.project)?;
                wallet::create(&mut draft, command)
            }
            Command::UpdateWallet(command) => {
                draft = of_project(&command.project)?;
                wallet::update(&mut draft, command)
            }
            Command::TopUp(command) => {
                draft = of_project(&command.project)?;
                money::top_up(&mut draft, command)
            }
            Command::Adjust(command) => {
                draft = of_project(&command.project)?;
                money::adjust(&mut draft, command)
            }
            Command::Charge(command) => {
                draft = of_project(&command.project)?;
                money::charge(&mut draft, command)
            }
            Command::Refund(command) => {
                draft = of_project(&command.project)?;
                money::refund(&mut draft, command)
            }
            Command::Reserve(command) => {
                draft = of_project(&command.project)?;
                reservation::reserve(&mut draft, command)
            }
            Command::Commit(command) => {
                let hold;
                (draft, hold) = of_hold(command.reservation, &command.caller)?;
                reservation::commit(&mut draft, hold, command)
            }
            Command::Release(command) => {
                let hold;
                (draft, hold) = of_hold(command.reservation, &command.caller)?;
                reservation::release(&mut draft, hold, command)
            }
            Command::Extend(command) => {
                let hold;
                (draft, hold) = of_hold(command.reservation, &command.caller)?;
                reservation::extend(&mut draft, hold, command)
            }
            Command::RecordUsage(command) => {
                draft = of_project(&command.project)?;
                metering::record_usage(&mut draft, command)
            }
            Command::Settle(command) => {
                draft = of_project(&command.project)?;
                metering::settle(&mut draft, command)
            }
            Command::RegisterLimit(command) => {
                draft = Draft::of_shard(self, at, by);
                quota::register(&mut draft, command)
            }
            Command::SetLimit(command) => {
                draft = of_project(&command.project)?;
                quota::set(&mut draft, command)
            }
            Command::FreeUnits(command) => {
                draft = of_project(&command.project)?;
                quota::free(&mut draft, command)
            }
            Command::Recount(command) => {
                draft = of_project(&command.project)?;
                quota::recount(&mut draft, command)
            }
            Command::PublishPrice(command) => {
                draft = Draft::of_shard(self, at, by);
                prices::publish(&mut draft, command)
            }
        }?;
        Ok((outcome, draft.finish()))
    }
}
