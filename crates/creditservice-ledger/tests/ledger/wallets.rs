//! Money in and out, settings, status, events.

use creditservice_ledger::*;

use super::{
    build::*,
    harness::{Ledger, transaction},
};

/// The guide's example, figure by figure.
#[test]
fn the_guides_flow() {
    let mut ledger = Ledger::new();
    ledger.done(create("proj-456", 10_000, Settings::default()));
    assert_eq!(ledger.figures("proj-456"), (10_000, 0, 10_000));
    ledger.reserved(reserve("proj-456", 2_500, 3_600));
    assert_eq!(ledger.figures("proj-456"), (10_000, 2_500, 7_500));
    ledger.done(top_up("proj-456", 5_000));
    let held = ledger.reserved(reserve("proj-456", 2_000, 3_600));
    ledger.done(commit(held, Some(1_800)));
    assert_eq!(ledger.figures("proj-456"), (13_200, 2_500, 10_700));
    let amounts: Vec<i64> = ledger.journal.iter().map(Entry::amount).collect();
    assert_eq!(amounts, [10_000, 0, 5_000, 0, -1_800]);
    assert_eq!(amounts.iter().sum::<i64>(), 13_200);
    let revenue: Account = "revenue:direct".parse().unwrap();
    assert_eq!(ledger.state.total(&revenue), 1_800);
}

#[test]
fn adjustments_go_both_ways() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    ledger.done(adjust("p", -100));
    ledger.done(adjust("p", 30));
    assert_eq!(ledger.figures("p"), (30, 0, 30));
    let correction: Account = "external:correction".parse().unwrap();
    assert_eq!(ledger.state.total(&correction), 70);
}

#[test]
fn refunds_of_a_charge_are_at_most_the_charge() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 1_000, Settings::default()));
    let charged = transaction(&ledger.done(charge("p", 700)));
    ledger.done(refund("p", charged, 700, 300));
    ledger.done(refund("p", charged, 700, 300));
    assert_eq!(ledger.figures("p"), (900, 0, 900));
    let refusal = ledger.refused(refund("p", charged, 700, 101));
    assert_eq!(refusal, Refusal::RefundExceedsCharge { refundable: 100 });
    ledger.done(refund("p", charged, 700, 100));
    assert_eq!(ledger.figures("p"), (1_000, 0, 1_000));
    let refusal = ledger.refused(refund("p", charged, 700, 1));
    assert_eq!(refusal, Refusal::RefundExceedsCharge { refundable: 0 });
    // Forgotten only when it cannot be refunded any more.
    ledger.wait(REFUNDABLE_SECONDS + 1);
    ledger.done(top_up("p", 1));
    let refusal = ledger.refused(refund("p", charged, 700, 1));
    assert_eq!(refusal.code(), "REFUND_TOO_LATE");
}

#[test]
fn the_overdraft_can_be_used_and_not_taken_away() {
    let mut ledger = Ledger::new();
    let overdraft = |minor| {
        let overdraft = Some(Charge::new(minor).unwrap());
        update(
            "p",
            WalletChanges {
                overdraft,
                ..WalletChanges::default()
            },
        )
    };
    ledger.done(create("p", 100, Settings::default()));
    ledger.done(overdraft(50));
    ledger.done(charge("p", 140));
    assert_eq!(ledger.figures("p"), (-40, 0, -40));
    let refusal = ledger.refused(reserve("p", 11, 60));
    let missing = Refusal::InsufficientCredit {
        required: 11,
        available: 10,
        missing: 1,
    };
    assert_eq!(refusal, missing);
    ledger.reserved(reserve("p", 10, 60));
    assert_eq!(
        ledger.refused(overdraft(49)),
        Refusal::OverdraftInUse { used: 50 }
    );
    ledger.done(top_up("p", 1));
    ledger.done(overdraft(49));
}

#[test]
fn a_closed_wallet_stays_closed() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(reserve("p", 10, 60));
    let close = || set_status("p", Status::Closed);
    assert_eq!(ledger.refused(close()).code(), "WALLET_HAS_RESERVATIONS");
    ledger.done(release(held));
    assert_eq!(ledger.refused(close()).code(), "WALLET_NOT_EMPTY");
    ledger.done(adjust("p", -100));
    ledger.done(close());
    for command in [
        set_status("p", Status::Active),
        close(),
        top_up("p", 1),
        charge("p", 1),
        reserve("p", 1, 60),
        adjust("p", 1),
        reserve_units("p", &[("vcpu", 1)], "vm-1"),
    ] {
        assert_eq!(ledger.refused(command).code(), "WALLET_CLOSED");
    }
    let again = ledger.refused(create("p", 1, Settings::default()));
    assert_eq!(again.code(), "WALLET_EXISTS");
}

#[test]
fn expired_holds_do_not_keep_a_wallet_open() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 0, Settings::default()));
    ledger.done(top_up("p", 10));
    ledger.reserved(reserve("p", 10, 60));
    ledger.wait(60);
    ledger.done(adjust("p", -10));
    ledger.done(set_status("p", Status::Closed));
    assert_eq!(ledger.figures("p"), (0, 0, 0));
}

#[test]
fn a_suspended_wallet_resolves_what_it_holds() {
    let mut ledger = Ledger::new();
    let settings = Settings {
        allow_overage: true,
        ..Settings::default()
    };
    ledger.done(create("p", 100, settings));
    let first = ledger.reserved(reserve("p", 10, 60));
    let second = ledger.reserved(reserve("p", 10, 60));
    ledger.done(set_status("p", Status::Suspended));
    for command in [
        reserve("p", 1, 60),
        charge("p", 1),
        extend(first, 600),
        commit(first, Some(11)),
    ] {
        assert_eq!(ledger.refused(command).code(), "WALLET_SUSPENDED");
    }
    ledger.done(commit(first, Some(9)));
    ledger.done(release(second));
    ledger.done(top_up("p", 9));
    assert_eq!(ledger.figures("p"), (100, 0, 100));
    ledger.done(set_status("p", Status::Active));
    ledger.done(charge("p", 1));
}

fn signals(applied: &Applied) -> Vec<Signal> {
    let (last, before) = applied.entries.split_last().unwrap();
    assert!(before.iter().all(|entry| entry.signals.is_empty()));
    last.signals.clone()
}

#[test]
fn events_are_raised_once_per_crossing() {
    let mut ledger = Ledger::new();
    let settings = Settings {
        low_balance: Thresholds::new(vec![0, 50]).unwrap(),
        ..Settings::default()
    };
    let low = |threshold, available| Signal::LowBalance {
        threshold,
        available,
    };
    let restored = |threshold, available| Signal::BalanceRestored {
        threshold,
        available,
    };
    let new = ledger.done(create("p", 100, settings));
    assert!(signals(&new).is_empty());
    assert!(signals(&ledger.done(charge("p", 49))).is_empty());
    let held = ledger.done(reserve("p", 1, 60));
    assert_eq!(signals(&held), [low(50, 50)]);
    assert!(signals(&ledger.done(charge("p", 1))).is_empty());
    assert_eq!(signals(&ledger.done(charge("p", 49))), [low(0, 0)]);
    let more = ledger.done(top_up("p", 100));
    assert_eq!(signals(&more), [restored(0, 100), restored(50, 100)]);
    // A hold that ends and one that begins in the same command: nothing was crossed.
    ledger.done(charge("p", 49));
    ledger.wait(60);
    let again = ledger.done(reserve("p", 2, 60));
    assert_eq!(again.entries.len(), 2);
    assert_eq!(signals(&again), [low(50, 50)]);
    // Expiry alone raises events, too.
    ledger.wait(60);
    let entries = ledger.state.expire_due(ledger.now(), 9).unwrap();
    assert_eq!(entries[0].signals, [restored(50, 52)]);
}

#[test]
fn a_wallet_that_begins_low_says_so() {
    let mut ledger = Ledger::new();
    let settings = Settings {
        low_balance: Thresholds::new(vec![50]).unwrap(),
        ..Settings::default()
    };
    let new = ledger.done(create("p", 0, settings));
    let low = Signal::LowBalance {
        threshold: 50,
        available: 0,
    };
    assert_eq!(signals(&new), [low]);
}

#[test]
fn balances_do_not_leave_their_range() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", MAX_MINOR, Settings::default()));
    for command in [top_up("p", 1), top_up("p", MAX_MINOR), adjust("p", 1)] {
        assert_eq!(ledger.refused(command), Refusal::BalanceOutOfRange);
    }
    // Held credit is still in the balance.
    ledger.reserved(reserve("p", MAX_MINOR, 60));
    assert_eq!(ledger.refused(top_up("p", 1)), Refusal::BalanceOutOfRange);
}

#[test]
fn what_is_set_already_changes_nothing() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 5, metered()));
    let same = ledger.done(set_status("p", Status::Active));
    assert!(same.entries.is_empty());
    assert!(matches!(same.answer, Answer::Wallet { figures, .. } if figures.balance == 5));
}

#[test]
fn entries_say_who_and_why() {
    let mut ledger = Ledger::new();
    let by = Some(Actor::new("user:alice").unwrap());
    let command = create("p", 5, metered());
    let request = Request {
        by: by.clone(),
        ..Request::from(command)
    };
    assert_eq!(ledger.done(request).entries[0].by, by);
    let entries = ledger.done(adjust("p", 5)).entries;
    let description = entries[0].description.as_ref().unwrap();
    assert_eq!(description.as_str(), "put right");
}
