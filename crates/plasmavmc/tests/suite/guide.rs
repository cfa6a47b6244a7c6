//! The guide's lines, to the letter.

use serde_json::json;

use crate::house::{House, VMS};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_example_works() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let made = house
        .operator
        .post(
            VMS,
            json!({
                "name": "app-server", "org_id": "org-123", "project_id": "proj-456", "vcpus": 4, "memory_mib": 8192,
                "hypervisor": "kvm",
            }),
        )
        .await;
    assert_eq!(made.status, 201);
    for (member, value) in [
        ("name", json!("app-server")),
        ("state", json!("Creating")),
        ("cpus", json!(4)),
        ("memory_mb", json!(8192)),
    ] {
        assert_eq!(made.data()[member], value);
    }
    let vm = made.id();
    // As curl sends it: no body, no content type.
    let start = format!(
        "{}{VMS}/{vm}/start?org_id=org-123&project_id=proj-456",
        house.operator.base
    );
    let answer = house.operator.http.post(start).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{:?}", answer.text().await);
    house.operator.until(&vm, "Running").await;

    let listed = house
        .operator
        .get(&format!("{VMS}?org_id=org-123&project_id=proj-456"))
        .await;
    assert_eq!(listed.data()["vms"][0]["id"], json!(vm));
    let path = format!("{VMS}/{vm}?org_id=org-123&project_id=proj-456");
    assert_eq!(house.operator.get(&path).await.text("state"), "Running");
    let stop = format!("{VMS}/{vm}/stop?org_id=org-123&project_id=proj-456");
    house
        .operator
        .post(&stop, json!({ "force": false }))
        .await
        .data();
    house.operator.until(&vm, "Stopped").await;
    house.operator.delete(&path).await.data();
    house.operator.until_gone(&vm).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_nobody_has_is_told_by_its_field_and_how_to_add_one() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let refused = house
        .operator
        .post(
            VMS,
            json!({
                "name": "app-server-03", "org_id": "org-123", "project_id": "proj-456", "vcpus": 2, "memory_mib": 4096,
                "hypervisor": "kvm", "image_id": "ubuntu-22.04", "disk_size_gb": 50,
            }),
        )
        .await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "image_id"));
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("plasmavmc-agent image add"), "{message}");
    let images = house.operator.get("/api/v1/images").await;
    let image = &images.data()["images"][0];
    assert_eq!(image["id"], "photon-mini");
    // Exactly this one.
    let made = house
        .operator
        .vm(json!({ "image_id": image["digest"] }))
        .await;
    assert_eq!(
        (
            made.data()["image_id"].as_str(),
            &made.data()["image_digest"]
        ),
        (Some("photon-mini"), &image["digest"])
    );
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_unknown_ids_answer_as_the_guide_says() {
    let house = House::dev().await;
    assert_eq!(house.operator.get("/health").await.status, 200);
    assert_eq!(
        house
            .operator
            .get(&format!("{VMS}/invalid-id"))
            .await
            .error(),
        (404, "NOT_FOUND", "")
    );
    // Without a host there is no room, and that is said.
    let refused = house.operator.vm(json!({})).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("plasmavmc-agent"), "{message}");
    house.stop().await;
}
