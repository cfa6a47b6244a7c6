//! One key, one effect, one answer.

use creditservice_ledger::*;

use super::{build::*, harness::Ledger};

fn keyed(command: Command, digest: u8, fingerprint: u8) -> Request {
    Request {
        key: Some(key(digest, fingerprint)),
        ..command.into()
    }
}

#[test]
fn the_first_answer_is_given_again() {
    let mut ledger = Ledger::new();
    let commands = [
        keyed(create("p", 1_000, metered()), 1, 1),
        keyed(top_up("p", 10), 2, 2),
        keyed(reserve("p", 10, 60), 3, 3),
        keyed(charge("p", 10), 4, 4),
        keyed(set_status("p", Status::Suspended), 5, 5),
    ];
    let first: Vec<Applied> = commands
        .iter()
        .cloned()
        .map(|one| ledger.done(one))
        .collect();
    for (command, first) in commands.iter().zip(&first) {
        assert!(!first.replayed && !first.entries.is_empty());
        let again = ledger.done(command.clone());
        assert!(again.replayed && again.entries.is_empty());
        // Of then, not of now.
        assert_eq!(again.answer, first.answer);
    }
    assert_eq!(ledger.figures("p"), (1_000, 10, 990));
}

#[test]
fn another_request_under_the_same_key_is_refused() {
    let mut ledger = Ledger::new();
    ledger.done(keyed(create("p", 100, metered()), 1, 1));
    ledger.done(keyed(charge("p", 10), 2, 2));
    assert_eq!(
        ledger.refused(keyed(charge("p", 11), 2, 3)),
        Refusal::KeyReused
    );
    ledger.done(keyed(charge("p", 11), 3, 3));
}

#[test]
fn a_refused_command_leaves_its_key_free() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 5, metered()));
    ledger.refused(keyed(charge("p", 10), 1, 1));
    ledger.done(top_up("p", 5));
    assert!(!ledger.done(keyed(charge("p", 10), 1, 1)).replayed);
    assert!(ledger.done(keyed(charge("p", 10), 1, 1)).replayed);
    assert_eq!(ledger.figures("p"), (0, 0, 0));
}

#[test]
fn a_command_of_several_entries_has_its_key_in_the_last() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, metered()));
    ledger.reserved(reserve("p", 100, 60));
    ledger.wait(60);
    let applied = ledger.done(keyed(charge("p", 100), 1, 1));
    let keys: Vec<bool> = applied
        .entries
        .iter()
        .map(|one| one.key.is_some())
        .collect();
    assert_eq!(keys, [false, true]);
}

#[test]
fn keys_are_remembered_for_a_day_and_not_for_ever() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, metered()));
    ledger.done(keyed(charge("p", 1), 1, 1));
    ledger.wait(24 * 3_600);
    assert!(ledger.done(keyed(charge("p", 1), 1, 1)).replayed);
    ledger.wait(3_601);
    assert!(!ledger.done(keyed(charge("p", 1), 1, 1)).replayed);
    assert_eq!(ledger.figures("p"), (98, 0, 98));
    assert_eq!(ledger.state.counts().2, 1);
    assert!(ledger.done(keyed(charge("p", 1), 1, 1)).replayed);
}

#[test]
fn with_too_many_keys_new_ones_wait_until_old_ones_are_forgotten() {
    let mut ledger = Ledger::with_bounds(Bounds {
        max_keys: 2,
        ..Bounds::default()
    });
    ledger.done(create("p", 100, metered()));
    ledger.done(keyed(charge("p", 1), 1, 1));
    ledger.done(keyed(charge("p", 1), 2, 2));
    assert_eq!(
        ledger.refused(keyed(charge("p", 1), 3, 3)),
        Refusal::TooManyKeys
    );
    assert!(ledger.done(keyed(charge("p", 1), 1, 1)).replayed);
    ledger.done(charge("p", 1));
    ledger.wait(26 * 3_600);
    ledger.done(keyed(charge("p", 1), 3, 3));
    assert_eq!(ledger.figures("p"), (96, 0, 96));
}
