//! The real `photonctl` against services in this process. One binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod agent;
mod compute;
mod credit;
mod enforce;
mod iam;
mod lossy;
mod network;
mod pki;
mod scripted;
mod shell;
mod store;
mod vm;

use std::{process::Output, time::Duration};

use photon_testkit::poll::eventually;
use serde_json::Value;
use tokio::process::Command;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs photonctl.
async fn photonctl(arguments: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_photonctl"))
        .args(arguments)
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
}

/// The processes of a service, once there are any.
async fn listed(endpoint: &str, service: &str) -> Value {
    let line = ["services", service, "-o", "json", "--endpoints", endpoint];
    eventually("it is listed", PATIENCE, || async {
        let listed = json(&photonctl(&line).await);
        let is_there = listed["items"]
            .as_array()
            .is_some_and(|all| !all.is_empty());
        is_there.then_some(listed)
    })
    .await
    .unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&text(output)).unwrap()
}
