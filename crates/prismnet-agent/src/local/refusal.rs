//! Why something that was asked by the socket is not done.

use tonic::{Code, Status};

use crate::kernel::{self, far::NoPlace};

/// The reasons.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// There is no such port here.
    #[error("{0}")]
    Unknown(String),
    /// As things are, it cannot be; waiting does not help.
    #[error("{0}")]
    Unfit(String),
    /// It may come to be, but has not in time.
    #[error("{0}")]
    Late(String),
    /// Too many ask at once.
    #[error("too many calls wait; try again")]
    Busy,
    /// The machine refused.
    #[error("{0}")]
    Machine(String),
}

impl From<kernel::Error> for Refusal {
    fn from(error: kernel::Error) -> Self {
        Self::Machine(error.to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Machine(error.to_string())
    }
}

impl From<NoPlace> for Refusal {
    fn from(error: NoPlace) -> Self {
        match error {
            NoPlace::Gone(_) | NoPlace::Unfit(..) => Self::Unfit(error.to_string()),
            NoPlace::Machine(error) => error.into(),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Invalid(_) => Code::InvalidArgument,
            Refusal::Unknown(_) => Code::NotFound,
            Refusal::Unfit(_) => Code::FailedPrecondition,
            Refusal::Late(_) => Code::DeadlineExceeded,
            Refusal::Busy => Code::ResourceExhausted,
            Refusal::Machine(_) => Code::Internal,
        };
        Self::new(code, refusal.to_string())
    }
}
