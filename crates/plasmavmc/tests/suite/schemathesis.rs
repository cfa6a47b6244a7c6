//! Schemathesis over the OpenAPI document: `tests/proof/conformance.py`. In dev mode, so that requests get through; who may do
//! what is tried elsewhere.

use std::{path::Path, time::Duration};

use photon_testkit::{Seed, proof, seed};

use crate::{door::DoorHost, house::House};

/// The gate repeats the same requests every time; `PHOTON_SEED` makes others.
const SEED: u64 = 20_261_124;

/// Requests for an operation and phase, at most; and how long they may take.
fn effort() -> (u32, Duration) {
    match std::env::var_os("PHOTON_LONG") {
        Some(_) => (300, Duration::from_secs(3_000)),
        None => (8, Duration::from_secs(240)),
    }
}

fn seed() -> u64 {
    match std::env::var_os(seed::SEED) {
        Some(_) => Seed::for_test("schemathesis").0,
        None => SEED,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proof/conformance.py");
    let mut script = proof::script(env!("CARGO_BIN_EXE_plasmavmc"), &path)
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let house = House::dev().await;
    // With a real door: content of images and consoles are asked for there.
    let _host = DoorHost::start(&house, "host-1").await;
    let (examples, within) = effort();
    script
        .env("PLASMAVMC_URL", &house.operator.base)
        .env("PHOTON_SEED", seed().to_string())
        .env("EXAMPLES", examples.to_string())
        .env("REPORTS", dir.path());
    proof::run(&mut script, within).await.unwrap();
    house.stop().await;
}
