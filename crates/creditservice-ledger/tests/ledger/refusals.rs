//! Every refusal there is: a way to it, its code, and what it tells.

use std::collections::BTreeSet;

use creditservice_ledger::*;
use serde_json::{Value, json};

use super::{
    build::*,
    harness::{Ledger, transaction},
};

/// A way to a refusal: prepares the ledger, gives the command.
type Way = fn(&mut Ledger) -> Command;

/// All with `p` a metered wallet of 100, `vcpu` limited to 4, `vm` at a yen a second since an hour.
const WAYS: &[(&str, &str, Way)] = &[
    ("nothing to reserve", "VALIDATION_ERROR", |_| {
        reserve_nothing()
    }),
    ("a kind nobody knows", "VALIDATION_ERROR", |_| {
        reserve_units("p", &[("gpu", 1)], "vm-1")
    }),
    ("a limit of a kind nobody knows", "VALIDATION_ERROR", |_| {
        set_limit("p", "gpu", None)
    }),
    (
        "a recount of a kind nobody knows",
        "VALIDATION_ERROR",
        |_| recount("p", "vm-1", &[("gpu", 1)]),
    ),
    ("usage in the future", "VALIDATION_ERROR", |_| {
        used(NOON + 10_000, NOON + 10_001)
    }),
    ("a price after 9999", "VALIDATION_ERROR", |_| {
        price("vm", i64::MAX, 1)
    }),
    ("a price before 1970", "VALIDATION_ERROR", |_| {
        price("vm", -1, 1)
    }),
    ("a price of another basis", "VALIDATION_ERROR", |_| {
        publish("vm", NOON, Rate::new(1, 1, None).unwrap())
    }),
    ("a refund of nothing of ours", "VALIDATION_ERROR", |_| {
        refund("p", EntryId::generate(), 1, 1)
    }),
    (
        "a refund of what is yet to come",
        "VALIDATION_ERROR",
        |ledger| {
            let place = Place {
                at: ledger.now(),
                shard: ledger.state.shard(),
                seq: 99,
            };
            refund("p", place.id(), 1, 1)
        },
    ),
    (
        "a refund of another shard's",
        "VALIDATION_ERROR",
        |ledger| {
            let place = Place {
                at: ledger.now(),
                shard: Shard::new(8).unwrap(),
                seq: 1,
            };
            refund("p", place.id(), 1, 1)
        },
    ),
    ("no wallet to change", "WALLET_NOT_FOUND", |_| {
        set_status("q", Status::Suspended)
    }),
    ("no wallet to top up", "WALLET_NOT_FOUND", |_| {
        top_up("q", 1)
    }),
    ("no wallet to adjust", "WALLET_NOT_FOUND", |_| {
        adjust("q", 1)
    }),
    ("no wallet to charge", "WALLET_NOT_FOUND", |_| {
        charge("q", 1)
    }),
    ("no wallet to refund into", "WALLET_NOT_FOUND", |_| {
        refund("q", EntryId::generate(), 1, 1)
    }),
    ("no wallet to reserve from", "WALLET_NOT_FOUND", |_| {
        reserve("q", 1, 60)
    }),
    ("no wallet for usage", "WALLET_NOT_FOUND", |_| {
        billed_usage("q")
    }),
    ("no wallet to settle from", "WALLET_NOT_FOUND", |_| {
        billed_settle("q")
    }),
    ("a second wallet", "WALLET_EXISTS", |_| {
        create("p", 1, metered())
    }),
    (
        "a hold of a suspended wallet",
        "WALLET_SUSPENDED",
        |ledger| {
            ledger.done(set_status("p", Status::Suspended));
            reserve("p", 1, 60)
        },
    ),
    (
        "a charge of a suspended wallet",
        "WALLET_SUSPENDED",
        |ledger| {
            ledger.done(set_status("p", Status::Suspended));
            charge("p", 1)
        },
    ),
    ("usage of a closed wallet", "WALLET_CLOSED", |ledger| {
        ledger.done(adjust("p", -100));
        ledger.done(set_status("p", Status::Closed));
        used(NOON - 1, NOON)
    }),
    ("a step of a closed wallet", "WALLET_CLOSED", |ledger| {
        ledger.done(adjust("p", -100));
        ledger.done(set_status("p", Status::Closed));
        settle("p", None, vec![], None)
    }),
    ("closing with a hold", "WALLET_HAS_RESERVATIONS", |ledger| {
        ledger.reserved(reserve("p", 1, 60));
        set_status("p", Status::Closed)
    }),
    ("closing with credit", "WALLET_NOT_EMPTY", |_| {
        set_status("p", Status::Closed)
    }),
    ("closing with a debt", "WALLET_NOT_EMPTY", |ledger| {
        ledger.done(used(NOON - 101, NOON));
        set_status("p", Status::Closed)
    }),
    ("an overdraft that is used", "OVERDRAFT_IN_USE", |ledger| {
        let overdraft = |minor| WalletChanges {
            overdraft: Some(Charge::new(minor).unwrap()),
            ..WalletChanges::default()
        };
        ledger.done(update("p", overdraft(10)));
        ledger.done(charge("p", 105));
        update("p", overdraft(4))
    }),
    (
        "a hold of more than there is",
        "INSUFFICIENT_CREDIT",
        |_| reserve("p", 101, 60),
    ),
    (
        "a charge of more than there is",
        "INSUFFICIENT_CREDIT",
        |_| charge("p", MAX_MINOR),
    ),
    (
        "a correction of more than there is",
        "INSUFFICIENT_CREDIT",
        |_| adjust("p", -101),
    ),
    (
        "a next period of more than there is",
        "INSUFFICIENT_CREDIT",
        |_| settle("p", None, vec![], Some(next(NOON, NOON + 101, "vm", 1))),
    ),
    ("more than a balance can be", "BALANCE_OUT_OF_RANGE", |_| {
        top_up("p", MAX_MINOR)
    }),
    ("more units than can be", "BALANCE_OUT_OF_RANGE", |ledger| {
        ledger.done(register("disk_gib", None));
        ledger.reserved(reserve_units("p", &[("disk_gib", MAX_MINOR)], "vm-1"));
        reserve_units("p", &[("disk_gib", 1)], "vm-1")
    }),
    ("a cost beyond all", "BALANCE_OUT_OF_RANGE", |ledger| {
        let rate = Rate::new(MAX_MINOR.unsigned_abs(), 1, Some(1)).unwrap();
        ledger.done(publish("gold", NOON - 60, rate));
        let quantity = MAX_MINOR.unsigned_abs();
        record("p", vec![usage("vm-1", "gold", NOON - 1, NOON, quantity)])
    }),
    ("a forecast beyond all", "BALANCE_OUT_OF_RANGE", |ledger| {
        let rate = Rate::new(MAX_MINOR.unsigned_abs(), 1, Some(1)).unwrap();
        ledger.done(publish("gold", NOON, rate));
        let quantity = MAX_MINOR.unsigned_abs();
        settle(
            "p",
            None,
            vec![],
            Some(next(NOON, NOON + 60, "gold", quantity)),
        )
    }),
    ("committing what never was", "RESERVATION_NOT_FOUND", |_| {
        commit(ReservationId::generate(), None)
    }),
    ("releasing what never was", "RESERVATION_NOT_FOUND", |_| {
        release(ReservationId::generate())
    }),
    ("extending what never was", "RESERVATION_NOT_FOUND", |_| {
        extend(ReservationId::generate(), 60)
    }),
    (
        "a commit after a commit",
        "RESERVATION_COMMITTED",
        |ledger| {
            let held = ledger.reserved(reserve("p", 1, 60));
            ledger.done(commit(held, None));
            commit(held, None)
        },
    ),
    (
        "a commit after a release",
        "RESERVATION_RELEASED",
        |ledger| {
            let held = ledger.reserved(reserve("p", 1, 60));
            ledger.done(release(held));
            commit(held, None)
        },
    ),
    ("a commit after its time", "RESERVATION_EXPIRED", |ledger| {
        let held = ledger.reserved(reserve("p", 1, 60));
        ledger.wait(60);
        commit(held, None)
    }),
    (
        "a commit after its expiry",
        "RESERVATION_EXPIRED",
        |ledger| {
            let held = ledger.reserved(reserve("p", 1, 60));
            ledger.wait(60);
            ledger.expire(1);
            commit(held, None)
        },
    ),
    (
        "a commit of more than is held",
        "EXCEEDS_RESERVATION",
        |ledger| {
            let held = ledger.reserved(reserve("p", 1, 60));
            commit(held, Some(2))
        },
    ),
    (
        "a commit of more units than are held",
        "EXCEEDS_RESERVATION",
        |ledger| {
            let reservation = ledger.reserved(reserve_units("p", &[("vcpu", 1)], "vm-1"));
            Command::Commit(Commit {
                reservation,
                caller: None,
                actual: None,
                units: Some(units(&[("vcpu", 2)])),
                resource_id: None,
                description: None,
            })
        },
    ),
    ("too many open at once", "TOO_MANY_RESERVATIONS", |ledger| {
        for _ in 0..MAX_OPEN {
            ledger.reserved(reserve("p", 1, 60));
        }
        reserve("p", 1, 60)
    }),
    (
        "too many open at once, by steps",
        "TOO_MANY_RESERVATIONS",
        |ledger| {
            for _ in 0..MAX_OPEN {
                ledger.reserved(reserve("p", 1, 60));
            }
            settle("p", None, vec![], Some(next(NOON, NOON + 1, "vm", 1)))
        },
    ),
    ("more units than the limit", "QUOTA_EXCEEDED", |_| {
        reserve_units("p", &[("vcpu", 5)], "vm-1")
    }),
    ("freeing what is not used", "CLAIM_NOT_FOUND", |_| {
        free("p", "vm-1", None)
    }),
    ("freeing more than is used", "CLAIM_TOO_SMALL", |ledger| {
        ledger.done(recount("p", "vm-1", &[("vcpu", 1)]));
        free("p", "vm-1", Some(&[("vcpu", 2)]))
    }),
    (
        "a refund of more than was charged",
        "REFUND_EXCEEDS_CHARGE",
        |ledger| {
            let charged = transaction(&ledger.done(charge("p", 10)));
            refund("p", charged, 10, 11)
        },
    ),
    ("a refund after too long", "REFUND_TOO_LATE", |ledger| {
        let charged = transaction(&ledger.done(charge("p", 10)));
        ledger.wait(REFUNDABLE_SECONDS + 1);
        refund("p", charged, 10, 1)
    }),
    (
        "usage that was counted in part",
        "USAGE_OVERLAPS",
        |ledger| {
            ledger.done(used(NOON - 10, NOON - 5));
            used(NOON - 6, NOON - 4)
        },
    ),
    ("usage of long ago", "USAGE_TOO_OLD", |_| {
        used(NOON - USAGE_SECONDS - 1, NOON - USAGE_SECONDS)
    }),
    ("usage with too many gaps", "USAGE_TOO_SCATTERED", |_| {
        let one = |n: i64| usage("vm-1", "vm", NOON - 200 + 2 * n, NOON - 199 + 2 * n, 1);
        record("p", (0..66).map(one).collect())
    }),
    ("usage without a price", "PRICE_NOT_FOUND", |_| {
        record("p", vec![usage("vm-1", "gold", NOON - 1, NOON, 1)])
    }),
    ("a period without a price", "PRICE_NOT_FOUND", |_| {
        settle("p", None, vec![], Some(next(NOON, NOON + 1, "gold", 1)))
    }),
    ("another price for the same second", "PRICE_FIXED", |_| {
        price("vm", NOON - 3_600, 1)
    }),
];

const MAX_OPEN: usize = 3;

fn reserve_nothing() -> Command {
    let Command::Reserve(command) = reserve("p", 1, 60) else {
        unreachable!("as it was built");
    };
    Command::Reserve(Reserve {
        hold: None,
        ..command
    })
}

fn used(start: i64, end: i64) -> Command {
    record("p", vec![usage("vm-1", "vm", start, end, 1)])
}

fn billed_usage(project: &str) -> Command {
    Command::RecordUsage(RecordUsage {
        project: name(project),
        billing: Billing::Required,
        usage: vec![],
    })
}

fn billed_settle(project: &str) -> Command {
    let Command::Settle(command) = settle(project, None, vec![], None) else {
        unreachable!("as it was built");
    };
    Command::Settle(Settle {
        billing: Billing::Required,
        ..command
    })
}

fn prepared() -> Ledger {
    let mut ledger = Ledger::with_bounds(Bounds {
        max_open: MAX_OPEN,
        ..Bounds::default()
    });
    ledger.done(create("p", 100, metered()));
    ledger.done(register("vcpu", Some(4)));
    ledger.done(price("vm", NOON - 3_600, 1_000_000_000));
    ledger
}

#[test]
fn each_is_refused_by_its_code_and_changes_nothing() {
    for (what, code, way) in WAYS {
        let mut ledger = prepared();
        let command = way(&mut ledger);
        // The harness compares the state before and after.
        match ledger.run(command.clone()) {
            Ok(applied) => panic!("{what} was done: {applied:?}"),
            Err(refusal) => assert_eq!(refusal.code(), *code, "{what}: {refusal}"),
        }
        // And again: nothing of the first attempt is left.
        assert_eq!(ledger.refused(command).code(), *code, "{what}");
    }
}

#[test]
fn there_is_a_way_to_each_code() {
    let tried: BTreeSet<&str> = WAYS.iter().map(|(_, code, _)| *code).collect();
    let all = BTreeSet::from([
        "BALANCE_OUT_OF_RANGE",
        "CLAIM_NOT_FOUND",
        "CLAIM_TOO_SMALL",
        "EXCEEDS_RESERVATION",
        "INSUFFICIENT_CREDIT",
        "OVERDRAFT_IN_USE",
        "PRICE_FIXED",
        "PRICE_NOT_FOUND",
        "QUOTA_EXCEEDED",
        "REFUND_EXCEEDS_CHARGE",
        "REFUND_TOO_LATE",
        "RESERVATION_COMMITTED",
        "RESERVATION_EXPIRED",
        "RESERVATION_NOT_FOUND",
        "RESERVATION_RELEASED",
        "TOO_MANY_RESERVATIONS",
        "USAGE_OVERLAPS",
        "USAGE_TOO_OLD",
        "USAGE_TOO_SCATTERED",
        "VALIDATION_ERROR",
        "WALLET_CLOSED",
        "WALLET_EXISTS",
        "WALLET_HAS_RESERVATIONS",
        "WALLET_NOT_EMPTY",
        "WALLET_NOT_FOUND",
        "WALLET_SUSPENDED",
    ]);
    assert_eq!(tried, all);
    // Those of idempotency keys have tests of their own; the documentation has them all.
    let documented = include_str!("../../../../docs/credit.md");
    let of_keys = [Refusal::KeyReused, Refusal::TooManyKeys].map(|one| one.code());
    for code in all.into_iter().chain(of_keys) {
        // Several are written short: `RESERVATION_COMMITTED`, `_RELEASED`.
        let (_, short) = code.split_once('_').unwrap();
        let found = documented.contains(&format!("`{code}`"))
            || documented.contains(&format!("`_{short}`"));
        assert!(found, "{code} is not in docs/credit.md");
    }
}

#[test]
fn refusals_say_what_a_program_needs() {
    let tell = |way: Way| -> Value {
        let mut ledger = prepared();
        let command = way(&mut ledger);
        ledger.refused(command).details()
    };
    let missing = json!({"required": 130, "available": 100, "missing": 30});
    assert_eq!(tell(|_| charge("p", 130)), missing);
    let lacking = json!({"lacking": [
        {"kind": "vcpu", "limit": 4, "used": 0, "reserved": 0, "requested": 5},
    ]});
    assert_eq!(
        tell(|_| reserve_units("p", &[("vcpu", 5)], "vm-1")),
        lacking
    );
    assert_eq!(tell(|_| top_up("q", 1)), json!({"project_id": "q"}));
    assert_eq!(
        tell(|_| price("vm", -1, 1)),
        json!({"field": "effective_from", "constraint": "range"})
    );
    let unknown = json!({"field": "units", "constraint": "registered", "kind": "gpu"});
    assert_eq!(tell(|_| reserve_units("p", &[("gpu", 1)], "vm-1")), unknown);
    assert_eq!(tell(|_| release(ReservationId::generate())), Value::Null);
}
