//! What the owner of a shard may be asked, and what it answers. Both cross processes, as JSON.

use creditservice_ledger::{
    Answer, Entry, Figures, Request, ReservationId, ReservationView, Settings,
};
use photon_core::{Code, Error, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{catalog::is_of_catalog, quota::Quota};

/// A question for the owner of a shard. The door that took the request has decided that it may be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// To do something.
    Apply(Box<Request>),
    /// The wallets of these projects; those that have none are left out.
    Wallets {
        /// All of this shard.
        projects: Vec<Name>,
    },
    /// A reservation that is open, or was resolved lately.
    Reservation {
        /// Which.
        id: ReservationId,
    },
    /// A project's open reservations, by id.
    Reservations {
        /// Whose.
        project: Name,
        /// Behind this one.
        after: Option<ReservationId>,
        /// At most so many.
        limit: usize,
    },
    /// Every registered kind of units, as it is for a project.
    Quotas {
        /// Whose.
        project: Name,
    },
    /// A project's entries that are not in pages yet.
    Unpaged {
        /// Whose.
        project: Name,
    },
}

impl Ask {
    /// Whether asking twice comes to the same as asking once.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Apply(request) => request.key.is_some() || is_of_catalog(request),
            _ => true,
        }
    }
}

/// What the owner answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// To [`Ask::Apply`], once it is written.
    Applied {
        /// What the ledger says to it.
        answer: Answer,
        /// Whether it is the answer to an earlier request of the same key.
        replayed: bool,
    },
    /// The ledger refuses.
    Refused(Said),
    /// To [`Ask::Wallets`].
    Wallets(Vec<WalletView>),
    /// To [`Ask::Reservation`].
    Reservation(Option<ReservationView>),
    /// To [`Ask::Reservations`].
    Reservations(Vec<ReservationView>),
    /// To [`Ask::Quotas`].
    Quotas(Vec<Quota>),
    /// To [`Ask::Unpaged`].
    Unpaged {
        /// By `seq`.
        entries: Vec<Entry>,
    },
}

/// A wallet as its owner knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WalletView {
    pub(crate) project: Name,
    pub(crate) org: Name,
    pub(crate) figures: Figures,
    pub(crate) settings: Settings,
}

impl From<creditservice_ledger::WalletView> for WalletView {
    fn from(wallet: creditservice_ledger::WalletView) -> Self {
        Self {
            project: wallet.project,
            org: wallet.org,
            figures: wallet.figures,
            settings: wallet.settings,
        }
    }
}

/// An error on its way between processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    code: String,
    message: String,
    #[serde(default)]
    details: Value,
}

impl Said {
    /// Without its cause, which is logged where it happened.
    pub(crate) fn of(error: &Error) -> Self {
        Self {
            code: error.code().name.to_owned(),
            message: error.message().to_owned(),
            details: error.details().cloned().unwrap_or_default(),
        }
    }
}

impl From<Said> for Error {
    fn from(said: Said) -> Self {
        let Some(code) = Code::by_name(&said.code) else {
            return Self::internal(format!(
                "another process says {}: {}",
                said.code, said.message
            ));
        };
        let error = Self::new(code, said.message);
        match said.details {
            Value::Null => error,
            details => error.with_details(details),
        }
    }
}

/// How an attempt to ask ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Answered.
    Answered(Box<Reply>),
    /// Certainly not done: it may be asked again, here or elsewhere.
    NotDone {
        /// For the log.
        why: String,
    },
    /// Nobody knows whether it was done.
    Unknown {
        /// For the log.
        why: String,
    },
}

impl Outcome {
    pub(crate) fn not_done(why: impl std::fmt::Display) -> Self {
        Self::NotDone {
            why: why.to_string(),
        }
    }

    pub(crate) fn unknown(why: impl std::fmt::Display) -> Self {
        Self::Unknown {
            why: why.to_string(),
        }
    }
}
