//! What is stored of an operation.

use std::fmt;

use jiff::Timestamp;
use photon_core::{Id, Kind, Name};
use photon_store::Record;
use serde::{Deserialize, Serialize};

/// The most lines of a log; the oldest go first.
pub const MOST_LOG_LINES: usize = 100;
/// The longest line, in bytes.
const LINE_BYTES: usize = 500;

/// The operations of one service.
pub trait Operations: Clone + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// Of their ids.
    type Kind: Kind + Clone + PartialEq;
    /// Their collection, as `/photon/plasmavmc/operation/`.
    const ROOT: &'static str;

    /// The key that leads from an id to the record.
    fn index(id: Id<Self::Kind>) -> String;
}

/// Work on one thing, as it is stored: at `<org>/<project>/<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Operation<S: Operations> {
    /// Its id.
    pub id: Id<S::Kind>,
    /// What is done, as `vm.create`.
    pub kind: String,
    /// To what: its id.
    pub target: String,
    /// Whose org.
    pub org: Name,
    /// Whose project.
    pub project: Name,
    /// On whose behalf.
    pub by: String,
    /// How it is.
    pub state: OperationState,
    /// Its steps, in order.
    pub steps: Vec<StepStatus>,
    /// When the present step began: its deadline counts from there.
    pub step_since: Timestamp,
    /// What the present step waits for; else empty.
    #[serde(default)]
    pub waiting_for: String,
    /// Why it is undone, or was; else empty.
    #[serde(default)]
    pub error: String,
    /// Whether somebody wants it to end: then it is undone.
    #[serde(default)]
    pub cancel: bool,
    /// What happened, the latest last.
    #[serde(default)]
    pub log: Vec<LogLine>,
    /// When it began.
    pub created_at: Timestamp,
    /// When something happened last.
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// How an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Its steps are done, one after the other.
    Running,
    /// What was done is undone.
    Undoing,
    /// All is done.
    Done,
    /// It could not be done, and nothing of it is left.
    Failed,
    /// Somebody did not want it any more, and nothing of it is left.
    Cancelled,
}

/// A step and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: StepState,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// To be done, or under way.
    Waiting,
    /// Done.
    Done,
    /// Undone.
    Undone,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

impl OperationState {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl StepState {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }
}

impl<S: Operations> Record for Operation<S> {
    const ROOT: &'static str = S::ROOT;

    fn index_keys(&self, _key: &str) -> Vec<String> {
        vec![S::index(self.id)]
    }
}

impl<S: Operations> Operation<S> {
    /// The key below the collection.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.org, self.project, self.id)
    }

    /// How much of it is done, in hundredths; 100 when it is over.
    #[must_use]
    pub fn percent(&self) -> u32 {
        if self.state.is_over() {
            return 100;
        }
        let done = self
            .steps
            .iter()
            .filter(|step| step.state == StepState::Done);
        let (done, all) = (done.count(), self.steps.len().max(1));
        u32::try_from(done * 100 / all).unwrap_or(100)
    }

    /// The step that is to be done or under way, if not all are done.
    #[must_use]
    pub fn present(&self) -> Option<usize> {
        self.steps
            .iter()
            .position(|step| step.state == StepState::Waiting)
    }

    /// Ends it as it stands, without an undo: for whoever takes over what it has done so far. Nothing if it is over.
    pub fn hand_over(&mut self, why: &str, now: Timestamp) {
        if !self.state.is_over() {
            why.clone_into(&mut self.error);
            self.end(OperationState::Cancelled, now);
        }
    }

    pub(super) fn end(&mut self, state: OperationState, now: Timestamp) {
        self.state = state;
        self.waiting_for.clear();
        self.ended_at = Some(now);
        let line = match self.error.as_str() {
            "" => state.as_str().to_owned(),
            why => format!("{}: {why}", state.as_str()),
        };
        self.say(&line, now);
    }

    /// Adds a line to the log.
    pub fn say(&mut self, text: &str, now: Timestamp) {
        let text = text.chars().scan(0, |bytes, character| {
            *bytes += character.len_utf8();
            (*bytes <= LINE_BYTES).then_some(character)
        });
        let text = text.collect();
        self.log.push(LogLine { at: now, text });
        let surplus = self.log.len().saturating_sub(MOST_LOG_LINES);
        self.log.drain(..surplus);
        self.updated_at = now;
    }
}
