//! Rating, usage, and the step from period to period.

use creditservice_ledger::*;

use super::{
    build::*,
    harness::{Ledger, charged, reservation},
};

/// Half a yen a second.
const HALF: u64 = 500_000_000;

/// At noon, with a price for `vm` since an hour.
fn ledger(initial: i64) -> Ledger {
    let mut ledger = Ledger::new();
    ledger.done(price("vm", NOON - 3_600, HALF));
    ledger.done(create("p", initial, metered()));
    ledger
}

fn lines(applied: &Applied) -> &[Line] {
    match &applied.entries.last().unwrap().what {
        What::Used { lines } | What::Settled { lines, .. } => lines,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_remainder_is_carried() {
    let mut ledger = ledger(100);
    let mut sum = 0;
    for second in 0..5 {
        let used = usage("vm-1", "vm", NOON - 10 + second, NOON - 9 + second, 1);
        sum += charged(&ledger.done(record("p", vec![used]))).0;
    }
    assert_eq!(sum, 2);
    assert_eq!(ledger.figures("p"), (98, 0, 98));
    // Another resource of the SKU adds to the same remainder, in one step with others.
    let both = vec![
        usage("vm-2", "vm", NOON - 10, NOON - 9, 1),
        usage("vm-3", "vm", NOON - 10, NOON - 9, 1),
    ];
    let applied = ledger.done(record("p", both));
    let posted: Vec<i64> = lines(&applied).iter().map(|line| line.posted).collect();
    assert_eq!(posted, [1, 0]);
    let revenue: Account = "revenue:vm".parse().unwrap();
    assert_eq!(ledger.state.total(&revenue), 3);
}

#[test]
fn counted_once_in_any_order() {
    let mut ledger = ledger(1_000);
    let minute = |from: i64| usage("vm-1", "vm", NOON - from, NOON - from + 60, 2);
    assert_eq!(
        charged(&ledger.done(record("p", vec![minute(60)]))),
        (60, true)
    );
    let again = ledger.done(record("p", vec![minute(60)]));
    assert_eq!((charged(&again), again.entries.len()), ((0, true), 0));
    // A late one, and one that was counted, together.
    let late = ledger.done(record("p", vec![minute(180), minute(60), minute(180)]));
    assert_eq!((charged(&late), lines(&late).len()), ((60, true), 1));
    // What lies between; then all of it is known as one.
    ledger.done(record("p", vec![minute(120)]));
    let all = ledger.done(record("p", vec![usage("vm-1", "vm", NOON - 180, NOON, 2)]));
    assert!(all.entries.is_empty());
    let refusal = ledger.refused(record("p", vec![usage("vm-1", "vm", NOON - 200, NOON, 2)]));
    assert_eq!(refusal.code(), "USAGE_OVERLAPS");
    assert_eq!(ledger.figures("p"), (820, 0, 820));
}

#[test]
fn usage_after_its_month_is_an_adjustment() {
    let mut ledger = ledger(1_000);
    let november = usage("vm-1", "vm", NOON - 60, NOON, 1);
    ledger.wait(14 * 86_400);
    let applied = ledger.done(record("p", vec![november]));
    assert!(lines(&applied)[0].adjustment);
    let now = ledger.seconds();
    let december = ledger.done(record("p", vec![usage("vm-1", "vm", now - 60, now, 1)]));
    assert!(!lines(&december)[0].adjustment);
}

#[test]
fn usage_that_is_too_old_or_not_yet() {
    let mut ledger = ledger(1_000);
    let now = ledger.seconds();
    let ahead = usage("vm-1", "vm", now, now + USAGE_AHEAD_SECONDS + 1, 1);
    assert_eq!(
        ledger.refused(record("p", vec![ahead])).code(),
        "VALIDATION_ERROR"
    );
    ledger.done(record(
        "p",
        vec![usage("vm-1", "vm", now, now + USAGE_AHEAD_SECONDS, 1)],
    ));
    ledger.wait(USAGE_SECONDS + USAGE_AHEAD_SECONDS);
    let now = ledger.seconds();
    let oldest = now - USAGE_SECONDS;
    let old = usage("vm-1", "vm", oldest - 1, oldest + 1, 1);
    assert_eq!(
        ledger.refused(record("p", vec![old])),
        Refusal::UsageTooOld { oldest }
    );
    ledger.done(record(
        "p",
        vec![usage("vm-1", "vm", oldest, oldest + 1, 1)],
    ));
    // Meters that could only count what is too old are forgotten.
    ledger.wait(USAGE_SECONDS + 60);
    ledger.done(top_up("p", 1));
    let text = super::harness::text(&ledger.state);
    assert!(!text.contains("\"meter\""), "{text}");
}

#[test]
fn gaps_are_bounded() {
    let mut ledger = ledger(10_000);
    for n in 0..65 {
        let at = NOON - 1_000 + n * 2;
        ledger.done(record("p", vec![usage("vm-1", "vm", at, at + 1, 1)]));
    }
    let more = usage("vm-1", "vm", NOON - 1, NOON, 1);
    assert_eq!(
        ledger.refused(record("p", vec![more])).code(),
        "USAGE_TOO_SCATTERED"
    );
    // What closes a gap is welcome.
    ledger.done(record(
        "p",
        vec![usage("vm-1", "vm", NOON - 999, NOON - 998, 1)],
    ));
}

#[test]
fn what_cannot_be_paid_is_owed_and_paid_first() {
    let mut ledger = ledger(10);
    let minute = |n: i64| usage("vm-1", "vm", NOON - 600 + n * 60, NOON - 540 + n * 60, 1);
    // 30 yen, of which 10 are there.
    assert_eq!(
        charged(&ledger.done(record("p", vec![minute(0)]))),
        (10, true)
    );
    assert_eq!((ledger.figures("p"), ledger.owed("p")), ((0, 0, 0), 20));
    ledger.done(price("disk", NOON - 3_600, HALF));
    ledger.done(record(
        "p",
        vec![usage("disk-1", "disk", NOON - 60, NOON, 1)],
    ));
    assert_eq!(ledger.owed("p"), 50);
    let closing = set_status("p", Status::Closed);
    assert_eq!(ledger.refused(closing).code(), "WALLET_NOT_EMPTY");
    // By SKU in order, as far as it goes.
    let applied = ledger.done(top_up("p", 35));
    let amounts: Vec<i64> = applied.entries.iter().map(Entry::amount).collect();
    assert_eq!(amounts, [35, -35]);
    assert_eq!((ledger.figures("p"), ledger.owed("p")), ((0, 0, 0), 15));
    let total = |account: &str| ledger.state.total(&account.parse().unwrap());
    assert_eq!((total("revenue:disk"), total("revenue:vm")), (30, 15));
    // The answer is about the deposit, not about what it paid.
    let deposit = applied.entries[0].id(ledger.state.shard());
    assert_eq!(super::harness::transaction(&applied), deposit);
    ledger.done(top_up("p", 100));
    assert_eq!((ledger.figures("p"), ledger.owed("p")), ((85, 0, 85), 0));
}

#[test]
fn a_period_is_settled_in_one_step() {
    let mut ledger = ledger(1_000);
    let start = ledger.done(settle(
        "p",
        None,
        vec![],
        Some(next(NOON, NOON + 60, "vm", 3)),
    ));
    let first = reservation(&start.answer).id;
    assert_eq!(ledger.figures("p"), (1_000, 90, 910));
    ledger.wait(60);
    let used = vec![usage("vm-1", "vm", NOON, NOON + 41, 3)];
    let step = settle(
        "p",
        Some(first),
        used,
        Some(next(NOON + 60, NOON + 120, "vm", 3)),
    );
    let applied = ledger.done(step);
    assert_eq!(applied.entries.len(), 1);
    assert_eq!(charged(&applied), (61, true));
    assert_eq!(ledger.figures("p"), (939, 90, 849));
    let status = ledger.status(first);
    assert!(matches!(
        status,
        Some(ReservationStatus::Committed { charged: 61, .. })
    ));
    let second = reservation(&applied.answer).id;
    let end = ledger.done(settle("p", Some(second), vec![], None));
    assert_eq!(charged(&end), (0, true));
    assert_eq!(ledger.figures("p"), (939, 0, 939));
    // Nothing to do is nothing done.
    assert!(
        ledger
            .done(settle("p", Some(second), vec![], None))
            .entries
            .is_empty()
    );
}

#[test]
fn a_hold_covers_what_is_charged_for_it() {
    // Rates and lengths of every fraction: what is carried never makes a period cost more than was held for it.
    for nanos in [1, 333_333_333, 500_000_000, 999_999_999, 1_000_000_000] {
        let mut ledger = Ledger::new();
        ledger.done(price("vm", NOON, nanos));
        ledger.done(create("p", 1_000_000, metered()));
        let mut held = None;
        for n in 0..20 {
            let (start, end) = (NOON + n * 7, NOON + n * 7 + 7);
            let before = ledger.figures("p").1;
            let used = match held {
                Some(_) => vec![usage("vm-1", "vm", start - 7, start, 1)],
                None => vec![],
            };
            let applied = ledger.done(settle("p", held, used, Some(next(start, end, "vm", 1))));
            assert!(charged(&applied).0 <= before, "{nanos} {n}");
            held = Some(reservation(&applied.answer).id);
            ledger.wait(7);
        }
    }
}

#[test]
fn a_next_hold_that_cannot_be_had_refuses_the_whole_step() {
    let mut ledger = ledger(100);
    let start = ledger.done(settle(
        "p",
        None,
        vec![],
        Some(next(NOON, NOON + 120, "vm", 1)),
    ));
    let first = reservation(&start.answer).id;
    ledger.wait(120);
    let used = || vec![usage("vm-1", "vm", NOON, NOON + 120, 1)];
    let step = settle(
        "p",
        Some(first),
        used(),
        Some(next(NOON + 120, NOON + 240, "vm", 1)),
    );
    let missing = Refusal::InsufficientCredit {
        required: 60,
        available: 40,
        missing: 20,
    };
    assert_eq!(ledger.refused(step), missing);
    assert_eq!(ledger.figures("p"), (100, 60, 40));
    ledger.done(settle("p", Some(first), used(), None));
    assert_eq!(ledger.figures("p"), (40, 0, 40));
}

#[test]
fn usage_is_charged_also_when_its_hold_has_ended() {
    let mut ledger = ledger(100);
    let start = ledger.done(settle(
        "p",
        None,
        vec![],
        Some(next(NOON, NOON + 60, "vm", 1)),
    ));
    let first = reservation(&start.answer).id;
    ledger.wait(1_000);
    let used = vec![usage("vm-1", "vm", NOON, NOON + 60, 1)];
    let applied = ledger.done(settle("p", Some(first), used, None));
    assert_eq!(applied.entries.len(), 2, "the expiry, and the usage");
    assert_eq!(charged(&applied), (30, true));
    assert_eq!(ledger.figures("p"), (70, 0, 70));
    // Of another project it is not even there.
    ledger.done(create("q", 100, metered()));
    let other = ledger.reserved(reserve("q", 10, 60));
    let refusal = ledger.refused(settle("p", Some(other), vec![], None));
    assert_eq!(refusal, Refusal::ReservationNotFound);
}

#[test]
fn settling_puts_the_units_of_a_hold_to_use() {
    let mut ledger = ledger(100);
    ledger.done(register("vcpu", Some(4)));
    let held = ledger.reserved(Command::Reserve(Reserve {
        project: name("p"),
        hold: Some(Hold::Priced(next(NOON, NOON + 60, "vm", 1).forecast)),
        units: units(&[("vcpu", 4)]),
        ttl: ttl(600),
        payer: Payer::Service(Billing::Required),
        resource: vm("vm-1"),
        description: None,
    }));
    assert_eq!(ledger.figures("p"), (100, 30, 70));
    ledger.done(settle(
        "p",
        Some(held),
        vec![],
        Some(next(NOON, NOON + 60, "vm", 1)),
    ));
    assert_eq!(
        (ledger.units("p", "vcpu"), ledger.figures("p")),
        ((4, 0), (100, 30, 70))
    );
    ledger.done(free("p", "vm-1", None));
}

#[test]
fn who_is_not_billed_pays_nothing_and_keeps_quotas() {
    let mut ledger = ledger(100);
    ledger.done(create("manual", 100, Settings::default()));
    ledger.done(register("vcpu", Some(4)));
    for project in ["manual", "none"] {
        let used = || vec![usage("vm-1", "vm", NOON - 60, NOON, 1)];
        let recorded = ledger.done(record(project, used()));
        assert_eq!(
            (charged(&recorded), recorded.entries.len()),
            ((0, false), 0)
        );
        let held = ledger.reserved(reserve_units(project, &[("vcpu", 2)], "vm-1"));
        let step = settle(
            project,
            Some(held),
            used(),
            Some(next(NOON, NOON + 60, "vm", 1)),
        );
        let applied = ledger.done(step);
        assert_eq!(charged(&applied), (0, false));
        assert_eq!(reservation(&applied.answer).amount, 0);
        assert_eq!(ledger.units(project, "vcpu"), (2, 0));
    }
    assert_eq!(ledger.figures("manual"), (100, 0, 100));
    let required = Command::RecordUsage(RecordUsage {
        project: name("none"),
        billing: Billing::Required,
        usage: vec![],
    });
    assert_eq!(ledger.refused(required).code(), "WALLET_NOT_FOUND");
}

#[test]
fn usage_of_a_suspended_wallet_is_charged_and_nothing_new_is_held() {
    let mut ledger = ledger(100);
    ledger.done(set_status("p", Status::Suspended));
    let used = || vec![usage("vm-1", "vm", NOON - 60, NOON, 1)];
    let step = settle("p", None, used(), Some(next(NOON, NOON + 60, "vm", 1)));
    assert_eq!(ledger.refused(step).code(), "WALLET_SUSPENDED");
    ledger.done(settle("p", None, used(), None));
    assert_eq!(ledger.figures("p"), (70, 0, 70));
}

#[test]
fn a_new_price_counts_from_its_second_on() {
    let mut ledger = ledger(1_000);
    ledger.done(price("vm", NOON - 30, 2 * HALF));
    let applied = ledger.done(record("p", vec![usage("vm-1", "vm", NOON - 60, NOON, 1)]));
    assert_eq!(charged(&applied), (15 + 30, true));
    assert!(
        ledger
            .done(price("vm", NOON - 30, 2 * HALF))
            .entries
            .is_empty()
    );
    assert_eq!(
        ledger.refused(price("vm", NOON - 30, HALF)).code(),
        "PRICE_FIXED"
    );
    let unpriced = usage("vm-1", "vm", NOON - 3_601, NOON - 3_599, 1);
    let refusal = ledger.refused(record("p", vec![unpriced]));
    let missing = Refusal::PriceNotFound {
        sku: name("vm"),
        at: NOON - 3_601,
    };
    assert_eq!(refusal, missing);
}

#[test]
fn too_much_at_once_is_refused() {
    let mut ledger = ledger(1_000);
    let many: Vec<Usage> = (0..=256)
        .map(|n| usage(&format!("vm-{n}"), "vm", NOON - 1, NOON, 1))
        .collect();
    assert_eq!(
        ledger.refused(record("p", many.clone())).code(),
        "VALIDATION_ERROR"
    );
    ledger.done(record("p", many[1..].to_vec()));
}
