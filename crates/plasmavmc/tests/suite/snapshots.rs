//! Snapshots, and going back to them.

use jiff::Timestamp;
use photon_store::Store;
use photon_testkit::poll::eventually;
use plasmavmc_model::{
    AttachedTo, ObservedSnapshot, ObservedVolume, ObservedVolumeState, SnapshotWish, Volume,
    VolumeId, VolumeState, VolumeStatus, volume,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    house::{Answer, Caller, House, PATIENCE, VMS, config, over},
    paid::Paid,
};

const SNAPSHOTS: &str = "/api/v1/snapshots";

async fn take(caller: &Caller, vm: &str) -> Answer {
    let body = json!({ "vm_id": vm, "name": "before" });
    caller.post(SNAPSHOTS, body).await
}

async fn show(caller: &Caller, id: &str) -> Answer {
    caller.get(&format!("{SNAPSHOTS}/{id}")).await
}

async fn until(caller: &Caller, id: &str, state: &str) -> Value {
    let what = format!("{id} is {state}");
    let found = eventually(&what, PATIENCE, || async {
        let answer = show(caller, id).await;
        Some(answer.data().clone()).filter(|found| found["state"] == state)
    });
    found.await.unwrap()
}

async fn until_gone(caller: &Caller, id: &str) {
    let what = format!("{id} is gone");
    let gone = eventually(&what, PATIENCE, || async {
        (show(caller, id).await.status == 404).then_some(())
    });
    gone.await.unwrap();
}

async fn taken(caller: &Caller, vm: &str) -> String {
    let id = take(caller, vm).await.id();
    until(caller, &id, "Ready").await;
    id
}

async fn revert(caller: &Caller, id: &str, body: Value) -> Answer {
    let path = format!("{SNAPSHOTS}/{id}/revert");
    caller.post(&path, body).await
}

/// A VM with a disk, stopped.
async fn made(caller: &Caller) -> String {
    let vm = caller.vm(json!({ "disk_size_gb": 2 })).await.id();
    caller.until(&vm, "Stopped").await;
    vm
}

async fn started(caller: &Caller) -> String {
    let vm = caller.vm(json!({ "disk_size_gb": 2, "start": true }));
    let vm = vm.await.id();
    caller.until(&vm, "Running").await;
    vm
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_once_listed_and_deleted() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = made(operator).await;
    let body = json!({ "vm_id": vm, "name": "before" });
    let new = operator.keyed("key-1", SNAPSHOTS, body.clone()).await;
    assert_eq!((new.status, new.text("state").as_str()), (201, "Creating"));
    for (member, value) in [
        ("name", json!("before")),
        ("vm_id", json!(vm)),
        ("volume_id", json!(null)),
        ("org_id", json!("acme")),
        ("project_id", json!("shop")),
        ("cpus", json!(1)),
        ("memory_mb", json!(128)),
        ("disk_size_gb", json!(2)),
        ("taken_at", json!(null)),
    ] {
        assert_eq!(new.data()[member], value, "{member}");
    }
    let first = new.id();
    let again = operator.keyed("key-1", SNAPSHOTS, body).await;
    assert_eq!((again.replayed, again.id()), (true, first.clone()));
    let ready = until(operator, &first, "Ready").await;
    assert_eq!(ready["memory"], false);
    assert!(ready["taken_at"].is_string());
    // One that runs has its memory in it; one that stands still, too.
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    let second = taken(operator, &vm).await;
    let ready = show(operator, &second).await;
    assert_eq!(
        (&ready.data()["memory"], &ready.data()["memory_bytes"]),
        (&json!(true), &json!(1 << 20))
    );
    operator.ask(&vm, "pause", json!({})).await.data();
    operator.until(&vm, "Paused").await;
    let third = taken(operator, &vm).await;
    assert_eq!(host.starts(&vm), 1);
    let other = made(operator).await;
    let fourth = taken(operator, &other).await;
    let all = |query: String| {
        let operator = operator.clone();
        async move {
            let path = format!("{SNAPSHOTS}{query}");
            operator.all(&path, "snapshots", "id").await
        }
    };
    let its = [first.clone(), second.clone(), third.clone()];
    assert_eq!(all(format!("?vm_id={vm}")).await, its);
    assert_eq!(all("?project_id=shop".to_owned()).await.len(), 4);
    assert_eq!(all(format!("?vm_id={other}")).await, [fourth]);
    assert!(all("?org_id=other".to_owned()).await.is_empty());
    let page = operator.get(&format!("{SNAPSHOTS}?limit=3")).await;
    assert_eq!(page.data()["snapshots"].as_array().unwrap().len(), 3);
    assert!(page.data()["next_page_token"].is_string());
    // Deleted it is gone from its host, and from what its host is told.
    let path = format!("{SNAPSHOTS}/{second}");
    host.habits(|habits| habits.slow_snapshots = true);
    let deleted = operator.delete(&path).await;
    assert_eq!(deleted.text("state"), "Deleting");
    let again = operator.delete(&path).await;
    assert_eq!(again.data()["revision"], deleted.data()["revision"]);
    let refused = revert(operator, &second, json!({})).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    host.habits(|habits| habits.slow_snapshots = false);
    until_gone(operator, &second).await;
    assert_eq!(host.snapshots(&vm), [first.clone(), third.clone()]);
    eventually("its host is told of two", PATIENCE, || async {
        (host.wish(&vm).await.snapshots.len() == 2).then_some(())
    })
    .await
    .unwrap();
    // The others go with the VM.
    operator.delete_vm(&vm).await;
    for id in [first, third] {
        assert_eq!(show(operator, &id).await.error(), (404, "NOT_FOUND", ""));
    }
    operator.delete_vm(&other).await;
    let keys = house.keys().await;
    assert!(keys.iter().all(|key| !key.contains("snapshot")), "{keys:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_snapshotted_is_refused() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = made(operator).await;
    let nobody = "vm-019ac8e5-3c00-7001-8c00-000000000001";
    let nothing = "vol-019ac8e5-3c00-7001-8c00-000000000001";
    for (body, field) in [
        (json!({ "vm_id": vm }), "name"),
        (json!({ "name": "x" }), "vm_id"),
        (json!({ "name": "", "vm_id": vm }), "name"),
        (json!({ "name": "x", "vm_id": "web" }), "vm_id"),
        (json!({ "name": "x", "volume_id": vm }), "volume_id"),
        (
            json!({ "name": "x", "vm_id": vm, "volume_id": nothing }),
            "volume_id",
        ),
        (json!({ "name": "x", "vm_id": vm, "labels": {} }), "labels"),
    ] {
        let refused = operator.post(SNAPSHOTS, body.clone()).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field), "{body}");
    }
    for body in [
        json!({ "name": "x", "vm_id": nobody }),
        json!({ "name": "x", "volume_id": nothing }),
    ] {
        let refused = operator.post(SNAPSHOTS, body.clone()).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", ""), "{body}");
    }
    for query in ["?vm_id=web", "?volume_id=x", "?limit=0", "?colour=red"] {
        let refused = operator.get(&format!("{SNAPSHOTS}{query}")).await;
        assert_eq!(refused.status, 400, "{query}");
    }
    for id in ["x", "snap-019ac8e5-3c00-7001-8c00-000000000001"] {
        assert_eq!(show(operator, id).await.error(), (404, "NOT_FOUND", ""));
        let refused = revert(operator, id, json!({})).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", ""));
        let refused = operator.delete(&format!("{SNAPSHOTS}/{id}")).await;
        assert_eq!(refused.error(), (404, "NOT_FOUND", ""));
    }
    // It has no place for one.
    let bare = operator.started().await;
    let refused = take(operator, &bare).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    // One at a time.
    host.habits(|habits| habits.slow_snapshots = true);
    let first = take(operator, &vm).await.id();
    let refused = take(operator, &vm).await;
    assert_eq!(refused.error(), (409, "CONFLICT", ""));
    let refused = revert(operator, &first, json!({})).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    host.habits(|habits| habits.slow_snapshots = false);
    until(operator, &first, "Ready").await;
    let refused = revert(operator, &first, json!({ "memory": true })).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    for body in [json!({ "memory": "yes" }), json!({ "disks": true })] {
        assert_eq!(revert(operator, &first, body).await.status, 400);
    }
    // Its disk does not grow while it has one.
    let refused = operator
        .ask(&vm, "resize", json!({ "disk_size_gb": 3 }))
        .await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    // Neither while it is suspended, nor when it is about to go.
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    operator.ask(&vm, "suspend", json!({})).await.data();
    operator.until(&vm, "Suspended").await;
    let refused = take(operator, &vm).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    host.habits(|habits| habits.stuck = true);
    operator.delete(&format!("{VMS}/{vm}")).await.data();
    assert_eq!(take(operator, &vm).await.error(), (409, "DELETING", ""));
    let path = format!("{SNAPSHOTS}/{first}");
    assert_eq!(operator.delete(&path).await.error(), (409, "DELETING", ""));
    let refused = revert(operator, &first, json!({})).await;
    assert_eq!(refused.error(), (409, "DELETING", ""));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_and_one_wins_of_several_at_once() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = made(operator).await;
    host.habits(|habits| habits.slow_snapshots = true);
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let (caller, vm) = (operator.clone(), vm.clone());
        asking.spawn(async move { take(&caller, &vm).await });
    }
    let answers = asking.join_all().await;
    let won: Vec<&Answer> = answers.iter().filter(|one| one.status == 201).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for lost in answers.iter().filter(|one| one.status != 201) {
        assert_eq!(lost.error(), (409, "CONFLICT", ""));
    }
    host.habits(|habits| habits.slow_snapshots = false);
    until(operator, &won[0].id(), "Ready").await;
    for _ in 1..32 {
        taken(operator, &vm).await;
    }
    let refused = take(operator, &vm).await;
    assert_eq!(refused.error(), (409, "LIMIT_EXCEEDED", ""));
    assert_eq!(refused.details()["limit"], 32);
    // One that is gone makes room.
    let path = format!("{SNAPSHOTS}/{}", won[0].id());
    operator.delete(&path).await.data();
    until_gone(operator, &won[0].id()).await;
    taken(operator, &vm).await;
    // And all of them go with the VM.
    operator.delete_vm(&vm).await;
    let keys = house.keys().await;
    assert!(keys.iter().all(|key| !key.contains("snap")), "{keys:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_says_why_and_leaves_nothing() {
    let house = House::dev_with(|config| config.deadlines.snapshot_seconds = 3).await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = made(operator).await;
    host.habits(|habits| habits.no_snapshots = Some("the disk is full".to_owned()));
    let failed = take(operator, &vm).await.id();
    let error = until(operator, &failed, "Error").await;
    assert_eq!(error["state_reason"], "the disk is full");
    // What was begun of it is to go; the record says why until it is deleted.
    eventually("it is to go", PATIENCE, || async {
        let wish = host.wish(&vm).await.snapshots;
        (wish[0].wish == SnapshotWish::Gone).then_some(())
    })
    .await
    .unwrap();
    host.habits(|habits| {
        habits.no_snapshots = None;
        habits.slow_snapshots = true;
    });
    let late = take(operator, &vm).await.id();
    let error = until(operator, &late, "Error").await;
    assert_eq!(error["state_reason"], "it was not taken within 3 s");
    host.habits(|habits| habits.slow_snapshots = false);
    let good = taken(operator, &vm).await;
    assert_eq!(host.snapshots(&vm), [good]);
    for id in [failed, late] {
        operator.delete(&format!("{SNAPSHOTS}/{id}")).await.data();
        until_gone(operator, &id).await;
    }
    assert_eq!(host.wish(&vm).await.snapshots.len(), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_become_as_they_were_while_a_vm_is_off() {
    let house = House::dev_with(|config| config.deadlines.snapshot_seconds = 5).await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = made(operator).await;
    let id = taken(operator, &vm).await;
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    let refused = revert(operator, &id, json!({})).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    operator.ask(&vm, "stop", json!({ "force": true })).await;
    operator.until(&vm, "Stopped").await;
    host.habits(|habits| habits.no_reverts = true);
    assert_eq!(revert(operator, &id, json!({})).await.id(), id);
    let shown = operator
        .until_it(&vm, "shown to be reverted", |vm| {
            let reason = vm["state_reason"].as_str().unwrap();
            reason == format!("it is being reverted to {id}")
        })
        .await;
    assert_eq!(shown["state"], "Stopped");
    // One thing at a time, and what it goes back to stays.
    let refused = revert(operator, &id, json!({})).await;
    assert_eq!(refused.error(), (409, "CONFLICT", ""));
    assert_eq!(take(operator, &vm).await.error(), (409, "CONFLICT", ""));
    let path = format!("{SNAPSHOTS}/{id}");
    assert_eq!(operator.delete(&path).await.error(), (409, "CONFLICT", ""));
    // What does not come about is an error, and may be asked for again.
    let failed = operator.until(&vm, "Error").await;
    let reason = failed["state_reason"].as_str().unwrap();
    assert!(reason.contains("not reverted within 5 s"), "{reason}");
    revert(operator, &id, json!({})).await.data();
    host.habits(|habits| habits.no_reverts = false);
    let stopped = operator
        .until_it(&vm, "reverted", |vm| {
            vm["state"] == "Stopped" && vm["state_reason"] == "powered off"
        })
        .await;
    assert_eq!(stopped["wanted_state"], "Stopped");
    let asked = host.wish(&vm).await.revert.unwrap();
    assert_eq!(host.reverted(&vm), asked.number);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_memory_a_vm_runs_then_whatever_it_did() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = started(operator).await;
    let id = taken(operator, &vm).await;
    let boot = host.wish(&vm).await.boot;
    for (number, what) in ["", "pause", "suspend", "stop"].into_iter().enumerate() {
        let number = u64::try_from(number).unwrap() + 1;
        if !what.is_empty() {
            operator.ask(&vm, what, json!({})).await.data();
            let state = [
                ("pause", "Paused"),
                ("suspend", "Suspended"),
                ("stop", "Stopped"),
            ];
            let state = state.iter().find(|(asked, _)| *asked == what).unwrap().1;
            operator.until(&vm, state).await;
        }
        let before = host.reverted(&vm);
        revert(operator, &id, json!({})).await.data();
        eventually("it is reverted", PATIENCE, || async {
            (host.reverted(&vm) > before).then_some(())
        })
        .await
        .unwrap();
        let running = operator.until(&vm, "Running").await;
        assert_eq!(running["state_reason"], "");
        assert_eq!((host.starts(&vm), host.resumes(&vm)), (1, number));
        assert_eq!(host.wish(&vm).await.boot, boot + number);
    }
    // Its memory fits nothing else; its disks do.
    operator.ask(&vm, "stop", json!({ "force": true })).await;
    operator.until(&vm, "Stopped").await;
    let larger = json!({ "vcpus": 2, "memory_mib": 256 });
    operator.ask(&vm, "resize", larger).await.data();
    let refused = revert(operator, &id, json!({})).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    assert_eq!(refused.details()["differ"], json!(["vcpus", "memory_mib"]));
    let before = host.reverted(&vm);
    revert(operator, &id, json!({ "memory": false }))
        .await
        .data();
    eventually("its disks are", PATIENCE, || async {
        (host.reverted(&vm) > before).then_some(())
    })
    .await
    .unwrap();
    let stopped = operator.until(&vm, "Stopped").await;
    assert_eq!(stopped["wanted_state"], "Stopped");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_that_starts_a_vm_is_paid_for_as_a_start() {
    let paid = Paid::start(|config| config.billing.period_seconds = 600).await;
    let operator = &paid.house.operator;
    let host = paid.house.host("host-1").await;
    paid.wallet(2_000, "metered").await;
    let vm = started(operator).await;
    let id = taken(operator, &vm).await;
    // What runs goes on with its bill.
    let before = operator.get(&format!("{VMS}/{vm}")).await;
    revert(operator, &id, json!({})).await.data();
    eventually("it is reverted", PATIENCE, || async {
        (host.reverted(&vm) > 0).then_some(())
    })
    .await
    .unwrap();
    let reverted = host.reverted(&vm);
    let after = operator.until(&vm, "Running").await;
    assert_eq!(
        before.data()["hold"]["reservation_id"],
        after["hold"]["reservation_id"]
    );
    operator.ask(&vm, "stop", json!({ "force": true })).await;
    operator.until(&vm, "Stopped").await;
    paid.until_reserved(0).await;
    let free = paid.figure("balance").await;
    let body = json!({ "project_id": "shop", "amount": free - 674 });
    let other = paid.at_credit.post("/api/v1/reservations", body).await.id();
    let refused = revert(operator, &id, json!({})).await;
    assert_eq!(refused.error(), (409, "INSUFFICIENT_CREDIT", ""));
    let still = operator.get(&format!("{VMS}/{vm}")).await;
    assert_eq!(still.text("wanted_state"), "Stopped");
    assert_eq!(host.reverted(&vm), reverted);
    let release = format!("/api/v1/reservations/{other}/release");
    paid.at_credit.post(&release, json!({})).await.data();
    revert(operator, &id, json!({})).await.data();
    let running = operator.until(&vm, "Running").await;
    assert_eq!(running["hold"]["amount"], 675);
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_has_done_while_nobody_led_is_seen() {
    let mut house = House::dev().await;
    let host = house.host("host-1").await;
    let vm = made(&house.operator).await;
    host.habits(|habits| habits.slow_snapshots = true);
    let id = take(&house.operator, &vm).await.id();
    eventually("its host is told", PATIENCE, || async {
        (!host.wish(&vm).await.snapshots.is_empty()).then_some(())
    })
    .await
    .unwrap();
    house.running.take().unwrap().stop().await;
    host.habits(|habits| habits.slow_snapshots = false);
    eventually("it is taken", PATIENCE, || async {
        (host.snapshots(&vm).len() == 1).then_some(())
    })
    .await
    .unwrap();
    let again = over(config(&house.chainfire.endpoint())).await;
    house.operator = Caller::of(&again);
    house.running = Some(again);
    until(&house.operator, &id, "Ready").await;
    house.stop().await;
}

/// A volume that is there, as whoever makes volumes would have written it.
async fn volume(store: &Store, vm: Option<&str>) -> Volume {
    let now = Timestamp::now();
    let volume = Volume {
        id: VolumeId::generate(),
        name: "data".to_owned().try_into().unwrap(),
        org: "acme".parse().unwrap(),
        project: "shop".parse().unwrap(),
        size_gib: 1,
        pool: "local".parse().unwrap(),
        host: "host-1".parse().unwrap(),
        labels: plasmavmc_model::Labels::default(),
        generation: 1,
        attached: vm.map(|vm| AttachedTo {
            vm: vm.parse().unwrap(),
            detaching: None,
        }),
        snapshots: Vec::new(),
        revert: None,
        deleting: None,
        units: None,
        status: VolumeStatus {
            state: if vm.is_some() {
                VolumeState::InUse
            } else {
                VolumeState::Available
            },
            reason: String::new(),
            since: now,
        },
        created_at: now,
        updated_at: now,
    };
    let all = store.collection::<Volume>();
    all.create(&volume.key(), volume.clone()).await.unwrap();
    volume
}

async fn stored(store: &Store, volume: &Volume) -> Volume {
    let all = store.collection::<Volume>();
    all.get(&volume.key()).await.unwrap().unwrap().value
}

/// What its host tells of a volume that it has done all that is wanted of.
async fn tell(store: &Store, volume: &Volume) {
    let is = stored(store, volume).await;
    let there = is
        .snapshots
        .iter()
        .filter(|one| one.wish == SnapshotWish::Kept);
    let told = ObservedVolume {
        generation: is.generation,
        state: ObservedVolumeState::Ready,
        size_gib: is.size_gib,
        reason: String::new(),
        snapshots: there
            .map(|one| ObservedSnapshot {
                id: one.id,
                failed: None,
                at: Timestamp::now(),
                memory: false,
                memory_bytes: 0,
            })
            .collect(),
        reverted: is.revert.map_or(0, |revert| revert.number),
        since: Timestamp::now(),
    };
    let all = store.collection::<ObservedVolume>();
    let key = volume::observed_key(&is.host, is.id);
    let written = match all.get(&key).await.unwrap() {
        Some(mut found) => {
            found.value = told;
            all.replace(found).await
        }
        None => all.create(&key, told).await,
    };
    written.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_has_snapshots_of_its_own() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    host.habits(|habits| habits.volumes.mute = true);
    let operator = &house.operator;
    let store = house.store().await;
    let free = volume(&store, None).await;
    tell(&store, &free).await;
    let take = async |of: &Volume| {
        let body = json!({ "volume_id": of.id.to_string(), "name": "before" });
        operator.post(SNAPSHOTS, body).await
    };
    let new = take(&free).await;
    assert_eq!((new.status, new.text("state").as_str()), (201, "Creating"));
    assert_eq!(new.data()["vm_id"], json!(null));
    assert_eq!(new.data()["volume_id"], json!(free.id.to_string()));
    let id = new.id();
    let is = stored(&store, &free).await;
    assert_eq!((is.generation, is.snapshots.len()), (2, 1));
    assert_eq!(take(&free).await.error(), (409, "CONFLICT", ""));
    tell(&store, &free).await;
    until(operator, &id, "Ready").await;
    let query = format!("{SNAPSHOTS}?volume_id={}", free.id);
    assert_eq!(
        operator.all(&query, "snapshots", "id").await,
        std::slice::from_ref(&id)
    );
    // Back to it, once.
    let refused = revert(operator, &id, json!({ "memory": true })).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    revert(operator, &id, json!({})).await.data();
    let is = stored(&store, &free).await;
    let asked = is.revert.unwrap();
    assert!(asked.number > 0 && !asked.memory);
    let refused = revert(operator, &id, json!({})).await;
    assert_eq!(refused.error(), (409, "CONFLICT", ""));
    let path = format!("{SNAPSHOTS}/{id}");
    assert_eq!(operator.delete(&path).await.error(), (409, "CONFLICT", ""));
    tell(&store, &free).await;
    assert_eq!(operator.delete(&path).await.text("state"), "Deleting");
    tell(&store, &free).await;
    until_gone(operator, &id).await;
    assert!(stored(&store, &free).await.snapshots.is_empty());
    // Of one that a VM has, only while that is off.
    let vm = made(operator).await;
    let its = volume(&store, Some(&vm)).await;
    tell(&store, &its).await;
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    let refused = take(&its).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    operator.ask(&vm, "stop", json!({ "force": true })).await;
    operator.until(&vm, "Stopped").await;
    let id = take(&its).await.id();
    tell(&store, &its).await;
    until(operator, &id, "Ready").await;
    house.stop().await;
}
