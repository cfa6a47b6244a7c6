//! Schemathesis over the OpenAPI document in enforce mode: `tests/proof/conformance.py`.
//!
//! With the credential of somebody who may do everything, so that requests get through; and with none.

use std::time::Duration;

use photon_pki::Authority;
use photon_testkit::{Seed, proof::run, seed};

use crate::proof::{house_of, script};

/// The gate repeats the same requests every time; `PHOTON_SEED` makes others.
const SEED: u64 = 20_261_122;

/// Requests for an operation and phase, at most.
fn examples() -> u32 {
    match std::env::var_os("PHOTON_LONG") {
        Some(_) => 300,
        None => 8,
    }
}

fn within() -> Duration {
    match std::env::var_os("PHOTON_LONG") {
        Some(_) => Duration::from_secs(3_000),
        None => Duration::from_secs(150),
    }
}

fn seed() -> u64 {
    match std::env::var_os(seed::SEED) {
        Some(_) => Seed::for_test("schemathesis").0,
        None => SEED,
    }
}

async fn conforms(with_credential: bool) {
    let mut script = script("conformance.py").await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca");
    let authority = Authority::create("test root").unwrap();
    authority.save(&ca).unwrap();
    let house = house_of(|config| {
        // With an authority, so that certificates are no matter of configuration alone.
        config.pki.ca_dir = Some(ca);
        // Thousands of wrong credentials from one address: what is tried here is not the brake.
        let guessing = &mut config.guessing;
        guessing.per_principal_burst = 1_000_000;
        guessing.per_principal_per_minute = 1_000_000;
        guessing.per_address_burst = 1_000_000;
        guessing.per_address_per_minute = 1_000_000;
    })
    .await;
    script
        .env("IAM_URL", &house.rest)
        .env("IAM_ADMIN_TOKEN", house.admin().await)
        .env(
            "WITH_CREDENTIAL",
            if with_credential { "yes" } else { "no" },
        )
        .env("PHOTON_SEED", seed().to_string())
        .env("EXAMPLES", examples().to_string())
        .env("REPORTS", dir.path());
    run(&mut script, within()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_as_an_admin() {
    conforms(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_nothing_without_a_credential() {
    conforms(false).await;
}
