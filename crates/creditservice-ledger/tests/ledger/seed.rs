//! Random tests with a seed that is printed and can be given.
//!
//! `PHOTON_SEED` repeats a run; `PHOTON_LONG` tries twenty times as many cases.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Runs a property over random values.
pub(crate) fn check<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S::Value: std::fmt::Debug,
{
    let seed = match std::env::var("PHOTON_SEED") {
        Ok(text) => text.parse().expect("PHOTON_SEED is a number"),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    eprintln!("{name}: PHOTON_SEED={seed}");
    let long = std::env::var_os("PHOTON_LONG").is_some();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config {
        cases: cases * if long { 20 } else { 1 },
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new_with_rng(config, rng).run(strategy, property);
    if let Err(error) = result {
        panic!("repeat with PHOTON_SEED={seed}\n{error}");
    }
}
