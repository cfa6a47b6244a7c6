//! What goes wrong on the way, and what is left of it: nothing.

use photon_testkit::{fake_host::Habits, poll::eventually};
use serde_json::{Value, json};

use crate::house::{House, PATIENCE, VMS, config, over};

/// Short deadlines, so that they are met.
fn hasty(config: &mut plasmavmc::Config) {
    config.deadlines.placing_seconds = 1;
    config.deadlines.preparing_seconds = 1;
    config.deadlines.starting_seconds = 1;
    config.deadlines.stopping_seconds = 1;
    config.vm.shutdown_timeout_seconds = 1;
}

/// Waits until nothing is left of any VM.
async fn until_clean(house: &House) {
    eventually("nothing is left", PATIENCE, || async {
        let keys = house.keys().await;
        keys.iter().all(|key| key.contains("/use/")).then_some(())
    })
    .await
    .unwrap();
    let hosts = house.operator.get("/api/v1/hosts").await;
    for host in hosts.data()["hosts"].as_array().unwrap() {
        assert_eq!(host["used"]["vms"], 0, "{host}");
        assert_eq!(host["used"]["memory_mb"], 0, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_make_it_fails_the_creation_and_keeps_nothing() {
    let house = House::dev().await;
    let host = house
        .host_with(
            "host-1",
            Habits {
                broken: Some("the disk is full".to_owned()),
                ..Habits::default()
            },
        )
        .await;
    let made = house.operator.vm(json!({ "start": true })).await;
    let (vm, operation) = (made.id(), made.text("operation_id"));
    let over = house.operator.until_over(&operation).await;
    assert_eq!(over["state"], "failed");
    assert_eq!(over["error"], "prepare: the disk is full");
    let states: Vec<&Value> = over["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["state"])
        .collect();
    assert_eq!(states, ["undone", "undone", "undone"]);
    let failed = house.operator.until(&vm, "Error").await;
    assert_eq!(failed["state_reason"], "prepare: the disk is full");
    assert_eq!(
        (&failed["host_id"], &failed["operation_id"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(host.taken_down(&vm), 1);
    let hosts = house.operator.get("/api/v1/hosts").await;
    assert_eq!(hosts.data()["hosts"][0]["used"]["vms"], 0);
    // A start tries again.
    host.habits(|habits| habits.broken = None);
    let again = house.operator.ask(&vm, "start", json!({})).await;
    assert_eq!(again.text("state"), "Creating");
    house.operator.until(&vm, "Running").await;
    house.operator.delete(&format!("{VMS}/{vm}")).await.data();
    house.operator.until_gone(&vm).await;
    until_clean(&house).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_gets_ready_fails_the_creation_at_its_deadline() {
    let house = House::dev_with(hasty).await;
    let host = house
        .host_with(
            "host-1",
            Habits {
                slow: true,
                ..Habits::default()
            },
        )
        .await;
    let vm = house.operator.vm(json!({})).await.id();
    let failed = house.operator.until(&vm, "Error").await;
    let reason = failed["state_reason"].as_str().unwrap();
    assert!(
        reason.starts_with("prepare: it took longer than 1 s, waiting for"),
        "{reason}"
    );
    assert_eq!(host.taken_down(&vm), 1);
    house.operator.delete(&format!("{VMS}/{vm}")).await.data();
    house.operator.until_gone(&vm).await;
    until_clean(&house).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_want_of_the_last_room_one_gets() {
    let house = House::dev_with(|config| config.deadlines.placing_seconds = 5).await;
    let _host = house.host("host-1").await;
    let large = json!({ "memory_mib": 14 * 1024 });
    let made = tokio::join!(
        house.operator.vm(large.clone()),
        house.operator.vm(large.clone())
    );
    let mut states = Vec::new();
    for made in [made.0, made.1] {
        if made.status == 409 {
            assert_eq!(made.error(), (409, "NO_CAPACITY", ""));
            states.push("409".to_owned());
            continue;
        }
        let over = house.operator.until_over(&made.text("operation_id")).await;
        states.push(over["state"].as_str().unwrap().to_owned());
    }
    states.sort();
    assert!(
        states == ["done", "failed"] || states == ["409", "done"],
        "{states:?}"
    );
    // There is none for a third.
    let refused = house.operator.vm(large).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    assert_eq!(refused.details()["asked"]["memory_mib"], 14 * 1024);
    assert_eq!(refused.details()["largest_free"]["memory_mib"], 10 * 1024);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_while_it_is_made_ends_clean_wherever_it_is() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    // Before anything was done, in the middle, and as soon as it is prepared.
    for wait_for in ["", "its host to prepare it"] {
        host.habits(|habits| habits.slow = true);
        let made = house.operator.vm(json!({ "start": true })).await;
        let vm = made.id();
        if !wait_for.is_empty() {
            let is_so = |vm: &Value| vm["state_reason"].as_str().unwrap().contains(wait_for);
            house.operator.until_it(&vm, wait_for, is_so).await;
        }
        let deleted = house.operator.delete(&format!("{VMS}/{vm}")).await;
        assert_eq!(deleted.text("state"), "Deleting");
        let creation = house.operator.until_over(&made.text("operation_id")).await;
        assert_eq!(
            (&creation["state"], &creation["error"]),
            (&json!("cancelled"), &json!("the VM is deleted"))
        );
        house.operator.until_gone(&vm).await;
        assert_eq!(
            house
                .operator
                .until_over(&deleted.text("operation_id"))
                .await["state"],
            "done"
        );
        assert!(!host.has(&vm));
        host.habits(|habits| habits.slow = false);
        until_clean(&house).await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_host_makes_its_vms_unknown_and_remembers() {
    let house = House::dev().await;
    let mut host = house.host("host-1").await;
    let vm = house.operator.started().await;
    host.go_silent().await;
    let unknown = house.operator.until(&vm, "Unknown").await;
    let reason = unknown["state_reason"].as_str().unwrap();
    assert!(reason.starts_with("its host is silent"), "{reason}");
    let asked = house.operator.ask(&vm, "stop", json!({})).await;
    assert_eq!(
        (asked.status, asked.text("wanted_state").as_str()),
        (200, "Stopped")
    );
    house.operator.until(&vm, "Unknown").await;
    // Nobody places anything there.
    let refused = house.operator.vm(json!({})).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    host.come_back().await;
    house.operator.until(&vm, "Stopped").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_nothing_leaves_nothing_hanging() {
    let house = House::dev_with(hasty).await;
    let host = house.host("host-1").await;
    let vm = house.operator.made().await;
    host.habits(|habits| habits.idle = true);
    house.operator.ask(&vm, "start", json!({})).await.data();
    let error = house.operator.until(&vm, "Error").await;
    assert_eq!(error["state_reason"], "it did not start within 1 s");
    // Truth counts more.
    host.habits(|habits| habits.idle = false);
    house.operator.until(&vm, "Running").await;
    host.habits(|habits| habits.stuck = true);
    house.operator.ask(&vm, "stop", json!({})).await.data();
    let error = house.operator.until(&vm, "Error").await;
    assert!(
        error["state_reason"]
            .as_str()
            .unwrap()
            .contains("does not power it off"),
        "{error}"
    );
    assert_eq!(error["wanted_state"], "Stopped");
    host.habits(|habits| habits.stuck = false);
    house.operator.until(&vm, "Stopped").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_host_holds_up_nobody_else() {
    let house = House::dev_with(|config| config.placement.cpu_overcommit = 50.0).await;
    let _good = house.host("good").await;
    let bad = house.host("bad").await;
    bad.habits(|habits| habits.idle = true);
    let mut made = Vec::new();
    for _ in 0..40 {
        made.push(house.operator.vm(json!({})).await.id());
    }
    // They are spread over both; those of the good one are done.
    eventually("those of the good host are made", PATIENCE, || async {
        let vms = house.operator.get(&format!("{VMS}?state=Stopped")).await;
        let vms = vms.data()["vms"].as_array().unwrap().clone();
        assert!(vms.iter().all(|vm| vm["host_id"] == "good"));
        (vms.len() >= 15).then_some(())
    })
    .await
    .unwrap();
    bad.habits(|habits| habits.idle = false);
    for vm in made {
        house.operator.until(&vm, "Stopped").await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_again_goes_on_where_it_was() {
    let mut house = House::dev().await;
    let host = house.host("host-1").await;
    let running = house.operator.started().await;
    host.habits(|habits| habits.slow = true);
    let half_made = house.operator.vm(json!({ "start": true })).await.id();
    house
        .operator
        .until_it(&half_made, "placed", |vm| !vm["host_id"].is_null())
        .await;
    house.running.take().unwrap().stop().await;
    host.habits(|habits| habits.slow = false);
    host.power_off_from_within(&running);
    let again = over(config(&house.chainfire.endpoint())).await;
    let operator = crate::house::Caller::of(&again);
    operator.until(&half_made, "Running").await;
    operator.until(&running, "Stopped").await;
    assert_eq!(host.starts(&half_made), 1);
    house.running = Some(again);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_replaced_is_not_believed_until_somebody_accepts_it() {
    let mut house = House::dev().await;
    let host = house.host("host-1").await;
    let vm = house.operator.started().await;
    drop(host);
    Box::pin(house.chainfire.replace_by_empty()).await.unwrap();
    let operator = house.operator.clone();
    let config = config(&house.chainfire.endpoint());
    eventually("it says why it is not ready", PATIENCE, || async {
        let asked = operator.http.get(format!("{}/readyz", operator.base));
        let answer = asked.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status == 503 && text.contains("plasmavmc accept-store")).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(operator.vm(json!({})).await.status, 503);
    plasmavmc::accept_store(&config).await.unwrap();
    crate::house::ready(&operator).await;
    // What it knew is gone with the store that had it; what comes is done.
    operator.until_gone(&vm).await;
    let _host = house.host("host-2").await;
    let vm = house.operator.started().await;
    house.operator.delete(&format!("{VMS}/{vm}")).await.data();
    house.operator.until_gone(&vm).await;
    let trails = photon_store::audit::Trails::new(house.store().await, "plasmavmc");
    let verdict = trails.verify("project-shop", 1, u64::MAX).await.unwrap();
    assert!(verdict.records > 0 && verdict.complete && verdict.fault.is_none());
    house.stop().await;
}
