//! etcd's refusals in the suite's vocabulary: the one table for REST and for native gRPC.

use chainfire_engine::EtcdError;
use photon_core::{Code, Error};
use serde_json::json;
use tonic::Code as Grpc;

use super::size;
use crate::app::App;

/// The same as [`from_etcd`], of a request that names a revision: what is compacted is told with where history begins.
pub(crate) fn told(app: &App, error: EtcdError) -> Error {
    if error == EtcdError::COMPACTED {
        return compacted(app.engine().compacted());
    }
    from_etcd(error)
}

/// The history before `oldest` is gone.
pub(super) fn compacted(oldest: i64) -> Error {
    Error::new(
        Code::COMPACTED,
        format!("the history before revision {oldest} has been compacted"),
    )
    .with_details(json!({ "compacted_revision": oldest }))
}

/// The suite's error for one of etcd's. The public message is the text without its `etcdserver: ` or `chainfire: `.
pub(crate) fn from_etcd(error: EtcdError) -> Error {
    if let Some(known) = known(&error) {
        return known;
    }
    let code = match Grpc::from_i32(error.code) {
        Grpc::InvalidArgument => Code::VALIDATION_ERROR,
        Grpc::NotFound => Code::NOT_FOUND,
        Grpc::AlreadyExists => Code::ALREADY_EXISTS,
        Grpc::PermissionDenied => Code::FORBIDDEN,
        Grpc::Unauthenticated => Code::UNAUTHENTICATED,
        Grpc::FailedPrecondition => Code::FAILED_PRECONDITION,
        Grpc::ResourceExhausted => Code::RESOURCE_EXHAUSTED,
        Grpc::Unavailable | Grpc::Cancelled => Code::UNAVAILABLE,
        Grpc::DeadlineExceeded => Code::DEADLINE_EXCEEDED,
        Grpc::Unimplemented => Code::NOT_IMPLEMENTED,
        // Their texts are of this process and not for the caller.
        Grpc::Internal | Grpc::DataLoss | Grpc::Unknown => return Error::internal(error),
        Grpc::OutOfRange | Grpc::Aborted | Grpc::Ok => Code::VALIDATION_ERROR,
    };
    let message = plain(&error.message);
    Error::new(code, message)
}

/// The refusals whose meaning is finer than their gRPC code.
fn known(error: &EtcdError) -> Option<Error> {
    const QUORUM: &str = "no quorum: a majority of the members could not be reached in time";
    let is = |other: &[EtcdError]| other.contains(error);
    Some(if is(&[EtcdError::COMPACTED]) {
        Error::new(
            Code::COMPACTED,
            "the history of that revision has been compacted",
        )
    } else if is(&[EtcdError::ANSWER_TOO_LARGE]) {
        size::too_large()
    } else if is(&[EtcdError::FUTURE_REV]) {
        Error::validation(
            "revision",
            "future",
            "that revision has not been reached yet",
        )
    } else if is(&[EtcdError::EMPTY_KEY]) {
        Error::required("key")
    } else if is(&[EtcdError::LEASE_TTL_TOO_LARGE]) {
        Error::validation("ttl_seconds", "maximum", "ttl_seconds is too large")
    } else if is(&[EtcdError::NO_LEADER, EtcdError::UNHEALTHY]) {
        Error::new(Code::NO_QUORUM, QUORUM)
    } else if is(&[
        EtcdError::TIMEOUT,
        EtcdError::TIMEOUT_DUE_TO_LEADER_FAIL,
        EtcdError::TIMEOUT_DUE_TO_CONNECTION_LOST,
        EtcdError::TIMEOUT_WAIT_APPLIED_INDEX,
        EtcdError::LEADER_CHANGED,
    ]) {
        Error::new(
            Code::NO_QUORUM,
            format!("{QUORUM}; a change that was asked for may still be made"),
        )
    } else if is(&[EtcdError::NO_SPACE]) {
        Error::new(
            Code::RESOURCE_EXHAUSTED,
            "the store's space quota is used up",
        )
    } else if is(&[EtcdError::REQUEST_TOO_MANY_REQUESTS]) {
        Error::new(Code::OVERLOADED, "too many requests are in flight")
    } else if is(&[EtcdError::REQUEST_TOO_LARGE]) {
        Error::new(
            Code::PAYLOAD_TOO_LARGE,
            "the request is too large for the store",
        )
    } else if is(&[EtcdError::USER_EMPTY]) {
        Error::unauthenticated("a client certificate or a token is needed")
    } else if is(&[EtcdError::USER_NOT_FOUND]) {
        // Our own doors ask about no user but the caller.
        Error::forbidden("the store knows no user of the caller's name")
    } else if is(&[EtcdError::AUTH_OLD_REVISION]) {
        Error::conflict("users or rights changed while the request ran; repeat it")
    } else if is(&[
        EtcdError::LEASE_EXIST,
        EtcdError::MEMBER_EXIST,
        EtcdError::PEER_URL_EXIST,
    ]) {
        Error::new(Code::ALREADY_EXISTS, plain(&error.message))
    } else if is(&[EtcdError::NOT_SUPPORTED_FOR_LEARNER]) {
        Error::unavailable(
            "this member is a learner, which serves stale reads only; ask a voting member",
        )
    } else {
        return None;
    })
}

fn plain(message: &str) -> String {
    let message = ["etcdserver: ", "chainfire: ", "mvcc: "]
        .into_iter()
        .fold(message, |text, prefix| {
            text.strip_prefix(prefix).unwrap_or(text)
        });
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let expected = [
            (EtcdError::COMPACTED, 410, "COMPACTED"),
            (EtcdError::FUTURE_REV, 400, "VALIDATION_ERROR"),
            (EtcdError::PERMISSION_DENIED, 403, "FORBIDDEN"),
            (EtcdError::INVALID_AUTH_TOKEN, 401, "UNAUTHENTICATED"),
            (EtcdError::USER_EMPTY, 401, "UNAUTHENTICATED"),
            (EtcdError::NO_LEADER, 503, "NO_QUORUM"),
            (EtcdError::TIMEOUT, 503, "NO_QUORUM"),
            (EtcdError::LEASE_NOT_FOUND, 404, "NOT_FOUND"),
            (EtcdError::LEASE_EXIST, 409, "ALREADY_EXISTS"),
            (EtcdError::NO_SPACE, 507, "RESOURCE_EXHAUSTED"),
            (EtcdError::REQUEST_TOO_LARGE, 413, "PAYLOAD_TOO_LARGE"),
            (EtcdError::TOO_MANY_OPS, 400, "VALIDATION_ERROR"),
            (EtcdError::STORAGE_FAILED, 500, "INTERNAL"),
        ];
        for (etcd, http, name) in expected {
            let code = from_etcd(etcd.clone()).code();
            assert_eq!((code.http, code.name), (http, name), "{etcd}");
        }
    }

    #[test]
    fn no_refusal_shows_etcds_prefix() {
        for etcd in EtcdError::ALL {
            let error = from_etcd(etcd.clone());
            assert!(!error.message().contains("etcdserver"), "{error}");
            assert!(!error.message().is_empty(), "{etcd}");
        }
    }
}
