//! What becomes of a VM, and of what is asked of it.

use photon_testkit::poll::eventually;
use serde_json::json;
use tokio::task::JoinSet;

use crate::house::{House, PATIENCE, VMS};

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_made_runs_stops_and_is_gone_from_everywhere() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let made = operator
        .vm(json!({ "disk_size_gb": 10, "hypervisor": "kvm" }))
        .await;
    assert_eq!(
        (made.status, made.text("state").as_str()),
        (201, "Creating")
    );
    let vm = made.id();
    let operation = operator.until_over(&made.text("operation_id")).await;
    assert_eq!(
        (&operation["state"], &operation["percent"]),
        (&json!("done"), &json!(100))
    );
    assert_eq!(operation["target_id"], json!(vm));
    let stopped = operator.until(&vm, "Stopped").await;
    assert_eq!(
        (&stopped["host_id"], &stopped["operation_id"]),
        (&json!("host-1"), &json!(null))
    );
    let hosts = operator.get("/api/v1/hosts").await;
    let used = &hosts.data()["hosts"][0]["used"];
    assert_eq!(
        used,
        &json!({ "vms": 1, "vcpus": 1, "memory_mb": 128, "disk_size_gb": 10 })
    );

    assert_eq!(
        operator.ask(&vm, "start", json!({})).await.text("state"),
        "Starting"
    );
    let running = operator.until(&vm, "Running").await;
    // Asked for, and what it came to.
    assert_eq!(running["hypervisor"], "kvm");
    assert_eq!(running["hypervisor_in_use"], "qemu");
    assert_eq!(
        operator
            .ask(&vm, "stop", json!({ "force": false }))
            .await
            .text("state"),
        "Stopping"
    );
    let stopped = operator.until(&vm, "Stopped").await;
    assert_eq!(stopped["state_reason"], "");

    let path = format!("{VMS}/{vm}");
    let deleted = operator.delete(&path).await;
    assert_eq!(deleted.text("state"), "Deleting");
    let deletion = deleted.text("operation_id");
    operator.until_gone(&vm).await;
    assert!(!host.has(&vm));
    assert_eq!(
        operator
            .get(&format!("/api/v1/operations/{deletion}"))
            .await
            .text("state"),
        "done"
    );
    eventually("nothing is left", PATIENCE, || async {
        let keys = house.keys().await;
        let sums = [
            "/photon/plasmavmc/pool-use/local/host-1",
            "/photon/plasmavmc/use/host-1",
        ];
        (keys == sums).then_some(())
    })
    .await
    .unwrap();
    let used = &operator.get("/api/v1/hosts").await.data()["hosts"][0]["used"].clone();
    assert_eq!(
        used,
        &json!({ "vms": 0, "vcpus": 0, "memory_mb": 0, "disk_size_gb": 0 })
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_before_it_is_made_is_remembered() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    host.habits(|habits| habits.slow = true);
    let vm = house.operator.vm(json!({})).await.id();
    let asked = house.operator.ask(&vm, "start", json!({})).await;
    assert_eq!(
        (asked.status, asked.text("state").as_str()),
        (200, "Creating")
    );
    assert_eq!(asked.text("wanted_state"), "Running");
    // Asked again it changes nothing.
    let again = house.operator.ask(&vm, "start", json!({})).await;
    assert_eq!(again.text("wanted_state"), "Running");
    house
        .operator
        .until_it(&vm, "being prepared", |vm| {
            vm["state_reason"].as_str().unwrap().contains("prepare")
        })
        .await;
    host.habits(|habits| habits.slow = false);
    house.operator.until(&vm, "Running").await;
    assert_eq!(host.starts(&vm), 1);
    // And so is a stop.
    host.habits(|habits| habits.slow = true);
    let other = house.operator.vm(json!({ "start": true })).await.id();
    assert_eq!(
        house
            .operator
            .ask(&other, "stop", json!({}))
            .await
            .text("state"),
        "Creating"
    );
    host.habits(|habits| habits.slow = false);
    house.operator.until(&other, "Stopped").await;
    assert_eq!(host.starts(&other), 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_starts_are_one() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let vm = house.operator.made().await;
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let (operator, vm) = (house.operator.clone(), vm.clone());
        asking.spawn(async move { operator.ask(&vm, "start", json!({})).await.status });
    }
    let answers = asking.join_all().await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    house.operator.until(&vm, "Running").await;
    assert_eq!(host.starts(&vm), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_is_another_boot_and_only_of_what_is_to_run() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let vm = house.operator.started().await;
    for force in [false, true] {
        let before = host.starts(&vm);
        let asked = house
            .operator
            .ask(&vm, "reboot", json!({ "force": force }))
            .await;
        assert_eq!(asked.text("state"), "Starting");
        eventually("it has booted again", PATIENCE, || async {
            (host.starts(&vm) == before + 1).then_some(())
        })
        .await
        .unwrap();
        house.operator.until(&vm, "Running").await;
    }
    house
        .operator
        .ask(&vm, "stop", json!({ "force": true }))
        .await
        .data();
    house.operator.until(&vm, "Stopped").await;
    let refused = house.operator.ask(&vm, "reboot", json!({})).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_powers_itself_off_stays_off_and_a_host_that_lost_power_starts_it_again() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let vm = house.operator.started().await;
    host.power_off_from_within(&vm);
    let stopped = house.operator.until(&vm, "Stopped").await;
    assert_eq!(stopped["state_reason"], "the guest powered off");
    house
        .operator
        .until_it(&vm, "not wanted to run", |vm| {
            vm["wanted_state"] == "Stopped"
        })
        .await;
    assert_eq!(host.starts(&vm), 1);
    house.operator.ask(&vm, "start", json!({})).await.data();
    house.operator.until(&vm, "Running").await;
    assert_eq!(host.starts(&vm), 2);
    host.lose_power();
    eventually("it is started again", PATIENCE, || async {
        (host.starts(&vm) == 3).then_some(())
    })
    .await
    .unwrap();
    house.operator.until(&vm, "Running").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_listen_is_powered_off_and_that_is_said() {
    let house = House::dev_with(|config| config.vm.shutdown_timeout_seconds = 1).await;
    let host = house.host("host-1").await;
    host.habits(|habits| habits.deaf_guests = true);
    let vm = house.operator.started().await;
    house
        .operator
        .ask(&vm, "stop", json!({ "force": false }))
        .await
        .data();
    let stopped = house.operator.until(&vm, "Stopped").await;
    assert_eq!(stopped["state_reason"], "powered off");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_in_haste_overtakes_one_that_is_not() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    host.habits(|habits| habits.deaf_guests = true);
    let vm = house.operator.started().await;
    house.operator.ask(&vm, "stop", json!({})).await.data();
    house.operator.until(&vm, "Stopping").await;
    house
        .operator
        .ask(&vm, "stop", json!({ "force": true }))
        .await
        .data();
    house.operator.until(&vm, "Stopped").await;
    // A start overtakes a stop, too: the boot that ends is followed by another.
    house.operator.ask(&vm, "start", json!({})).await.data();
    house.operator.until(&vm, "Running").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_call_it_changes_and_protection_protects() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let vm = house.operator.made().await;
    let path = format!("{VMS}/{vm}");
    let change =
        json!({ "name": "db <&>", "labels": { "tier": "db" }, "deletion_protection": true });
    let changed = house.operator.patch(&path, change.clone()).await;
    for (member, value) in change.as_object().unwrap() {
        assert_eq!(&changed.data()[member], value);
    }
    let refused = house.operator.delete(&path).await;
    assert_eq!(refused.error(), (409, "DELETION_PROTECTED", ""));
    let stale = house
        .operator
        .patch_if("\"1\"", &path, json!({ "name": "x" }))
        .await;
    assert_eq!(stale.error(), (409, "CONFLICT", ""));
    let etag = house.operator.get(&path).await.etag.unwrap();
    house
        .operator
        .patch_if(&etag, &path, json!({ "name": "y" }))
        .await
        .data();
    house
        .operator
        .patch(&path, json!({ "deletion_protection": false }))
        .await
        .data();
    house.operator.delete(&path).await.data();
    house.operator.until_gone(&vm).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_being_deleted_takes_no_requests() {
    let house = House::dev().await;
    let mut host = house.host("host-1").await;
    let vm = house.operator.started().await;
    host.go_silent().await;
    let path = format!("{VMS}/{vm}");
    let first = house.operator.delete(&path).await;
    // Again is the same.
    let again = house.operator.delete(&path).await;
    assert_eq!(first.text("operation_id"), again.text("operation_id"));
    for what in ["start", "stop", "reboot"] {
        let refused = house.operator.ask(&vm, what, json!({})).await;
        assert_eq!(refused.error(), (409, "DELETING", ""), "{what}");
    }
    let refused = house.operator.patch(&path, json!({ "name": "x" })).await;
    assert_eq!(refused.error(), (409, "DELETING", ""));
    // It waits for its host, and says so; then it is done.
    let waiting = house
        .operator
        .until_it(&vm, "waiting", |vm| {
            vm["state_reason"].as_str().unwrap().contains("silent")
        })
        .await;
    assert_eq!(waiting["state"], "Deleting");
    host.come_back().await;
    house.operator.until_gone(&vm).await;
    assert!(!host.has(&vm));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_narrowed_and_paged() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(house.operator.made().await);
    }
    house.operator.ask(&ids[0], "start", json!({})).await.data();
    house.operator.until(&ids[0], "Running").await;
    let all = |query: &'static str| {
        let operator = house.operator.clone();
        async move { operator.all(&format!("{VMS}{query}"), "vms", "id").await }
    };
    assert_eq!(all("?org_id=acme&project_id=shop").await, ids);
    assert_eq!(all("?state=Running").await, ids[..1]);
    assert_eq!(all("?state=Stopped").await, ids[1..]);
    assert!(all("?org_id=other").await.is_empty());
    assert!(all("?name=nobody").await.is_empty());
    let page = house.operator.get(&format!("{VMS}?limit=2")).await;
    assert_eq!(page.data()["vms"].as_array().unwrap().len(), 2);
    assert!(page.data()["next_page_token"].is_string());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_are_one_service() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let other = crate::house::over(crate::house::config(&house.chainfire.endpoint())).await;
    let beside = crate::house::Caller::of(&other);
    beside.until_host("host-1", "up").await;
    let vm = beside.started().await;
    house.operator.until(&vm, "Running").await;
    // The one that leads goes; the other takes over.
    let mut house = house;
    house.running.take().unwrap().stop().await;
    beside.ask(&vm, "stop", json!({})).await.data();
    beside.until(&vm, "Stopped").await;
    beside.delete(&format!("{VMS}/{vm}")).await.data();
    beside.until_gone(&vm).await;
    assert_eq!(host.taken_down(&vm), 1);
    other.stop().await;
    house.stop().await;
}
