//! What can go wrong before there is a gRPC status, and how to read the status when there is one.

use tonic::Status;

/// Metadata key under which a member sends the suite's error code (`NOT_FOUND`, `COMPACTED`, `NO_QUORUM`, …).
pub const ERROR_CODE: &str = "photon-error-code";

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No endpoint was given.
    #[error("no endpoint was given")]
    NoEndpoint,
    /// An endpoint is not `http://host:port` or `https://host:port`.
    #[error("{endpoint} is not an endpoint: {reason}")]
    InvalidEndpoint {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS material cannot be used.
    #[error("TLS cannot be set up for {endpoint}")]
    Tls {
        /// The endpoint it was for.
        endpoint: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// No endpoint accepted a connection.
    #[error("no endpoint can be reached: {0}")]
    Unreachable(String),
}

/// The suite's error code in a status that a ChainFire member sent, if it sent one.
///
/// A gRPC code covers several of them: `Unavailable` is `UNAVAILABLE` as well as `NO_QUORUM`.
#[must_use]
pub fn error_code(status: &Status) -> Option<&str> {
    status.metadata().get(ERROR_CODE)?.to_str().ok()
}
