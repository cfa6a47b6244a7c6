//! What can go wrong, told apart by what the caller can do about it.

use std::error::Error as _;
use std::time::Duration;

use crate::witness::Change;

/// The gRPC codes this crate looks at (`google.rpc.Code`); the client library does not re-export the enum.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// Why a call did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such record.
    #[error("{key} does not exist")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The record, or one of its unique index keys, is taken.
    #[error("{key} exists already")]
    AlreadyExists {
        /// The key that is taken; an index key if a name is.
        key: String,
    },
    /// Another request with the same idempotency key has done it. Nothing was written.
    #[error("{key}: done by an earlier request")]
    Done {
        /// The record of it.
        key: String,
    },
    /// Somebody else changed the record since it was read. Nothing was written.
    #[error("{key} was changed meanwhile")]
    Conflict {
        /// The key.
        key: String,
    },
    /// There are keys where there must be none. Nothing was written.
    #[error("there is something below {key}")]
    NotEmpty {
        /// The prefix.
        key: String,
    },
    /// The leadership that fences this write is over. Nothing was written.
    #[error("leadership {key} is over")]
    Fenced {
        /// The leader key.
        key: String,
    },
    /// The lease has ended or nobody knows whether it has.
    #[error("the lease is lost")]
    LeaseLost,
    /// The write may have happened, may still happen, or not. Read before trying again.
    #[error("nobody knows whether the write happened: {reason}")]
    Unknown {
        /// What was seen.
        reason: String,
    },
    /// The store did not answer, or had no quorum, within the deadline. Nothing was written.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// What was seen.
        reason: String,
    },
    /// The request is larger than the store takes.
    #[error("too large: {reason}")]
    TooLarge {
        /// The store's words.
        reason: String,
    },
    /// The store's quota is used up; only reads and deletes work.
    #[error("the store is full")]
    Full,
    /// The store does not allow this caller to do this.
    #[error("not allowed by the store: {reason}")]
    Denied {
        /// The store's words.
        reason: String,
    },
    /// This is not the store that was known before (decision 9). Everything is refused until
    /// [`crate::Store::accept_change`].
    #[error("the store has changed: {0}")]
    StoreChanged(Change),
    /// The stored value cannot be read as this record.
    #[error("{key} is corrupt: {reason}")]
    Corrupt {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The stored value was written by a newer program.
    #[error("{key} has version {found}, this program knows up to {known}")]
    TooNew {
        /// The key.
        key: String,
        /// Version stored.
        found: u32,
        /// Newest version known.
        known: u32,
    },
    /// The revision asked for is no longer kept.
    #[error("the revision has been compacted")]
    Compacted,
    /// This cannot be a key.
    #[error("{key:?} is no key: {reason}")]
    InvalidKey {
        /// What was given.
        key: String,
        /// Why not.
        reason: &'static str,
    },
    /// A request this crate or its caller should not have made, or an answer that makes no sense.
    #[error("{0}")]
    Protocol(String),
}

impl Error {
    /// Nothing was written and the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Conflict { .. })
    }

    pub(crate) fn no_answer_to_read(limit: Duration) -> Self {
        Self::Unavailable {
            reason: format!("no answer within {limit:?}"),
        }
    }

    pub(crate) fn no_answer_to_write(limit: Duration) -> Self {
        Self::Unknown {
            reason: format!("no answer within {limit:?}"),
        }
    }

    /// The error of a read.
    pub(crate) fn of_read(error: etcd_client::Error) -> Self {
        Self::classify(&error)
    }

    /// The error of a write: what may have reached the store is [`Error::Unknown`].
    pub(crate) fn of_write(error: etcd_client::Error) -> Self {
        match Self::classify(&error) {
            Self::Unavailable { reason } if !certainly_not_done(&error) => Self::Unknown { reason },
            other => other,
        }
    }

    fn classify(error: &etcd_client::Error) -> Self {
        let etcd_client::Error::GRpcStatus(status) = error else {
            return match error {
                etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => {
                    Self::Unavailable {
                        reason: with_causes(error),
                    }
                }
                other => Self::Protocol(other.to_string()),
            };
        };
        let reason = match status.source() {
            Some(cause) => format!("{}: {}", status.message(), with_causes(cause)),
            None => status.message().to_owned(),
        };
        match i32::from(status.code()) {
            code::PERMISSION_DENIED | code::UNAUTHENTICATED => Self::Denied { reason },
            code::RESOURCE_EXHAUSTED if reason.contains("database space exceeded") => Self::Full,
            code::RESOURCE_EXHAUSTED if reason.contains("too many requests") => {
                Self::Unavailable { reason }
            }
            // The client's own limit on what it decodes, or gRPC's on what is sent.
            code::RESOURCE_EXHAUSTED => Self::TooLarge { reason },
            code::INVALID_ARGUMENT
                if reason.contains("request is too large")
                    || reason.contains("too many operations") =>
            {
                Self::TooLarge { reason }
            }
            // "user name is empty": authentication is on and this caller has neither token nor certificate.
            code::INVALID_ARGUMENT if reason.contains("user name is empty") => {
                Self::Denied { reason }
            }
            code::OUT_OF_RANGE if reason.contains("has been compacted") => Self::Compacted,
            code::OUT_OF_RANGE if reason.contains("message length too large") => {
                Self::TooLarge { reason }
            }
            code::NOT_FOUND if reason.contains("lease not found") => Self::LeaseLost,
            // A connection that breaks shows as Unknown (2), Internal (13) or Cancelled depending on where it breaks.
            _ if status.source().is_some() => Self::Unavailable { reason },
            code::UNAVAILABLE | code::DEADLINE_EXCEEDED | code::CANCELLED => {
                Self::Unavailable { reason }
            }
            code => Self::Protocol(format!("gRPC {code}: {reason}")),
        }
    }
}

/// Whether the request never reached a store, or was refused by it before anything was done.
fn certainly_not_done(error: &etcd_client::Error) -> bool {
    let etcd_client::Error::GRpcStatus(status) = error else {
        return false;
    };
    if status.message().contains("too many requests") {
        return true;
    }
    let mut cause = status.source();
    while let Some(error) = cause {
        // Connecting failed, so nothing was sent.
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// How a door of a service shows an error of its store.
impl From<Error> for photon_core::Error {
    fn from(error: Error) -> Self {
        use photon_core::Code;
        let (code, message) = match &error {
            Error::NotFound { .. } => (Code::NOT_FOUND, "it does not exist"),
            Error::AlreadyExists { .. } => (Code::ALREADY_EXISTS, "it exists already"),
            Error::Conflict { .. } => (Code::CONFLICT, "it was changed meanwhile"),
            Error::NotEmpty { .. } => (Code::FAILED_PRECONDITION, "something depends on it"),
            Error::Done { .. } => (
                Code::CONFLICT,
                "another request with this idempotency key has done it",
            ),
            Error::Unknown { .. } => (
                Code::DEADLINE_EXCEEDED,
                "the store did not answer in time; the change may still take effect",
            ),
            Error::Unavailable { .. } | Error::Fenced { .. } | Error::LeaseLost => {
                (Code::UNAVAILABLE, "the store is not available")
            }
            Error::StoreChanged(_) => (
                Code::UNAVAILABLE,
                "the store is not the one known before; an operator must accept it",
            ),
            Error::TooLarge { .. } => (Code::PAYLOAD_TOO_LARGE, "too large for the store"),
            Error::Full => (Code::RESOURCE_EXHAUSTED, "the store is full"),
            Error::Compacted => (Code::COMPACTED, "the revision is no longer kept"),
            Error::InvalidKey { .. } => (Code::NOT_FOUND, "no such name can exist"),
            Error::Corrupt { .. } => (
                Code::INTERNAL,
                "what is stored is damaged: the log of the service says which record",
            ),
            Error::TooNew { .. } => (
                Code::INTERNAL,
                "what is stored was written by a newer version: the log of the service says which record",
            ),
            Error::Denied { .. } | Error::Protocol(_) => (Code::INTERNAL, "internal error"),
        };
        // The keys and the store's words are for the log only.
        Self::new(code, message).with_source(error)
    }
}
