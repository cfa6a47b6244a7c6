//! Quota and money, with a real CreditService.

use std::time::{Duration, Instant};

use photon_testkit::{fake_host::Habits, poll::eventually};
use plasmavmc::Config;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    house::{Caller, PATIENCE, VMS, config, over},
    paid::{Paid, asks, seconds},
};

/// Periods of so many seconds, and so long a grace.
fn terms(period: u64, grace: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        config.billing.period_seconds = period;
        config.billing.grace_seconds = grace;
    }
}

/// Waits until something was charged of a VM, for so many seconds at least.
async fn until_charged(paid: &Paid, vm: &str, at_least: i64) -> i64 {
    eventually("it is charged", PATIENCE, || async {
        let charges = paid.charges().await;
        let of_it = charges
            .iter()
            .filter(|one| one.resource == vm && one.sku == "vcpu");
        let sum = of_it.map(|one| one.cost).sum();
        (sum >= at_least).then_some(sum)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_counts_until_it_is_deleted() {
    let paid = Paid::start(terms(3600, 900)).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    let made = operator.vm(json!({ "disk_size_gb": 3, "vcpus": 2 })).await;
    let vm = made.id();
    operator.until(&vm, "Stopped").await;
    let units = paid.units().await;
    let expected = [("disk_gib", 3), ("memory_mib", 128), ("vcpu", 2), ("vm", 1)];
    let expected = expected.map(|(kind, count)| (kind.to_owned(), (count, 0)));
    assert_eq!(units, expected.into());
    let operation = operator.until_over(&made.text("operation_id")).await;
    let steps = operation["steps"].as_array().unwrap();
    assert_eq!(steps[0]["name"], "quota");
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    // There is no wallet: nothing is held for it.
    assert_eq!(
        operator.get(&format!("{VMS}/{vm}")).await.data()["hold"],
        json!(null)
    );
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_more_than_the_limit() {
    let paid = Paid::start(terms(3600, 900)).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    paid.limit("vm", 3).await;
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let caller = operator.clone();
        asking.spawn(async move { caller.vm(json!({})).await });
    }
    let answers = asking.join_all().await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 3);
    for refused in refused {
        assert_eq!(refused.error(), (409, "QUOTA_EXCEEDED", ""));
        let lacking = &refused.details()["lacking"][0];
        assert_eq!(
            (&lacking["kind"], &lacking["limit"]),
            (&json!("vm"), &json!(3))
        );
    }
    for made in &made {
        operator.until(&made.id(), "Stopped").await;
    }
    assert_eq!(paid.units().await["vm"], (3, 0));
    operator.delete_vm(&made[0].id()).await;
    // What cannot be made counts no more than what is not there; made anew it counts again.
    host.habits(|habits| habits.broken = Some("the disk is full".to_owned()));
    let failed = operator.vm(json!({})).await.id();
    operator.until(&failed, "Error").await;
    assert_eq!(paid.units().await["vm"], (2, 0));
    host.habits(|habits| *habits = Habits::default());
    let other = operator.made().await;
    let refused = operator.ask(&failed, "start", json!({})).await;
    assert_eq!(refused.error(), (409, "QUOTA_EXCEEDED", ""));
    operator.delete_vm(&other).await;
    operator.ask(&failed, "start", json!({})).await.data();
    operator.until(&failed, "Running").await;
    assert_eq!(paid.units().await["vm"], (3, 0));
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_credit_service_counts_and_pays_from_then_on() {
    let mut paid = Paid::start(|config| config.quota.endpoint = None).await;
    let _host = paid.house.host("host-1").await;
    let vm = paid.house.operator.started().await;
    assert!(paid.units().await.is_empty());
    paid.wallet(10_000, "metered").await;
    paid.limit("vm", 0).await;
    paid.house.running.take().unwrap().stop().await;
    let mut config = config(&paid.house.chainfire.endpoint());
    asks(&mut config, paid.address());
    config.billing.period_seconds = 2;
    let again = over(config).await;
    paid.house.operator = Caller::of(&again);
    paid.house.running = Some(again);
    until_charged(&paid, &vm, 2).await;
    assert_eq!(paid.units().await["vm"], (1, 0));
    let operator = &paid.house.operator;
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_charged_by_the_second() {
    let paid = Paid::start(terms(2, 900)).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    paid.wallet(10_000, "metered").await;
    let vm = operator.made().await;
    assert_eq!(paid.figure("reserved").await, 0);
    let asked = Instant::now();
    operator.ask(&vm, "start", json!({})).await.data();
    let running = operator.until(&vm, "Running").await;
    // Two seconds of a CPU, and of an eighth of a GiB, which is rounded up.
    assert_eq!(running["hold"]["amount"], 2 + 1);
    let first = running["hold"]["reservation_id"].clone();
    until_charged(&paid, &vm, 4).await;
    let later = operator.get(&format!("{VMS}/{vm}")).await;
    assert_ne!(later.data()["hold"]["reservation_id"], first);
    // A reboot is no new run, and a guest that goes by itself ends it.
    operator.ask(&vm, "reboot", json!({})).await.data();
    until_charged(&paid, &vm, 6).await;
    host.power_off_from_within(&vm);
    let stopped = operator
        .until_it(&vm, "stopped, with nothing held", |vm| {
            vm["state"] == "Stopped" && vm["hold"].is_null()
        })
        .await;
    assert_eq!(stopped["state_reason"], "the guest powered off");
    paid.until_reserved(0).await;
    let charged: i64 = paid.charges().await.iter().map(|charge| charge.cost).sum();
    assert_eq!(paid.figure("balance").await, 10_000 - charged);
    // By the clock of the wall, whose seconds it may have caught the ends of.
    let took = i64::try_from(asked.elapsed().as_secs()).unwrap();
    let sum: i64 = paid
        .charges()
        .await
        .iter()
        .filter(|charge| charge.sku == "vcpu")
        .map(|charge| charge.cost)
        .sum();
    assert!((6..=took + 1).contains(&sum), "{sum} in {took} s");
    // Stopped it costs nothing, and counts.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(paid.figure("balance").await, 10_000 - charged);
    assert_eq!(paid.units().await["vm"], (1, 0));
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starts_without_credit() {
    let paid = Paid::start(terms(60, 900)).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    paid.wallet(67, "metered").await;
    let vm = operator.made().await;
    let refused = operator.ask(&vm, "start", json!({})).await;
    assert_eq!(refused.error(), (409, "INSUFFICIENT_CREDIT", ""));
    assert_eq!(
        (
            &refused.details()["required"],
            &refused.details()["missing"]
        ),
        (&json!(68), &json!(1))
    );
    let still = operator.get(&format!("{VMS}/{vm}")).await;
    assert_eq!(still.text("state"), "Stopped");
    assert_eq!(still.text("wanted_state"), "Stopped");
    let refused = operator.vm(json!({ "start": true })).await;
    assert_eq!(refused.error(), (409, "INSUFFICIENT_CREDIT", ""));
    eventually("only one counts", PATIENCE, || async {
        (paid.units().await["vm"] == (1, 0)).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(paid.figure("reserved").await, 0);
    paid.top_up(1).await;
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    assert_eq!(paid.figure("reserved").await, 68);
    // Stopped at once it is charged for what it ran, if that was a second at all.
    operator
        .ask(&vm, "stop", json!({ "force": true }))
        .await
        .data();
    operator.until(&vm, "Stopped").await;
    paid.until_reserved(0).await;
    assert!(paid.figure("balance").await >= 58);
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_starts_at_once_hold_once() {
    let paid = Paid::start(terms(60, 900)).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    // Enough for two, in case that a minute passes meanwhile: who starts it within one shares what is held.
    paid.wallet(140, "metered").await;
    let vm = operator.made().await;
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let (caller, vm) = (operator.clone(), vm.clone());
        asking.spawn(async move { caller.ask(&vm, "start", json!({})).await.status });
    }
    let statuses = asking.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    operator.until(&vm, "Running").await;
    assert_eq!(host.starts(&vm), 1);
    paid.until_reserved(68).await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_credit_left_is_stopped_after_a_grace() {
    let paid = Paid::start(terms(2, 4)).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    // For one period, and not for another one.
    paid.wallet(4, "metered").await;
    let vm = operator.started().await;
    let warned = operator
        .until_it(&vm, "warned", |vm| {
            vm["state_reason"].as_str().unwrap().contains("no credit")
        })
        .await;
    assert_eq!(warned["state"], "Running");
    let reason = warned["state_reason"].as_str().unwrap();
    assert!(reason.contains("it is stopped at"), "{reason}");
    let stopped = operator.until(&vm, "Stopped").await;
    let reason = stopped["state_reason"].as_str().unwrap();
    assert!(
        reason.starts_with("it was stopped: there is no credit"),
        "{reason}"
    );
    assert_eq!(stopped["wanted_state"], "Stopped");
    eventually("what it used in the grace is owed", PATIENCE, || async {
        (paid.figure("owed").await > 0).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(
        (paid.figure("reserved").await, paid.figure("balance").await),
        (0, 0)
    );
    let refused = operator.ask(&vm, "start", json!({})).await;
    assert_eq!(refused.error(), (409, "INSUFFICIENT_CREDIT", ""));
    // Who pays may go on, and nothing more is said of it.
    paid.top_up(1_000).await;
    operator.ask(&vm, "start", json!({})).await.data();
    let running = operator.until(&vm, "Running").await;
    assert!(
        !running["state_reason"].as_str().unwrap().contains("credit"),
        "{running}"
    );
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_that_comes_in_the_grace_is_in_time() {
    let paid = Paid::start(terms(2, 60)).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    paid.wallet(4, "metered").await;
    let vm = operator.started().await;
    let is_warned = |vm: &Value| vm["state_reason"].as_str().unwrap().contains("no credit");
    operator.until_it(&vm, "warned", is_warned).await;
    paid.top_up(1_000).await;
    let paid_again = operator
        .until_it(&vm, "paid for", |vm| {
            !vm["hold"].is_null() && !is_warned(vm)
        })
        .await;
    assert_eq!(
        (&paid_again["state"], &paid_again["state_reason"]),
        (&json!("Running"), &json!(""))
    );
    // The grace was no gift.
    until_charged(&paid, &vm, 4).await;
    assert_eq!(host.starts(&vm), 1);
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_runs_on_while_credit_service_is_away_and_is_charged_once() {
    let mut paid = Paid::start(terms(2, 3)).await;
    let operator = paid.house.operator.clone();
    let _host = paid.house.host("host-1").await;
    paid.wallet(10_000, "metered").await;
    let stays = operator.started().await;
    let goes = operator.started().await;
    until_charged(&paid, &stays, 2).await;
    paid.credit_goes().await;
    // Longer than a period and the grace.
    let stop = json!({ "force": true });
    operator.ask(&goes, "stop", stop).await.data();
    operator.until(&goes, "Stopped").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let running = operator.get(&format!("{VMS}/{stays}")).await;
    assert_eq!(running.text("state"), "Running");
    // What needs something is refused, and what does not is done.
    let refused = operator.vm(json!({})).await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    operator.delete(&format!("{VMS}/{goes}")).await.data();
    let waits = operator
        .until_it(&goes, "waiting", |vm| {
            vm["state_reason"]
                .as_str()
                .unwrap()
                .contains("CreditService")
        })
        .await;
    assert_eq!(waits["state"], "Deleting");
    paid.credit_returns().await;
    operator.until_gone(&goes).await;
    until_charged(&paid, &stays, 8).await;
    let charges = paid.charges().await;
    assert!(seconds(&charges, &goes) < seconds(&charges, &stays));
    operator.delete_vm(&stays).await;
    paid.until_nothing_is_held().await;
    let sum: i64 = paid.charges().await.iter().map(|one| one.cost).sum();
    assert_eq!(paid.figure("balance").await, 10_000 - sum);
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leader_goes_on_with_the_bill() {
    let mut paid = Paid::start(terms(2, 900)).await;
    let _host = paid.house.host("host-1").await;
    paid.wallet(10_000, "metered").await;
    let vm = paid.house.operator.started().await;
    for round in 1..=3 {
        until_charged(&paid, &vm, round * 2).await;
        paid.house.running.take().unwrap().stop().await;
        let mut config = config(&paid.house.chainfire.endpoint());
        asks(&mut config, paid.address());
        config.billing.period_seconds = 2;
        let again = over(config).await;
        paid.house.operator = Caller::of(&again);
        paid.house.running = Some(again);
    }
    let operator = &paid.house.operator;
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    // Without a gap or an overlap, which `seconds` sees to.
    assert!(seconds(&paid.charges().await, &vm) >= 6);
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_replaces_the_first_hold() {
    let paid = Paid::start(terms(60, 900)).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    paid.wallet(168, "metered").await;
    let reserve = |amount: i64| {
        let at_credit = paid.at_credit.clone();
        async move {
            let body = json!({ "project_id": "shop", "amount": amount });
            at_credit.post("/api/v1/reservations", body).await.id()
        }
    };
    for (id, status, code) in [
        ("", 400, "VALIDATION_ERROR"),
        ("two words", 400, "VALIDATION_ERROR"),
        ("rsv-1", 400, "VALIDATION_ERROR"),
    ] {
        let refused = operator.vm(json!({ "reservation_id": id })).await;
        assert_eq!(refused.error(), (status, code, "reservation_id"), "{id}");
    }
    // Of somebody else.
    let wallet = json!({ "project_id": "lab", "org_id": "other", "initial_balance": 1_000 });
    paid.at_credit.post("/api/v1/wallets", wallet).await.data();
    let body = json!({ "project_id": "lab", "amount": 500 });
    let others = paid.at_credit.post("/api/v1/reservations", body).await.id();
    let refused = operator.vm(json!({ "reservation_id": others })).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "reservation_id"));
    let small = reserve(67).await;
    let refused = operator.vm(json!({ "reservation_id": small })).await;
    assert_eq!(refused.error(), (409, "EXCEEDS_RESERVATION", ""));
    assert_eq!(
        (&refused.details()["held"], &refused.details()["actual"]),
        (&json!(67), &json!(68))
    );
    let release = format!("/api/v1/reservations/{small}/release");
    paid.at_credit.post(&release, json!({})).await.data();
    let refused = operator.vm(json!({ "reservation_id": small })).await;
    assert_eq!(refused.error(), (409, "RESERVATION_RELEASED", ""));
    // All that there is but 8: without it there would be too little.
    let good = reserve(160).await;
    let vm = operator.vm(json!({ "reservation_id": good })).await.id();
    operator.until(&vm, "Stopped").await;
    assert_eq!(paid.figure("reserved").await, 160);
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    assert_eq!(paid.figure("reserved").await, 68);
    // What is held for another VM is nobody's to name.
    let running = operator.get(&format!("{VMS}/{vm}")).await;
    let held = running.data()["hold"]["reservation_id"].clone();
    let refused = operator.vm(json!({ "reservation_id": held })).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "reservation_id"));
    // It is used up.
    let refused = operator.vm(json!({ "reservation_id": good })).await;
    assert_eq!(refused.status, 409);
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_example_pays_by_its_own_reservation() {
    let paid = Paid::start(terms(60, 900)).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    paid.wallet(10_000, "manual").await;
    let body = json!({
        "project_id": "shop", "amount": 5000, "resource_type": "vm", "ttl_seconds": 3600,
    });
    let reservation = paid.at_credit.post("/api/v1/reservations", body).await.id();
    // Named or not: who pays by hand commits it by hand.
    let vm = operator
        .vm(json!({ "reservation_id": reservation, "start": true }))
        .await
        .id();
    operator.until(&vm, "Running").await;
    assert_eq!(paid.figure("reserved").await, 5000);
    let commit = format!("/api/v1/reservations/{reservation}/commit");
    let body = json!({ "actual_amount": 4500, "resource_id": vm });
    paid.at_credit.post(&commit, body).await.data();
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    assert_eq!(paid.figure("balance").await, 5500);
    assert_eq!(paid.charges().await.len(), 1);
    paid.stop().await;
}
