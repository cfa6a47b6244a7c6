//! The suite's errors as gRPC statuses, and the hint where the leader is.

use photon_core::{Code, Error};
use tonic::{
    Response, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
};

use crate::app::App;

/// The suite's error code beside the coarser gRPC one.
const ERROR_CODE: &str = "photon-error-code";
/// What a program may read about an error, as JSON.
const ERROR_DETAILS: &str = "photon-error-details";
/// Where the leader serves clients.
const LEADER: &str = "photon-leader";

/// The status for an error.
pub(super) fn status(error: &Error) -> Status {
    if error.code() == Code::INTERNAL {
        tracing::error!(%error, causes = error.causes(), "a native request failed");
    }
    let mut status = Status::new(tonic::Code::from_i32(error.code().grpc), error.message());
    put(status.metadata_mut(), ERROR_CODE, error.code().name);
    if let Some(details) = error.details() {
        put(status.metadata_mut(), ERROR_DETAILS, &details.to_string());
    }
    status
}

/// An answer or a refusal on its way out, with the leader's address when this member does not lead.
pub(super) fn answer<T>(app: &App, outcome: Result<T, Error>) -> Result<Response<T>, Status> {
    let leader = leader_address(app);
    let hint = |metadata: &mut MetadataMap| {
        if let Some(address) = &leader {
            put(metadata, LEADER, address);
        }
    };
    match outcome {
        Ok(message) => {
            let mut response = Response::new(message);
            hint(response.metadata_mut());
            Ok(response)
        }
        Err(error) => {
            let mut status = status(&error);
            hint(status.metadata_mut());
            Err(status)
        }
    }
}

/// Where the leader serves clients, unless that is here or nobody knows.
fn leader_address(app: &App) -> Option<String> {
    let watch = app.raft_watch();
    let raft = watch.borrow();
    let leader = raft.leader.filter(|leader| *leader != raft.node_id)?;
    let member = raft
        .members
        .iter()
        .find(|member| member.node_id == leader)?;
    member.client_addresses.first().cloned()
}

/// Text that is not ASCII (an error's details quote what the caller sent) stays out of the metadata.
fn put(metadata: &mut MetadataMap, key: &'static str, text: &str) {
    if let Ok(value) = AsciiMetadataValue::try_from(text) {
        metadata.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_status_says_the_suites_code_and_details() {
        let status = status(&Error::required("key"));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(
            status.metadata().get(ERROR_CODE).unwrap(),
            "VALIDATION_ERROR"
        );
        assert!(
            status
                .metadata()
                .get(ERROR_DETAILS)
                .unwrap()
                .to_str()
                .unwrap()
                .contains("\"key\"")
        );
    }

    #[test]
    fn every_code_is_a_grpc_code() {
        for code in Code::ALL {
            let status = status(&Error::new(*code, "x"));
            assert_eq!(status.code() as i32, code.grpc, "{code}");
        }
    }
}
