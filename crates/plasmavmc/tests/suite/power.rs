//! Standing still, going to disk, and going on.

use photon_testkit::{fake_host::Habits, poll::eventually};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    house::{Answer, Caller, House, PATIENCE, VMS},
    paid::Paid,
};

/// Asks as curl does: without a body.
async fn ask(caller: &Caller, vm: &str, what: &str) -> Answer {
    let path = format!("{VMS}/{vm}/{what}");
    let asked = caller.call(Method::POST, &path, None, None).await;
    asked.unwrap()
}

fn reason(vm: &Value) -> &str {
    vm["state_reason"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_stands_still_and_goes_on_in_the_same_boot() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = operator.started().await;
    let asked = ask(operator, &vm, "pause").await;
    assert_eq!(asked.text("wanted_state"), "Paused");
    let paused = operator.until(&vm, "Paused").await;
    assert_eq!(paused["hypervisor_in_use"], "qemu");
    assert_eq!(reason(&paused), "");
    // Again it changes nothing.
    let again = ask(operator, &vm, "pause").await;
    assert_eq!(again.data()["revision"], paused["revision"]);
    let boot = host.wish(&vm).await.boot;
    for what in ["resume", "start"] {
        let asked = ask(operator, &vm, what).await;
        assert_eq!(asked.text("wanted_state"), "Running", "{what}");
        let running = operator.until(&vm, "Running").await;
        let again = ask(operator, &vm, what).await;
        assert_eq!(again.data()["revision"], running["revision"], "{what}");
        ask(operator, &vm, "pause").await.data();
        operator.until(&vm, "Paused").await;
    }
    assert_eq!((host.starts(&vm), host.wish(&vm).await.boot), (1, boot));
    // A reboot is another boot, and a guest that stands still is asked to stop as any other.
    ask(operator, &vm, "reboot").await.data();
    operator.until(&vm, "Running").await;
    assert_eq!(host.wish(&vm).await.boot, boot + 1);
    ask(operator, &vm, "pause").await.data();
    operator.until(&vm, "Paused").await;
    let stopping = operator.ask(&vm, "stop", json!({})).await;
    assert_eq!(stopping.text("state"), "Stopping");
    operator.until(&vm, "Stopped").await;
    for what in ["pause", "resume", "suspend"] {
        let refused = ask(operator, &vm, what).await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""), "{what}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_goes_to_disk_and_goes_on_from_there() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = operator.started().await;
    let boot = host.wish(&vm).await.boot;
    for (number, what) in ["resume", "start"].into_iter().enumerate() {
        let asked = ask(operator, &vm, "suspend").await;
        assert_eq!(asked.text("wanted_state"), "Suspended");
        let suspended = operator.until(&vm, "Suspended").await;
        assert_eq!(suspended["hypervisor_in_use"], json!(null));
        assert!(host.has_memory(&vm));
        let refused = ask(operator, &vm, "reboot").await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
        let refused = ask(operator, &vm, "pause").await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
        // A host that loses its power has it on disk.
        host.lose_power();
        let asked = ask(operator, &vm, what).await;
        assert_eq!(asked.text("state"), "Starting");
        operator.until(&vm, "Running").await;
        let resumes = u64::try_from(number).unwrap() + 1;
        assert_eq!((host.starts(&vm), host.resumes(&vm)), (1, resumes));
        assert_eq!(host.wish(&vm).await.boot, boot);
    }
    // What stands still can go to disk, too.
    ask(operator, &vm, "pause").await.data();
    operator.until(&vm, "Paused").await;
    ask(operator, &vm, "suspend").await.data();
    operator.until(&vm, "Suspended").await;
    // Stopped, its memory is thrown away, and the next boot is another one.
    let stopped = operator.ask(&vm, "stop", json!({})).await;
    assert_eq!(stopped.text("state"), "Stopped");
    eventually("its memory is thrown away", PATIENCE, || async {
        (!host.has_memory(&vm)).then_some(())
    })
    .await
    .unwrap();
    ask(operator, &vm, "start").await.data();
    operator.until(&vm, "Running").await;
    assert_eq!((host.starts(&vm), host.resumes(&vm)), (2, 2));
    // Deleted in each of them it is gone.
    ask(operator, &vm, "suspend").await.data();
    operator.until(&vm, "Suspended").await;
    operator.delete_vm(&vm).await;
    assert!(!host.has(&vm));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_about_is_an_error_and_mends() {
    let house = House::dev_with(|config| {
        config.deadlines.starting_seconds = 1;
        config.deadlines.suspending_seconds = 1;
    })
    .await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    for (what, said, state) in [
        ("pause", "not paused within 1 s", "Paused"),
        ("suspend", "not suspended within 1 s", "Suspended"),
    ] {
        let vm = operator.started().await;
        host.habits(|habits| habits.restless = true);
        let asked = ask(operator, &vm, what).await;
        assert_eq!(asked.text("state"), "Running", "{what}");
        let failed = operator.until(&vm, "Error").await;
        assert!(reason(&failed).contains(said), "{failed}");
        // It runs, and may be had so again.
        ask(operator, &vm, "resume").await.data();
        operator.until(&vm, "Running").await;
        ask(operator, &vm, what).await.data();
        operator.until(&vm, "Error").await;
        // Its host comes round.
        host.habits(|habits| *habits = Habits::default());
        operator.until(&vm, state).await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_pause_with_a_reason_until_there_is_room() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = operator.started().await;
    let full = "its pool is full".to_owned();
    host.habits(|habits| habits.full_disk = Some(full.clone()));
    let paused = operator.until(&vm, "Paused").await;
    assert_eq!(reason(&paused), full);
    assert_eq!(paused["wanted_state"], "Running");
    host.habits(|habits| habits.full_disk = None);
    let running = operator.until(&vm, "Running").await;
    assert_eq!(reason(&running), "");
    assert_eq!(host.starts(&vm), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_by_itself_is_not_waited_for() {
    let house = House::dev().await;
    let mut host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = operator.started().await;
    // Its host hears of it when there is nothing left to suspend.
    host.go_silent().await;
    operator.until(&vm, "Unknown").await;
    ask(operator, &vm, "suspend").await.data();
    host.power_off_from_within(&vm);
    host.come_back().await;
    let stopped = operator
        .until_it(&vm, "not to be suspended any more", |vm| {
            vm["state"] == "Stopped" && vm["wanted_state"] == "Stopped"
        })
        .await;
    assert_eq!(reason(&stopped), "the guest powered off");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_still_is_paid_for_and_what_is_on_disk_is_not() {
    let paid = Paid::start(|config| config.billing.period_seconds = 60).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    paid.wallet(1_000, "metered").await;
    let vm = operator.started().await;
    assert_eq!(paid.figure("reserved").await, 68);
    ask(operator, &vm, "pause").await.data();
    let paused = operator.until(&vm, "Paused").await;
    assert_eq!(paused["hold"]["amount"], 68);
    ask(operator, &vm, "suspend").await.data();
    operator.until(&vm, "Suspended").await;
    paid.until_reserved(0).await;
    let charged = async || {
        let all = paid.charges().await;
        all.iter().map(|one| one.cost).sum::<i64>()
    };
    let first = charged().await;
    assert_eq!(paid.figure("balance").await, 1_000 - first);
    // It counts as before, and goes on only with credit for it.
    assert_eq!(paid.units().await["vm"], (1, 0));
    let all = paid.figure("balance").await;
    let body = json!({ "project_id": "shop", "amount": all - 67 });
    let other = paid.at_credit.post("/api/v1/reservations", body).await.id();
    for what in ["resume", "start"] {
        let refused = ask(operator, &vm, what).await;
        assert_eq!(refused.error(), (409, "INSUFFICIENT_CREDIT", ""), "{what}");
    }
    let still = operator.get(&format!("{VMS}/{vm}")).await;
    assert_eq!(still.text("wanted_state"), "Suspended");
    let release = format!("/api/v1/reservations/{other}/release");
    paid.at_credit.post(&release, json!({})).await.data();
    paid.until_reserved(0).await;
    ask(operator, &vm, "resume").await.data();
    let running = operator.until(&vm, "Running").await;
    assert_eq!(running["hold"]["amount"], 68);
    assert_eq!((host.starts(&vm), host.resumes(&vm)), (1, 1));
    // Suspended and stopped: what was held is given back, and nothing is left.
    ask(operator, &vm, "suspend").await.data();
    operator.until(&vm, "Suspended").await;
    paid.until_reserved(0).await;
    operator.ask(&vm, "stop", json!({})).await.data();
    operator.until(&vm, "Stopped").await;
    assert_eq!(paid.figure("balance").await, 1_000 - charged().await);
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_still_without_credit_is_stopped() {
    let paid = Paid::start(|config| {
        config.billing.period_seconds = 2;
        config.billing.grace_seconds = 2;
    })
    .await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    paid.wallet(4, "metered").await;
    let vm = operator.started().await;
    ask(operator, &vm, "pause").await.data();
    let stopped = operator.until(&vm, "Stopped").await;
    assert!(reason(&stopped).contains("no credit"), "{stopped}");
    paid.stop().await;
}
