//! Two-phase transfers.

use creditservice_ledger::*;

use super::{
    build::*,
    harness::{Ledger, reservation, restored},
};

/// 200 over a balance that covers 70: exactly those succeed.
#[test]
fn a_balance_covers_what_it_covers() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 7_009, Settings::default()));
    let held = (0..200)
        .filter(|_| match ledger.run(reserve("p", 100, 60)) {
            Ok(_) => true,
            Err(refusal) => {
                assert_eq!(refusal.code(), "INSUFFICIENT_CREDIT");
                false
            }
        })
        .count();
    assert_eq!(held, 70);
    assert_eq!(ledger.figures("p"), (7_009, 7_000, 9));
}

/// Whom the reservation was for, and what, stands in the charge, also with a snapshot in between; the commit may say better.
#[test]
fn a_charge_says_what_the_reservation_said() {
    let mut state = State::new(Shard::FIRST);
    let now = Time::from_seconds(NOON);
    let run = |state: &mut State, command: Command| state.apply(&command.into(), now).unwrap();
    run(&mut state, create("p", 100, Settings::default()));
    let text = |text: &str| Description::new(text.to_owned()).unwrap();
    let asked = |resource: &str| match reserve("p", 10, 60) {
        Command::Reserve(reserve) => Command::Reserve(Reserve {
            resource: vm(resource),
            description: Some(text("a VM")),
            ..reserve
        }),
        other => other,
    };
    let ids = ["vm-1", "vm-2"].map(|resource| {
        let held = run(&mut state, asked(resource));
        reservation(&held.answer).id
    });
    let mut state = restored(&state, 1 << 19, Bounds::default());
    let plain = run(&mut state, commit(ids[0], Some(5)));
    assert_eq!(plain.entries[0].description, Some(text("a VM")));
    assert_eq!(reservation(&plain.answer).resource, vm("vm-1"));
    let better = match commit(ids[1], None) {
        Command::Commit(commit) => Command::Commit(Commit {
            resource_id: vm("vm-3").id,
            description: Some(text("another")),
            ..commit
        }),
        other => other,
    };
    let better = run(&mut state, better);
    assert_eq!(better.entries[0].description, Some(text("another")));
    assert_eq!(reservation(&better.answer).resource.id, vm("vm-3").id);
    let read = restored(&state, 1 << 19, Bounds::default());
    assert_eq!(read.reservation(ids[0]).unwrap().resource, vm("vm-1"));
}

#[test]
fn resolved_once() {
    type Resolve = fn(ReservationId) -> Command;
    let resolve: [(Resolve, &str); 2] = [
        (|held| commit(held, Some(5)), "RESERVATION_COMMITTED"),
        (release, "RESERVATION_RELEASED"),
    ];
    for (first, code) in resolve {
        let mut ledger = Ledger::new();
        ledger.done(create("p", 100, Settings::default()));
        let held = ledger.reserved(reserve("p", 10, 60));
        ledger.done(first(held));
        for second in [
            commit(held, Some(5)),
            commit(held, None),
            release(held),
            extend(held, 9),
        ] {
            assert_eq!(ledger.refused(second).code(), code);
        }
        // Also long after it would have been over, until it is forgotten.
        ledger.wait(3_600);
        assert_eq!(ledger.refused(release(held)).code(), code);
        ledger.wait(25 * 3_600);
        ledger.done(top_up("p", 1));
        assert_eq!(ledger.refused(release(held)), Refusal::ReservationNotFound);
    }
}

#[test]
fn over_at_its_moment_whoever_looks() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(reserve("p", 100, 60));
    let over = ledger.now().plus_seconds(60);
    assert_eq!(ledger.state.next_expiry(), Some(over));
    ledger.wait(59);
    assert_eq!(ledger.expire(9), 0);
    assert_eq!(
        ledger.refused(reserve("p", 1, 60)).code(),
        "INSUFFICIENT_CREDIT"
    );
    ledger.wait(1);
    for late in [commit(held, None), release(held), extend(held, 60)] {
        assert_eq!(
            ledger.refused(late),
            Refusal::ReservationExpired { at: over }
        );
    }
    // A command of its project finds the credit free, without anybody having looked at the clock.
    let other = ledger.done(reserve("p", 100, 60));
    assert_eq!(other.entries.len(), 2);
    assert!(matches!(other.entries[0].what, What::Expired { reservation } if reservation == held));
    assert_eq!(
        ledger.status(held),
        Some(ReservationStatus::Expired { at: over })
    );
    assert_eq!(
        ledger.refused(commit(held, None)),
        Refusal::ReservationExpired { at: over }
    );
    assert_eq!(ledger.figures("p"), (100, 100, 0));
}

#[test]
fn the_timer_takes_them_in_order_and_in_batches() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    ledger.done(create("q", 100, Settings::default()));
    let first = ledger.reserved(reserve("p", 1, 30));
    let second = ledger.reserved(reserve("q", 1, 20));
    let third = ledger.reserved(reserve("p", 1, 10));
    ledger.wait(30);
    assert_eq!(ledger.expire(2), 2);
    assert_eq!(ledger.status(first), Some(ReservationStatus::Active));
    assert_eq!(ledger.expire(2), 1);
    assert_eq!(ledger.expire(2), 0);
    assert_eq!(ledger.state.next_expiry(), None);
    let order: Vec<_> = ledger.journal[5..]
        .iter()
        .map(|entry| match entry.what {
            What::Expired { reservation } => reservation,
            ref other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [third, second, first]);
}

#[test]
fn time_does_not_go_back() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let noon = ledger.now();
    ledger.wait(-3_600);
    let held = ledger.done(reserve("p", 10, 60));
    assert_eq!(held.entries[0].at, noon);
    assert_eq!(reservation(&held.answer).expires_at, noon.plus_seconds(60));
    // A new owner with a slow clock goes on from the journal's time.
    let mut successor = State::new(Shard::new(7).unwrap());
    for entry in &ledger.journal {
        successor.replay(entry).unwrap();
    }
    let applied = successor
        .apply(&top_up("p", 1).into(), Time::START)
        .unwrap();
    assert_eq!(applied.entries[0].at, noon);
}

#[test]
fn a_commit_takes_at_most_what_is_held() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(reserve("p", 10, 60));
    let refusal = ledger.refused(commit(held, Some(11)));
    let exceeds = Refusal::ExceedsReservation {
        held: 10,
        actual: 11,
    };
    assert_eq!(refusal, exceeds);
    ledger.done(commit(held, None));
    assert_eq!(ledger.figures("p"), (90, 0, 90));
    let held = ledger.reserved(reserve("p", 10, 60));
    ledger.done(commit(held, Some(0)));
    assert_eq!(ledger.figures("p"), (90, 0, 90));
}

#[test]
fn overage_is_taken_whole_or_not_at_all() {
    let mut ledger = Ledger::new();
    let settings = Settings {
        allow_overage: true,
        ..Settings::default()
    };
    ledger.done(create("p", 100, settings));
    let held = ledger.reserved(reserve("p", 10, 60));
    ledger.reserved(reserve("p", 85, 60));
    let refusal = ledger.refused(commit(held, Some(16)));
    let missing = Refusal::InsufficientCredit {
        required: 6,
        available: 5,
        missing: 1,
    };
    assert_eq!(refusal, missing);
    let done = ledger.done(commit(held, Some(15)));
    assert_eq!(done.entries.len(), 1);
    assert_eq!(done.entries[0].amount(), -15);
    assert_eq!(ledger.figures("p"), (85, 85, 0));
}

#[test]
fn someone_elses_reservation_is_not_there() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(reserve("p", 10, 60));
    let stranger = Some(name("q"));
    let as_stranger = || -> [Command; 3] {
        let caller = stranger.clone();
        let (Command::Commit(commit), Command::Release(release), Command::Extend(extend)) =
            (commit(held, None), release(held), extend(held, 600))
        else {
            unreachable!("as they were built");
        };
        [
            Command::Commit(Commit {
                caller: caller.clone(),
                ..commit
            }),
            Command::Release(Release {
                caller: caller.clone(),
                ..release
            }),
            Command::Extend(Extend { caller, ..extend }),
        ]
    };
    for command in as_stranger() {
        assert_eq!(ledger.refused(command), Refusal::ReservationNotFound);
    }
    ledger.wait(60);
    for command in as_stranger() {
        assert_eq!(ledger.refused(command), Refusal::ReservationNotFound);
    }
    assert_eq!(ledger.expire(1), 1);
    for command in as_stranger() {
        assert_eq!(ledger.refused(command), Refusal::ReservationNotFound);
    }
}

#[test]
fn extending_moves_the_deadline_and_only_later() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(reserve("p", 10, 60));
    ledger.wait(30);
    let unchanged = ledger.done(extend(held, 30));
    assert!(unchanged.entries.is_empty());
    let until = ledger.now().plus_seconds(90);
    let done = ledger.done(extend(held, 90));
    assert_eq!(reservation(&done.answer).expires_at, until);
    assert_eq!(ledger.state.next_expiry(), Some(until));
    ledger.wait(89);
    assert_eq!(ledger.expire(9), 0);
    ledger.wait(1);
    assert_eq!(ledger.expire(9), 1);
}

#[test]
fn ids_tell_their_shard_and_open_reservations_are_listed() {
    let mut ledger = Ledger::new();
    ledger.done(create("p", 100, Settings::default()));
    let later = ledger.reserved(reserve("p", 10, 60));
    let sooner = ledger.reserved(reserve("p", 20, 30));
    let place = Place::of(sooner).unwrap();
    assert_eq!((place.shard.number(), place.seq), (7, 3));
    let listed: Vec<_> = ledger
        .state
        .reservations(&name("p"))
        .map(|view| view.id)
        .collect();
    assert_eq!(listed, [sooner, later]);
    assert_eq!(ledger.state.reservations(&name("q")).count(), 0);
}

#[test]
fn services_hold_only_from_metered_wallets() {
    let by_service = |project: &str, billing| {
        let Command::Reserve(command) = reserve(project, 10, 60) else {
            unreachable!("as it was built");
        };
        Command::Reserve(Reserve {
            payer: Payer::Service(billing),
            ..command
        })
    };
    let mut ledger = Ledger::new();
    ledger.done(create("manual", 100, Settings::default()));
    ledger.done(create("metered", 100, metered()));
    for billing in [Billing::Optional, Billing::Required] {
        ledger.done(by_service("manual", billing));
        ledger.done(by_service("metered", billing));
    }
    assert_eq!(ledger.figures("manual"), (100, 0, 100));
    assert_eq!(ledger.figures("metered"), (100, 20, 80));
    let held = ledger.reserved(by_service("none", Billing::Optional));
    assert_eq!(ledger.state.reservation(held).unwrap().amount, 0);
    ledger.done(commit(held, None));
    assert_eq!(ledger.state.wallet(&name("none")), None);
    let refusal = ledger.refused(by_service("none", Billing::Required));
    assert_eq!(refusal.code(), "WALLET_NOT_FOUND");
}
