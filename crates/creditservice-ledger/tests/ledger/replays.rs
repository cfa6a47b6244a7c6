//! Entries that do not follow are refused: a journal that was altered or cut is noticed.

use creditservice_ledger::*;

use super::{build::*, harness::Ledger};

fn journal() -> Vec<Entry> {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(reserve("p", 10, 60));
    ledger.wait(1);
    ledger.done(commit(held, None));
    ledger.done(top_up("p", 10));
    ledger.journal
}

fn replay(journal: &[Entry]) -> Result<State, ReplayError> {
    let mut state = State::new(Shard::new(7).unwrap());
    for entry in journal {
        state.replay(entry)?;
    }
    Ok(state)
}

#[test]
fn entries_that_are_missing_or_come_twice() {
    let journal = journal();
    replay(&journal).unwrap();
    let mut missing = journal.clone();
    missing.remove(1);
    let found = ReplayError::Sequence {
        found: 3,
        expected: 2,
    };
    assert_eq!(replay(&missing).unwrap_err(), found);
    let mut twice = journal.clone();
    twice.insert(1, journal[0].clone());
    assert!(matches!(replay(&twice), Err(ReplayError::Sequence { .. })));
}

#[test]
fn entries_that_were_altered() {
    let altered = |change: fn(&mut Vec<Entry>)| {
        let mut journal = journal();
        change(&mut journal);
        replay(&journal).unwrap_err()
    };
    let older = altered(|journal| journal[3].at = NOON_BEFORE);
    assert_eq!(older, ReplayError::Time { seq: 4 });
    let unbalanced = altered(|journal| journal[3].postings[0].1 += 1);
    assert_eq!(unbalanced, ReplayError::Unbalanced { seq: 4 });
    let more_than_there_is = altered(|journal| {
        for posting in &mut journal[1].postings {
            posting.1 *= 11;
        }
    });
    assert!(matches!(
        more_than_there_is,
        ReplayError::Impossible { seq: 2, .. }
    ));
    let of_another = altered(|journal| journal[2].project = Some(name("q")));
    assert!(matches!(of_another, ReplayError::Impossible { seq: 3, .. }));
    let of_nobody = altered(|journal| journal[3].project = None);
    assert!(matches!(of_nobody, ReplayError::Impossible { seq: 4, .. }));
    let second_wallet = altered(|journal| {
        let again = journal[0].what.clone();
        journal[3].what = again;
    });
    assert!(matches!(
        second_wallet,
        ReplayError::Impossible { seq: 4, .. }
    ));
}

const NOON_BEFORE: Time = Time::START;
