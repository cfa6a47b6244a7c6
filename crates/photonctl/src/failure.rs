//! What went wrong, for a person and for a script.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | another failure |
//! | 2 | the command line is wrong |
//! | 3 | what was asked for does not exist |
//! | 4 | the cluster cannot be reached, has no quorum, or took too long |
//! | 5 | not allowed |
//! | 6 | it exists already, or its state does not allow this |

use std::process::ExitCode;

use tonic::Code;

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    message: String,
    exit_code: u8,
}

impl Failure {
    /// The command line asks for something that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 2,
        }
    }

    /// What was asked for does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 3,
        }
    }

    /// The cluster cannot be reached.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 4,
        }
    }

    /// It exists already, or its state does not allow this.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 6,
        }
    }

    /// Not allowed.
    pub fn denied(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit_code: 5,
        }
    }

    /// A service's refusal, in its words; `row` says which kind it is.
    pub(crate) fn answered(code: &str, message: &str, row: photon_core::Code) -> Self {
        Self {
            message: format!("{message} ({code})"),
            exit_code: match row.http {
                // Whatever else a state is that does not allow it: quotas, bounds.
                409 => 6,
                _ => exit_code(Code::from_i32(row.grpc)),
            },
        }
    }

    /// Anything else, with its causes.
    pub fn other(error: impl Into<anyhow::Error>) -> Self {
        Self {
            message: format!("{:#}", error.into()),
            exit_code: 1,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// With a line more: what to do, or where to look.
    pub(crate) fn with_hint(mut self, hint: &str) -> Self {
        self.message.push('\n');
        self.message.push_str(hint);
        self
    }

    /// What was asked for does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.exit_code == 3
    }

    /// Whoever was asked cannot be reached, or not now.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.exit_code == 4
    }

    /// Prints it and gives the code to exit with.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {self}");
        ExitCode::from(self.exit_code)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::other(error)
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let name = match chainfire_client::error_code(&status) {
            Some(code) => code.to_owned(),
            None => format!("{:?}", status.code()),
        };
        Self {
            message: format!("{} ({name})", status.message()),
            exit_code: exit_code(status.code()),
        }
    }
}

impl From<chainfire_client::ConnectError> for Failure {
    fn from(error: chainfire_client::ConnectError) -> Self {
        use chainfire_client::ConnectError;
        match &error {
            ConnectError::Unreachable(_) => Self::unreachable(error.to_string()),
            ConnectError::NoEndpoint | ConnectError::InvalidEndpoint { .. } => {
                Self::usage(error.to_string())
            }
            ConnectError::Tls { .. } => Self::other(error),
        }
    }
}

impl From<photon_store::Error> for Failure {
    fn from(error: photon_store::Error) -> Self {
        match error {
            photon_store::Error::Unavailable { reason } => {
                Self::unreachable(format!("the store is not available: {reason}"))
            }
            photon_store::Error::Denied { reason } => {
                Self::denied(format!("not allowed by the store: {reason}"))
            }
            other => Self::other(other),
        }
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => status.into(),
            etcd_client::Error::TransportError(error) => {
                let error = anyhow::Error::from(error);
                Self::unreachable(format!("the store cannot be reached: {error:#}"))
            }
            other => Self::other(other),
        }
    }
}

fn exit_code(code: Code) -> u8 {
    match code {
        Code::NotFound => 3,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => 4,
        Code::PermissionDenied | Code::Unauthenticated => 5,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_status() {
        for (status, expected) in [
            (tonic::Status::not_found("x"), 3),
            (tonic::Status::unavailable("x"), 4),
            (tonic::Status::permission_denied("x"), 5),
            (tonic::Status::already_exists("x"), 6),
            (tonic::Status::internal("x"), 1),
        ] {
            assert_eq!(Failure::from(status).exit_code(), expected);
        }
    }
}
