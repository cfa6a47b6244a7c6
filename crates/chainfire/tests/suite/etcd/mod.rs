//! etcd v3 over a node in this process: through the `etcd-client` crate, the generated stubs, and `etcdctl`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod auth;
mod etcdctl;
mod http;
mod kv;
mod lease;
mod lifecycle;
mod maintenance;
mod node;
mod watch;

use std::time::Duration;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The gRPC code and text a call was refused with.
fn refused<T: std::fmt::Debug>(outcome: Result<T, etcd_client::Error>) -> (tonic::Code, String) {
    match outcome {
        Err(etcd_client::Error::GRpcStatus(status)) => (status.code(), status.message().to_owned()),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// Fails a test that waits for something that does not come.
async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {PATIENCE:?}: {what}"),
    }
}
