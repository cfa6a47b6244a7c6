//! Larger and smaller VMs.

use std::collections::BTreeMap;

use photon_testkit::poll::eventually;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    house::{Caller, House, PATIENCE, VMS},
    paid::Paid,
};

async fn used(operator: &Caller) -> Value {
    let hosts = operator.get("/api/v1/hosts").await;
    hosts.data()["hosts"][0]["used"].clone()
}

/// Waits until so much of each kind is in use, and nothing held.
async fn until_units(paid: &Paid, expected: &[(&str, i64)]) {
    let expected: BTreeMap<String, (i64, i64)> = expected
        .iter()
        .map(|(kind, count)| ((*kind).to_owned(), (*count, 0)))
        .collect();
    let found = eventually("it counts as what it is", PATIENCE, || async {
        (paid.units().await == expected).then_some(())
    })
    .await;
    if found.is_err() {
        panic!("{:?}, not {expected:?}", paid.units().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_off_becomes_larger_and_smaller() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let operator = &house.operator;
    let made = operator.vm(json!({ "disk_size_gb": 2 })).await.id();
    operator.until(&made, "Stopped").await;
    let larger = json!({ "vcpus": 4, "memory_mib": 1024, "disk_size_gb": 5 });
    let resized = operator.ask(&made, "resize", larger.clone()).await;
    let sizes = |vm: &Value| {
        ["cpus", "memory_mb", "disk_size_gb"].map(|member| vm[member].as_u64().unwrap())
    };
    assert_eq!(sizes(resized.data()), [4, 1024, 5]);
    assert_eq!(
        used(operator).await,
        json!({ "vms": 1, "vcpus": 4, "memory_mb": 1024, "disk_size_gb": 5 })
    );
    eventually("its host is told", PATIENCE, || async {
        let wish = host.wish(&made).await;
        let is_so = (wish.vcpus, wish.memory_mib, wish.disks[0].size_gib) == (4, 1024, 5);
        is_so.then_some(())
    })
    .await
    .unwrap();
    // Again is the same, and what is absent stays.
    let settled = operator.until(&made, "Stopped").await;
    let again = operator.ask(&made, "resize", larger).await;
    assert_eq!(again.data()["revision"], settled["revision"]);
    let smaller = operator.ask(&made, "resize", json!({ "vcpus": 1 })).await;
    assert_eq!(sizes(smaller.data()), [1, 1024, 5]);
    assert_eq!(used(operator).await["vcpus"], 1);
    operator.ask(&made, "start", json!({})).await.data();
    operator.until(&made, "Running").await;
    for state in ["Running", "Paused", "Suspended"] {
        match state {
            "Paused" => operator.ask(&made, "pause", json!({})).await,
            "Suspended" => operator.ask(&made, "suspend", json!({})).await,
            _ => operator.get(&format!("{VMS}/{made}")).await,
        };
        operator.until(&made, state).await;
        let refused = operator.ask(&made, "resize", json!({ "vcpus": 2 })).await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""), "{state}");
    }
    // What is thrown away with the memory is waited for.
    operator.ask(&made, "stop", json!({})).await.data();
    operator
        .ask(&made, "resize", json!({ "memory_mib": 256 }))
        .await
        .data();
    operator.delete_vm(&made).await;
    assert_eq!(
        used(operator).await,
        json!({ "vms": 0, "vcpus": 0, "memory_mb": 0, "disk_size_gb": 0 })
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = operator.vm(json!({ "disk_size_gb": 2 })).await.id();
    let before = operator.until(&vm, "Stopped").await;
    for (body, field) in [
        (json!({}), "vcpus"),
        (json!({ "vcpus": 0 }), "vcpus"),
        (json!({ "vcpus": 257 }), "vcpus"),
        (json!({ "vcpus": "2" }), "vcpus"),
        (json!({ "memory_mib": 15 }), "memory_mib"),
        (json!({ "memory_mib": u64::MAX }), "memory_mib"),
        (json!({ "disk_size_gb": 1 }), "disk_size_gb"),
        (json!({ "disk_size_gb": 16_385 }), "disk_size_gb"),
        (json!({ "disk_gb": 3 }), "disk_gb"),
    ] {
        let refused = operator.ask(&vm, "resize", body.clone()).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field), "{body}");
    }
    // More than its host has, beside others.
    let other = operator.vm(json!({ "memory_mib": 20 * 1024 })).await.id();
    operator.until(&other, "Stopped").await;
    for (body, member, free) in [
        (json!({ "memory_mib": 5 * 1024 }), "memory_mib", 4 * 1024),
        (json!({ "vcpus": 8 }), "vcpus", 7),
        (json!({ "disk_size_gb": 1_001 }), "disk_size_gb", 1_000),
    ] {
        let refused = operator.ask(&vm, "resize", body).await;
        assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
        assert_eq!(refused.details()["largest_free"][member], free, "{member}");
    }
    let bare = operator.made().await;
    let refused = operator
        .ask(&bare, "resize", json!({ "disk_size_gb": 1 }))
        .await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    let after = operator.get(&format!("{VMS}/{vm}")).await;
    assert_eq!(after.data(), &before);
    assert_eq!(used(operator).await["disk_size_gb"], 2);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_counts_as_what_it_is_afterwards() {
    let paid = Paid::start(|config| config.billing.period_seconds = 60).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    paid.wallet(10_000, "metered").await;
    paid.limit("vcpu", 4).await;
    let vm = operator.vm(json!({ "disk_size_gb": 2 })).await.id();
    operator.until(&vm, "Stopped").await;
    let ask = async |body: Value| operator.ask(&vm, "resize", body).await;
    ask(json!({ "vcpus": 3, "memory_mib": 256, "disk_size_gb": 3 }))
        .await
        .data();
    until_units(
        &paid,
        &[("disk_gib", 3), ("memory_mib", 256), ("vcpu", 3), ("vm", 1)],
    )
    .await;
    // Larger in one thing and smaller in another.
    ask(json!({ "vcpus": 4, "memory_mib": 64 })).await.data();
    until_units(
        &paid,
        &[("disk_gib", 3), ("memory_mib", 64), ("vcpu", 4), ("vm", 1)],
    )
    .await;
    // More than there may be, and more than its host has: nothing changes.
    let refused = ask(json!({ "vcpus": 5 })).await;
    assert_eq!(refused.error(), (409, "QUOTA_EXCEEDED", ""));
    assert_eq!(refused.details()["lacking"][0]["kind"], "vcpu");
    let refused = ask(json!({ "memory_mib": 4_000_000 })).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    until_units(
        &paid,
        &[("disk_gib", 3), ("memory_mib", 64), ("vcpu", 4), ("vm", 1)],
    )
    .await;
    assert_eq!(used(operator).await["vcpus"], 4);
    ask(json!({ "vcpus": 1 })).await.data();
    until_units(
        &paid,
        &[("disk_gib", 3), ("memory_mib", 64), ("vcpu", 1), ("vm", 1)],
    )
    .await;
    // What it costs is by the size that it had then.
    operator.ask(&vm, "start", json!({})).await.data();
    let running = operator.until(&vm, "Running").await;
    assert_eq!(running["hold"]["amount"], 60 + 4);
    operator
        .ask(&vm, "stop", json!({ "force": true }))
        .await
        .data();
    operator.until(&vm, "Stopped").await;
    ask(json!({ "vcpus": 4 })).await.data();
    paid.until_reserved(0).await;
    crate::paid::seconds(&paid.charges().await, &vm);
    operator.ask(&vm, "start", json!({})).await.data();
    let running = operator.until(&vm, "Running").await;
    assert_eq!(running["hold"]["amount"], 240 + 4);
    operator.delete_vm(&vm).await;
    paid.until_nothing_is_held().await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_at_once_end_as_one_of_them() {
    let paid = Paid::start(|_| {}).await;
    let operator = &paid.house.operator;
    let _host = paid.house.host("host-1").await;
    let vm = operator.made().await;
    let mut asking = JoinSet::new();
    for number in 0..8_u64 {
        let (caller, vm) = (operator.clone(), vm.clone());
        let body = json!({ "vcpus": 2 + number % 4, "memory_mib": 128 + 64 * (number % 3) });
        asking.spawn(async move { caller.ask(&vm, "resize", body).await.status });
    }
    let statuses = asking.join_all().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let is = operator.get(&format!("{VMS}/{vm}")).await;
    let number = |member: &str| is.data()[member].as_i64().unwrap();
    let (cpus, memory) = (number("cpus"), number("memory_mb"));
    let used = used(operator).await;
    assert_eq!(
        (&used["vcpus"], &used["memory_mb"]),
        (&json!(cpus), &json!(memory))
    );
    until_units(&paid, &[("memory_mib", memory), ("vcpu", cpus), ("vm", 1)]).await;
    paid.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credit_service_nothing_grows_and_what_shrinks_is_counted_later() {
    let mut paid = Paid::start(|_| {}).await;
    let operator = paid.house.operator.clone();
    let _host = paid.house.host("host-1").await;
    let vm = operator.vm(json!({ "vcpus": 2 })).await.id();
    operator.until(&vm, "Stopped").await;
    paid.credit_goes().await;
    let refused = operator.ask(&vm, "resize", json!({ "vcpus": 3 })).await;
    assert_eq!(refused.error(), (503, "UNAVAILABLE", ""));
    let smaller = operator.ask(&vm, "resize", json!({ "vcpus": 1 })).await;
    assert_eq!(smaller.data()["cpus"], 1);
    paid.credit_returns().await;
    until_units(&paid, &[("memory_mib", 128), ("vcpu", 1), ("vm", 1)]).await;
    paid.stop().await;
}
