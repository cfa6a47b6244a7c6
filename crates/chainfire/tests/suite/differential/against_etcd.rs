//! ChainFire against Debian's etcd.

use std::time::Instant;

use photon_testkit::{EtcdProcess, Seed, in_process_chainfire};

use super::allowed::{ALLOWED, LAGGING, WATCH_ALLOWED};
use super::compare::Tally;
use super::generate;
use super::server::Server;
use super::shrink;

/// Sequences in the gate and in the long run.
const SEQUENCES: u64 = 300;
const SEQUENCES_LONG: u64 = 5000;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

fn sequences() -> std::ops::Range<u64> {
    if let Some(only) = from_environment("PHOTON_SEQUENCE") {
        return only..only + 1;
    }
    let long = std::env::var_os("PHOTON_LONG").is_some();
    0..from_environment("PHOTON_SEQUENCES").unwrap_or(if long { SEQUENCES_LONG } else { SEQUENCES })
}

#[tokio::test(flavor = "multi_thread")]
async fn chainfire_answers_as_etcd_does() {
    // The gate judges a change and not the dice: it repeats one seed, `long` rolls new ones.
    let rolls = ["PHOTON_LONG", "PHOTON_SEED"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some());
    let seed = if rolls {
        Seed::for_test("chainfire_answers_as_etcd_does")
    } else {
        Seed(12_854_637_144_700_067_458)
    };
    let etcd = EtcdProcess::start_with(&["--log-level=error"])
        .await
        .unwrap();
    let chainfire = in_process_chainfire().await.unwrap();
    let oracle = Server::connect("etcd", etcd.endpoint()).await.unwrap();
    let ours = Server::connect("ChainFire", &chainfire.endpoint())
        .await
        .unwrap();

    let started = Instant::now();
    let mut tally = Tally::new();
    let mut operations = 0;
    for number in sequences() {
        let ops = generate::sequence(&mut seed.rng(number));
        operations += ops.len();
        let found = shrink::differs(&oracle, &ours, &ops, &mut tally)
            .await
            .unwrap();
        if let Some(found) = found {
            let shortest = shrink::shrink(&oracle, &ours, &ops).await.unwrap();
            let again = shrink::differs(&oracle, &ours, &shortest, &mut Tally::new()).await;
            panic!(
                "ChainFire and etcd differ. Repeat with PHOTON_SEED={} PHOTON_SEQUENCE={number}\n{found}\n\n\
                 shortest sequence that differs ({} of {} operations):\n{}\n{:?}",
                seed.0,
                shortest.len(),
                ops.len(),
                shortest
                    .iter()
                    .map(|op| format!("  {op:?}\n"))
                    .collect::<String>(),
                again
            );
        }
    }

    eprintln!("{operations} operations in {:?}", started.elapsed());
    let answers = ALLOWED.iter().map(|entry| (entry.name, entry.reason));
    let watches = WATCH_ALLOWED.iter().map(|entry| (entry.name, entry.reason));
    for (name, reason) in answers.chain(watches).chain([LAGGING]) {
        let count = tally.get(name).copied().unwrap_or(0);
        eprintln!("allowed {count} times: {name} ({reason})");
    }
}
