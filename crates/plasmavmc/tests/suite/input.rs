//! What people send.

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, VMS};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_by_its_field() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let operator = &house.operator;
    for (more, field) in [
        (json!({ "vcpus": 0 }), "vcpus"),
        (json!({ "vcpus": 10_000 }), "vcpus"),
        (json!({ "vcpus": -1 }), "vcpus"),
        (json!({ "vcpus": 1.5 }), "vcpus"),
        (json!({ "vcpus": "2" }), "vcpus"),
        (json!({ "vcpus": null }), "vcpus"),
        (json!({ "memory_mib": 0 }), "memory_mib"),
        (json!({ "memory_mib": u64::MAX }), "memory_mib"),
        (json!({ "disk_size_gb": 0 }), "disk_size_gb"),
        (json!({ "disk_size_gb": 1_000_000 }), "disk_size_gb"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "x".repeat(10_000) }), "name"),
        (json!({ "name": "a\u{0}b" }), "name"),
        (json!({ "org_id": "../x" }), "org_id"),
        (json!({ "project_id": "A" }), "project_id"),
        (json!({ "hypervisor": "xen" }), "hypervisor"),
        (json!({ "hypervisor": "<kvm/>" }), "hypervisor"),
        (json!({ "image_id": "../../etc/passwd" }), "image_id"),
        (json!({ "image_id": "x".repeat(10_000) }), "image_id"),
        (json!({ "labels": { "": "" } }), "labels"),
        (json!({ "labels": { "a": "\n" } }), "labels"),
        (json!({ "start": "yes" }), "start"),
        (json!({ "no_such_member": 1 }), "no_such_member"),
    ] {
        let answer = operator.vm(more.clone()).await;
        assert_eq!(answer.error(), (400, "VALIDATION_ERROR", field), "{more}");
    }
    // By its range, and not by what a number holds.
    for (more, range) in [
        (json!({ "vcpus": -1 }), "vcpus must be 1 to 256"),
        (
            json!({ "memory_mib": -1 }),
            "memory_mib must be 16 to 4194304",
        ),
        (
            json!({ "disk_size_gb": -1 }),
            "disk_size_gb must be 1 to 16384",
        ),
    ] {
        let answer = operator.vm(more).await;
        assert_eq!(answer.message(), range);
    }
    let text = operator.vm(json!({ "vcpus": "2" })).await;
    assert_eq!(text.message(), "vcpus must be an integer, not a string");
    // What is missing is told before where it should be.
    let nothing = operator.post(VMS, json!({ "name": "x" })).await;
    assert_eq!(nothing.error(), (400, "VALIDATION_ERROR", "vcpus"));
    let nowhere = operator
        .post(VMS, json!({ "name": "x", "vcpus": 1, "memory_mib": 64 }))
        .await;
    assert_eq!(nowhere.error(), (400, "VALIDATION_ERROR", "org_id"));
    // More than any host has.
    let large = operator.vm(json!({ "memory_mib": 4_000_000 })).await;
    assert_eq!(large.error(), (409, "NO_CAPACITY", ""));
    assert_eq!(large.details()["largest_free"]["memory_mib"], 24 * 1024);
    assert!(house.keys().await.is_empty());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_be_anything_that_is_a_text() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    for name in [
        "</name><evil/>",
        "$(reboot)",
        "../../etc/passwd",
        "'; drop table vms; --",
        "日本語",
        "a&b\"c'd",
    ] {
        let made = house
            .operator
            .vm(json!({ "name": name, "labels": { "what": name } }))
            .await;
        assert_eq!(made.text("name"), name);
        let vm = made.id();
        let made = house.operator.until(&vm, "Stopped").await;
        assert_eq!(
            (&made["name"], &made["labels"]["what"]),
            (&json!(name), &json!(name))
        );
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_vm_are_held_to_their_words() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let vm = house.operator.made().await;
    let path = format!("{VMS}/{vm}");
    for (call, field) in [
        (
            house
                .operator
                .ask(&vm, "stop", json!({ "force": "yes" }))
                .await,
            "force",
        ),
        (
            house
                .operator
                .ask(&vm, "stop", json!({ "gently": true }))
                .await,
            "gently",
        ),
        (
            house.operator.patch(&path, json!({ "vcpus": 4 })).await,
            "vcpus",
        ),
        (
            house.operator.patch(&path, json!({ "name": " " })).await,
            "name",
        ),
        (
            house.operator.get(&format!("{VMS}?state=running")).await,
            "state",
        ),
        (house.operator.get(&format!("{VMS}?limit=0")).await, "limit"),
        (
            house.operator.get(&format!("{VMS}?page_token=x")).await,
            "page_token",
        ),
        (
            house.operator.get(&format!("{VMS}?colour=red")).await,
            "colour",
        ),
        (
            house
                .operator
                .ask(&vm, "resize", json!({ "vcpus": 0 }))
                .await,
            "vcpus",
        ),
    ] {
        assert_eq!(call.error(), (400, "VALIDATION_ERROR", field), "{call:?}");
    }
    assert_eq!(
        house.operator.get(&format!("{path}/console")).await.error(),
        (503, "UNAVAILABLE", "")
    );
    // Nobody's.
    let nobody = "vm-019ac8e5-3c00-7001-8c00-000000000001";
    for what in [
        "start", "stop", "reboot", "pause", "suspend", "resume", "resize",
    ] {
        let answer = house
            .operator
            .call(Method::POST, &format!("{VMS}/{nobody}/{what}"), None, None)
            .await
            .unwrap();
        assert_eq!(answer.error(), (404, "NOT_FOUND", ""), "{what}");
    }
    for path in [
        format!("{VMS}/{nobody}"),
        format!("{VMS}/x"),
        "/api/v1/operations/op-1".to_owned(),
    ] {
        assert_eq!(
            house.operator.get(&path).await.error(),
            (404, "NOT_FOUND", ""),
            "{path}"
        );
    }
    let nothing = house.operator.get(&format!("{VMS}/invalid-id")).await;
    assert_eq!(
        nothing.message(),
        "\"invalid-id\" names nothing here: not an id of the form vm-<uuid>"
    );
    let foreign = format!("{path}?org_id=acme&project_id=other");
    assert_eq!(
        house.operator.get(&foreign).await.error(),
        (404, "NOT_FOUND", "")
    );
    let unchanged: Value = house.operator.get(&path).await.data().clone();
    assert_eq!(
        (&unchanged["state"], &unchanged["wanted_state"]),
        (&json!("Stopped"), &json!("Stopped"))
    );
    house.stop().await;
}
