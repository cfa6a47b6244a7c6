//! Limits, and units reserved and in use.

use creditservice_ledger::*;

use super::{build::*, harness::Ledger};

fn ledger() -> Ledger {
    let mut ledger = Ledger::new();
    ledger.done(register("vcpu", Some(10)));
    ledger.done(register("vm", Some(3)));
    ledger.done(register("memory_mib", None));
    ledger
}

/// Credit and units: all or nothing.
fn vm_for(minor: i64, counts: &[(&str, i64)]) -> Command {
    Command::Reserve(Reserve {
        project: name("p"),
        hold: Some(Hold::Amount(amount(minor))),
        units: units(counts),
        ttl: ttl(60),
        payer: Payer::Caller,
        resource: vm("vm-1"),
        description: None,
    })
}

#[test]
fn credit_and_units_are_held_together_or_not_at_all() {
    let mut ledger = ledger();
    ledger.done(create("p", 100, Settings::default()));
    let held = ledger.reserved(vm_for(60, &[("vcpu", 4), ("vm", 1), ("memory_mib", 9_999)]));
    assert_eq!(ledger.figures("p"), (100, 60, 40));
    assert_eq!(ledger.units("p", "vcpu"), (0, 4));
    let refusal = ledger.refused(vm_for(41, &[("vcpu", 1)]));
    assert_eq!(refusal.code(), "INSUFFICIENT_CREDIT");
    let refusal = ledger.refused(vm_for(40, &[("vcpu", 7), ("vm", 3), ("memory_mib", 1)]));
    let lack = |kind, limit, reserved, requested| Lack {
        kind: name(kind),
        limit,
        used: 0,
        reserved,
        requested,
    };
    let lacking = vec![lack("vcpu", 10, 4, 7), lack("vm", 3, 1, 3)];
    assert_eq!(refusal, Refusal::QuotaExceeded { lacking });
    ledger.done(commit(held, Some(50)));
    assert_eq!(ledger.figures("p"), (50, 0, 50));
    assert_eq!(ledger.units("p", "vcpu"), (4, 0));
    let claim = ledger.state.claim(&name("p"), &id("vm-1")).unwrap();
    assert_eq!(
        *claim,
        units(&[("vcpu", 4), ("vm", 1), ("memory_mib", 9_999)])
    );
}

#[test]
fn units_are_given_back_like_credit() {
    let mut ledger = ledger();
    let released = ledger.reserved(reserve_units("p", &[("vcpu", 4)], "vm-1"));
    ledger.reserved(reserve_units("p", &[("vcpu", 6)], "vm-2"));
    assert_eq!(
        ledger
            .refused(reserve_units("p", &[("vcpu", 1)], "vm-3"))
            .code(),
        "QUOTA_EXCEEDED"
    );
    ledger.done(release(released));
    assert_eq!(ledger.units("p", "vcpu"), (0, 6));
    ledger.wait(60);
    ledger.reserved(reserve_units("p", &[("vcpu", 10)], "vm-3"));
    assert_eq!(ledger.units("p", "vcpu"), (0, 10));
    // Other projects have their own.
    ledger.reserved(reserve_units("q", &[("vcpu", 10)], "vm-4"));
}

#[test]
fn a_commit_may_use_fewer_units_and_names_the_resource() {
    let mut ledger = ledger();
    let held = ledger.reserved(reserve_units("p", &[("vcpu", 4), ("vm", 1)], "vm-1"));
    let with = |counts: &[(&str, i64)], resource: &str| {
        Command::Commit(Commit {
            reservation: held,
            caller: None,
            actual: None,
            units: Some(units(counts)),
            resource_id: Some(id(resource)),
            description: None,
        })
    };
    let refusal = ledger.refused(with(&[("vcpu", 5)], "vm-9"));
    let exceeds = Refusal::UnitsExceedReservation {
        kind: name("vcpu"),
        held: 4,
        actual: 5,
    };
    assert_eq!(refusal, exceeds);
    assert_eq!(
        ledger.refused(with(&[("memory_mib", 1)], "vm-9")).code(),
        "EXCEEDS_RESERVATION"
    );
    ledger.done(with(&[("vcpu", 3)], "vm-9"));
    assert_eq!(ledger.units("p", "vcpu"), (3, 0));
    assert_eq!(ledger.units("p", "vm"), (0, 0));
    assert!(ledger.state.claim(&name("p"), &id("vm-1")).is_none());
    assert_eq!(
        ledger.state.claim(&name("p"), &id("vm-9")),
        Some(&units(&[("vcpu", 3)]))
    );
}

#[test]
fn units_of_something_without_an_id_are_claimed_by_the_reservation() {
    let mut ledger = ledger();
    let Command::Reserve(command) = reserve_units("p", &[("vcpu", 4)], "vm-1") else {
        unreachable!("as it was built");
    };
    let held = ledger.reserved(Command::Reserve(Reserve {
        resource: Resource::default(),
        ..command
    }));
    ledger.done(commit(held, None));
    let claimant = held.to_string();
    ledger.done(free("p", &claimant, None));
    assert_eq!(ledger.units("p", "vcpu"), (0, 0));
}

#[test]
fn claims_grow_and_are_given_back_once() {
    let mut ledger = ledger();
    for counts in [&[("vcpu", 4), ("vm", 1)][..], &[("vcpu", 2)]] {
        let held = ledger.reserved(reserve_units("p", counts, "vm-1"));
        ledger.done(commit(held, None));
    }
    assert_eq!(ledger.units("p", "vcpu"), (6, 0));
    let refusal = ledger.refused(free("p", "vm-1", Some(&[("vcpu", 7)])));
    let small = Refusal::ClaimTooSmall {
        kind: name("vcpu"),
        used: 6,
        requested: 7,
    };
    assert_eq!(refusal, small);
    ledger.done(free("p", "vm-1", Some(&[("vcpu", 2)])));
    ledger.done(free("p", "vm-1", None));
    assert_eq!(ledger.units("p", "vcpu"), (0, 0));
    assert_eq!(
        ledger.refused(free("p", "vm-1", None)).code(),
        "CLAIM_NOT_FOUND"
    );
    assert_eq!(
        ledger.refused(free("q", "vm-1", None)).code(),
        "CLAIM_NOT_FOUND"
    );
}

#[test]
fn a_recount_holds_whatever_the_limit_is() {
    let mut ledger = ledger();
    ledger.done(recount("p", "vm-1", &[("vcpu", 50), ("vm", 1)]));
    assert_eq!(ledger.units("p", "vcpu"), (50, 0));
    assert!(
        ledger
            .done(recount("p", "vm-1", &[("vcpu", 50), ("vm", 1)]))
            .entries
            .is_empty()
    );
    assert_eq!(
        ledger
            .refused(reserve_units("p", &[("vcpu", 1)], "vm-2"))
            .code(),
        "QUOTA_EXCEEDED"
    );
    ledger.done(recount("p", "vm-1", &[("vcpu", 2)]));
    assert_eq!(ledger.units("p", "vcpu"), (2, 0));
    assert_eq!(ledger.units("p", "vm"), (0, 0));
    ledger.done(recount("p", "vm-1", &[]));
    assert_eq!(
        ledger.refused(free("p", "vm-1", None)).code(),
        "CLAIM_NOT_FOUND"
    );
}

#[test]
fn limits_have_defaults_and_may_be_a_projects_own() {
    let mut ledger = ledger();
    let limits = |ledger: &Ledger, project| -> Vec<(String, Option<i64>, bool)> {
        ledger
            .state
            .quotas(&name(project))
            .map(|view| (view.kind.to_string(), view.limit.count(), view.own))
            .collect()
    };
    ledger.done(set_limit("p", "vcpu", Some(Some(2))));
    ledger.done(set_limit("p", "vm", Some(None)));
    let row = |kind: &str, limit, own| (kind.to_owned(), limit, own);
    let own = [
        row("memory_mib", None, false),
        row("vcpu", Some(2), true),
        row("vm", None, true),
    ];
    assert_eq!(limits(&ledger, "p"), own);
    assert_eq!(limits(&ledger, "q")[1], row("vcpu", Some(10), false));
    assert_eq!(
        ledger
            .refused(reserve_units("p", &[("vcpu", 3)], "vm-1"))
            .code(),
        "QUOTA_EXCEEDED"
    );
    ledger.done(set_limit("p", "vcpu", None));
    ledger.reserved(reserve_units("p", &[("vcpu", 3)], "vm-1"));
    // A lower limit takes nothing away and refuses more.
    ledger.done(register("vcpu", Some(1)));
    assert_eq!(ledger.units("p", "vcpu"), (0, 3));
    assert_eq!(
        ledger
            .refused(reserve_units("p", &[("vcpu", 1)], "vm-2"))
            .code(),
        "QUOTA_EXCEEDED"
    );
    assert!(ledger.done(register("vcpu", Some(1))).entries.is_empty());
    assert!(ledger.done(set_limit("p", "vcpu", None)).entries.is_empty());
}

/// What nobody knows anything of any more takes no room.
#[test]
fn a_project_without_anything_is_forgotten() {
    let mut ledger = ledger();
    let held = ledger.reserved(reserve_units("p", &[("vcpu", 3)], "vm-1"));
    ledger.done(commit(held, None));
    ledger.done(free("p", "vm-1", None));
    let text = super::harness::text(&ledger.state);
    assert!(!text.contains("\"project\":{"), "{text}");
}

/// Where a wallet is required, units alone are refused without one, too.
#[test]
fn units_alone_want_the_wallet_that_is_required() {
    let mut ledger = Ledger::new();
    ledger.done(register("vm", Some(5)));
    let required = |payer| match reserve_units("p", &[("vm", 1)], "vm-1") {
        Command::Reserve(reserve) => Command::Reserve(Reserve { payer, ..reserve }),
        other => other,
    };
    let refused = ledger.refused(required(Payer::Service(Billing::Required)));
    assert_eq!(refused.code(), "WALLET_NOT_FOUND");
    ledger.done(required(Payer::Service(Billing::Optional)));
    ledger.done(create("p", 0, Settings::default()));
    ledger.done(required(Payer::Service(Billing::Required)));
}
