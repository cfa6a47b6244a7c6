//! Many wallets and entries: the state grows with wallets, not with history, and a snapshot has all of it.
//!
//! Prints what it took. `PHOTON_LONG` takes a million wallets and ten million entries.

use std::time::Instant;

use creditservice_ledger::*;

use super::{
    build::*,
    harness::{reservation, restored},
};

#[test]
fn the_state_grows_with_wallets_and_not_with_history() {
    let long = std::env::var_os("PHOTON_LONG").is_some();
    let (wallets, rounds) = if long { (1_000_000, 3) } else { (2_000, 3) };
    let bounds = Bounds {
        max_resolved: 1_000,
        ..Bounds::default()
    };
    let mut state = State::with_bounds(Shard::new(0).unwrap(), bounds);
    let project = |n: i64| format!("project-{n:07}");
    let mut now = Time::from_seconds(NOON);
    let begun = Instant::now();
    for n in 0..wallets {
        let request = create(&project(n), 1_000, Settings::default()).into();
        state.apply(&request, now).unwrap();
    }
    let mut sizes = Vec::new();
    for _ in 0..rounds {
        now = now.plus_seconds(60);
        for n in 0..wallets {
            let held = state
                .apply(&reserve(&project(n), 10, 60).into(), now)
                .unwrap();
            let held = reservation(&held.answer).id;
            state.apply(&commit(held, Some(7)).into(), now).unwrap();
            state.apply(&top_up(&project(n), 7).into(), now).unwrap();
        }
        sizes.push(
            snapshot::encode(&state, 1 << 19)
                .map(|chunk| chunk.len())
                .sum::<usize>(),
        );
    }
    let entries = state.seq();
    eprintln!(
        "{entries} entries in {:?}, {} bytes of snapshot",
        begun.elapsed(),
        sizes[0]
    );
    assert_eq!(entries, u64::try_from(wallets * (1 + 3 * rounds)).unwrap());
    // A few digits more, in sequence numbers and sums.
    assert!(sizes[2].abs_diff(sizes[0]) < 10_000, "{sizes:?}");
    // What holds up the owner when a snapshot begins.
    let begun = Instant::now();
    let copy = state.clone();
    eprintln!("copied in {:?}", begun.elapsed());
    drop(copy);
    let begun = Instant::now();
    let read = restored(&state, 1 << 19, bounds);
    eprintln!("written and read in {:?}", begun.elapsed());
    assert_eq!(
        read.wallets(None).count(),
        usize::try_from(wallets).unwrap()
    );
    assert_eq!(read.wallets(Some(&name(&project(wallets - 2)))).count(), 1);
    state.check().unwrap();
}
