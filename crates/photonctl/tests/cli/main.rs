//! The real `photonctl` against services in this process. One binary, because each links RocksDB.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod credit;
mod enforce;
mod iam;
mod pki;
mod store;

use std::{process::Output, time::Duration};

use serde_json::Value;
use tokio::process::Command;

/// Runs photonctl.
async fn photonctl(arguments: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_photonctl"))
        .args(arguments)
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .unwrap()
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
