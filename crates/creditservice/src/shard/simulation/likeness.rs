//! Whether the simulated store answers as a real one: the same random requests to both.

use std::collections::BTreeMap;

use photon_store::{Error, Options, Scan, Scanned, Store};
use photon_testkit::{Seed, in_process_chainfire};
use rand::{Rng as _, rngs::StdRng, seq::IteratorRandom as _};

use super::disk::Disk;
use crate::shard::raw::{Changes, RawStore as _};

const BELOW: &str = "/photon/creditservice/likeness/";
const STEPS: usize = 600;

/// The revisions at which a key was written, in the real store and in the simulated one.
type Revisions = BTreeMap<String, Vec<[i64; 2]>>;

fn some_key(dice: &mut StdRng) -> String {
    // One is the beginning of another, and one is behind the prefix.
    let names = ["a", "ab", "b", "c/d", "c/e", "z"];
    format!("{BELOW}{}", names.iter().choose(dice).unwrap())
}

/// The same changes for both, each with its own revisions.
fn some_changes(dice: &mut StdRng, revisions: &Revisions) -> ([Changes; 2], Vec<String>) {
    let mut both = [Changes::default(), Changes::default()];
    let mut written = Vec::new();
    for _ in 0..dice.random_range(0..3) {
        let key = some_key(dice);
        let known = revisions.get(&key).and_then(|all| {
            let lately = all.iter().rev().take(2);
            lately.choose(dice)
        });
        match known {
            Some(known) if dice.random_bool(0.8) => {
                for (changes, revision) in both.iter_mut().zip(known) {
                    changes.at_revision(key.clone(), *revision);
                }
            }
            _ => both.iter_mut().for_each(|changes| {
                changes.absent(key.clone());
            }),
        }
    }
    // The store takes a key once in a transaction.
    for _ in 0..dice.random_range(1..4) {
        let key = some_key(dice);
        if written.contains(&key) {
            continue;
        }
        let value: Option<[u8; 4]> = dice.random_bool(0.7).then(|| dice.random());
        for changes in &mut both {
            match value {
                Some(value) => changes.put(key.clone(), value.to_vec()),
                None => changes.delete(key.clone()),
            };
        }
        written.push(key);
    }
    (both, written)
}

fn some_scan(dice: &mut StdRng) -> Scan {
    Scan {
        from: dice.random_bool(0.4).then(|| some_key(dice)),
        before: dice.random_bool(0.4).then(|| some_key(dice)),
        descending: dice.random(),
        ..Scan::below(BELOW, dice.random_range(1..8))
    }
}

fn shown(scanned: &Scanned) -> (Vec<(&str, &[u8])>, bool) {
    let entries = scanned.entries.iter();
    let entries = entries.map(|entry| (entry.key.as_str(), &entry.value[..]));
    (entries.collect(), scanned.more)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_store_answers_as_a_real_one() {
    let mut dice = Seed::for_test("the_simulated_store_answers_as_a_real_one").rng(0);
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let real = Store::connect(Options::new([chainfire.endpoint()]))
        .await
        .unwrap();
    let mut simulated = Disk::default();
    let mut revisions = Revisions::new();
    let mut refused = 0;
    for step in 0..STEPS {
        let ([to_real, to_simulated], written) = some_changes(&mut dice, &revisions);
        let said = (real.commit(to_real).await, simulated.commit(&to_simulated));
        match said {
            (Ok(one), Ok(other)) => {
                for key in written {
                    revisions.entry(key).or_default().push([one, other]);
                }
            }
            (Err(one), Err(other)) => {
                refused += 1;
                assert_eq!(one.to_string(), other.to_string(), "step {step}");
                assert!(!matches!(one, Error::Unknown { .. }), "{one}");
            }
            (one, other) => panic!("step {step}: {one:?}, simulated {other:?}"),
        }
        let scan = some_scan(&mut dice);
        let (one, other) = (real.range(&scan).await.unwrap(), simulated.range(&scan));
        assert_eq!(shown(&one), shown(&other), "step {step}: {scan:?}");
        let key = some_key(&mut dice);
        let (one, other) = (real.read(&key).await.unwrap(), simulated.read(&key));
        let value = |entry: Option<photon_store::Entry>| entry.map(|entry| entry.value);
        assert_eq!(value(one), value(other), "step {step}: {key}");
    }
    assert!(refused > STEPS / 20 && refused < STEPS, "{refused}");
    chainfire.stop().await;
}
