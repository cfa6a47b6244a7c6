//! What PlasmaVMC is asked for volumes, snapshots, pools, and the power of VMs, and what is waited for; against answers that are written down.

use serde_json::{Value, json};

use crate::{scripted::Scripted, shell::Shell};

const VM: &str = "vm-019ac8e5-3c00-7001-8c00-000000000001";
const VOLUME: &str = "vol-019ac8e5-3c00-7001-8c00-000000000002";
const SNAPSHOT: &str = "snap-019ac8e5-3c00-7001-8c00-000000000003";

fn shell(service: &Scripted) -> Shell {
    Shell {
        home: tempfile::tempdir().unwrap(),
        iam: String::new(),
        credit: String::new(),
        network: String::new(),
        compute: service.address.clone(),
    }
}

fn vm(state: &str, wanted: &str) -> Value {
    json!({
        "id": VM, "name": "web", "state": state, "wanted_state": wanted, "state_reason": "",
        "state_since": "2026-11-23T00:00:00Z",
    })
}

fn volume(state: &str, of: Option<&str>) -> Value {
    json!({
        "id": VOLUME, "name": "data", "state": state, "state_reason": "", "state_since": "2026-11-23T00:00:00Z",
        "size_gb": 20, "pool": "local", "vm_id": of, "labels": { "tier": "db" },
    })
}

fn snapshot(state: &str) -> Value {
    json!({
        "id": SNAPSHOT, "name": "then", "state": state, "state_reason": "", "vm_id": VM, "volume_id": null,
        "memory": true, "taken_at": null,
    })
}

/// The lines of a script: `METHOD path` below `/api/v1/`.
fn line(method: &str, words: &[&str]) -> String {
    format!("{method} /api/v1/{}", words.join("/"))
}

#[tokio::test]
async fn a_vm_stands_still_sleeps_goes_on_and_grows() {
    let look = line("GET", &["vms", VM]);
    for (words, verb, body, looks, state) in [
        ("pause", "pause", "{}", ["Running", "Paused"], "Paused"),
        (
            "suspend",
            "suspend",
            "{}",
            ["Running", "Suspended"],
            "Suspended",
        ),
        ("resume", "resume", "{}", ["Paused", "Running"], "Running"),
        (
            "resize --vcpus 2 --memory-mib 4G --disk-gb 20",
            "resize",
            r#"{"vcpus":2,"memory_mib":4096,"disk_size_gb":20}"#,
            ["Stopped", "Stopped"],
            "Stopped",
        ),
    ] {
        let ask = line("POST", &["vms", VM, verb]);
        let all = json!({ "vms": [vm("Running", "Running")] });
        let service = Scripted::start(&[
            (&ask, &[vm(looks[0], state)]),
            (&look, &looks.map(|looked| vm(looked, state))),
            ("GET /api/v1/vms", &[all]),
        ])
        .await;
        let (verb, more) = words.split_once(' ').unwrap_or((words, ""));
        let words = format!("vm {verb} web {more} --wait");
        let words = words.replace("  ", " ");
        let shown = shell(&service).shows(&words).await;
        assert_eq!(shown["state"], state, "{words}");
        assert_eq!(service.changes(), [format!("{ask} {body}")], "{words}");
    }
}

#[tokio::test]
async fn who_waits_for_a_pause_hears_that_it_will_not_be() {
    let (ask, look) = (
        line("POST", &["vms", VM, "pause"]),
        line("GET", &["vms", VM]),
    );
    let service = Scripted::start(&[
        (&ask, &[vm("Running", "Paused")]),
        (&look, &[vm("Running", "Running")]),
    ])
    .await;
    let (code, message) = shell(&service)
        .fails(&format!("vm pause {VM} --wait"))
        .await;
    assert_eq!(code, 6);
    assert!(message.contains("is wanted Running meanwhile"), "{message}");
}

#[tokio::test]
async fn a_volume_from_its_making_to_its_end() {
    let (look, all) = (
        line("GET", &["volumes", VOLUME]),
        json!({ "volumes": [volume("Available", None)] }),
    );
    let service = Scripted::start(&[
        ("POST /api/v1/volumes", &[volume("Creating", None)]),
        (
            &look,
            &[
                volume("Creating", None),
                volume("Available", None),
                volume("InUse", Some(VM)),
            ],
        ),
        ("GET /api/v1/volumes", &[all]),
        (
            "GET /api/v1/vms",
            &[json!({ "vms": [vm("Running", "Running")] })],
        ),
        (
            &line("POST", &["volumes", VOLUME, "attach"]),
            &[volume("Available", Some(VM))],
        ),
    ])
    .await;
    let shell_of = shell(&service);
    let made = "volume create data --size 20G --label tier=db --org acme --project shop --wait";
    assert_eq!(shell_of.shows(made).await["state"], "Available");
    let body = r#"{"name":"data","size_gb":20,"labels":{"tier":"db"},"org_id":"acme","project_id":"shop"}"#;
    assert_eq!(service.changes(), [format!("POST /api/v1/volumes {body}")]);
    let attached = shell_of.says("vm attach web data --wait").await;
    assert!(
        attached.contains("InUse") && attached.contains("tier=db"),
        "{attached}"
    );
    let ask = line("POST", &["volumes", VOLUME, "attach"]);
    assert_eq!(service.changes(), [format!(r#"{ask} {{"vm_id":"{VM}"}}"#)]);

    let (detach, gone) = (
        line("POST", &["volumes", VOLUME, "detach"]),
        line("DELETE", &["volumes", VOLUME]),
    );
    let service = Scripted::start(&[
        (&detach, &[volume("Detaching", Some(VM))]),
        (&gone, &[volume("Deleting", None)]),
        (
            &line("POST", &["volumes", VOLUME, "resize"]),
            &[volume("Available", None)],
        ),
        (
            &look,
            &[
                volume("InUse", Some(VM)),
                volume("Detaching", Some(VM)),
                volume("Available", None),
                volume("Deleting", None),
                Value::Null,
            ],
        ),
    ])
    .await;
    let shell_of = shell(&service);
    let detached = shell_of
        .shows(&format!("vm detach {VM} {VOLUME} --wait"))
        .await;
    assert_eq!(detached["state"], "Available");
    shell_of.says(&format!("volume resize {VOLUME} 1T")).await;
    let deleted = shell_of
        .says(&format!("volume delete {VOLUME} --wait"))
        .await;
    assert_eq!(deleted, format!("{VOLUME} deleted\n"));
    let resize = format!(
        r#"{} {{"size_gb":1024}}"#,
        line("POST", &["volumes", VOLUME, "resize"])
    );
    assert_eq!(service.changes(), [format!("{detach} {{}}"), resize, gone]);
}

#[tokio::test]
async fn a_volume_is_taken_from_no_other_vm() {
    let look = line("GET", &["volumes", VOLUME]);
    let service = Scripted::start(&[(&look, &[volume("InUse", Some("vm-other"))])]).await;
    let (code, message) = shell(&service)
        .fails(&format!("vm detach {VM} {VOLUME}"))
        .await;
    assert_eq!(code, 6);
    assert!(message.contains("does not have the volume"), "{message}");
    assert!(service.changes().is_empty());
}

#[tokio::test]
async fn who_waits_for_a_volume_hears_why_it_is_not_made() {
    let mut error = volume("Error", None);
    error["state_reason"] = "no space left".into();
    let service = Scripted::start(&[
        ("POST /api/v1/volumes", &[volume("Creating", None)]),
        (
            &line("GET", &["volumes", VOLUME]),
            &[volume("Creating", None), error],
        ),
    ])
    .await;
    let words = "volume create data --size 20 --org acme --project shop --wait";
    let (code, message) = shell(&service).fails(words).await;
    assert_eq!(code, 6);
    assert!(
        message.contains("data is Error: no space left"),
        "{message}"
    );
}

#[tokio::test]
async fn a_snapshot_is_taken_gone_back_to_and_deleted() {
    let look = line("GET", &["snapshots", SNAPSHOT]);
    let revert = line("POST", &["snapshots", SNAPSHOT, "revert"]);
    let gone = line("DELETE", &["snapshots", SNAPSHOT]);
    let mut reverting = vm("Starting", "Running");
    reverting["state_reason"] = "it is being reverted to a snapshot".into();
    let service = Scripted::start(&[
        ("POST /api/v1/snapshots", &[snapshot("Creating")]),
        (
            &look,
            &[
                snapshot("Creating"),
                snapshot("Ready"),
                snapshot("Ready"),
                snapshot("Deleting"),
                Value::Null,
            ],
        ),
        (
            "GET /api/v1/snapshots",
            &[json!({ "snapshots": [snapshot("Ready")] })],
        ),
        (&revert, &[snapshot("Ready")]),
        (
            &line("GET", &["vms", VM]),
            &[reverting, vm("Running", "Running")],
        ),
        (&gone, &[snapshot("Deleting")]),
    ])
    .await;
    let shell_of = shell(&service);
    let taken = shell_of
        .shows(&format!("snapshot create then --vm {VM} --wait"))
        .await;
    assert_eq!(taken["state"], "Ready");
    let back = shell_of.shows("snapshot revert then --wait").await;
    assert_eq!(
        (&back["id"], &back["state"]),
        (&json!(VM), &json!("Running"))
    );
    shell_of.says("snapshot revert then --disks-only").await;
    let deleted = shell_of.says("snapshot delete then --wait").await;
    assert_eq!(deleted, format!("{SNAPSHOT} deleted\n"));
    let expected = [
        format!(r#"POST /api/v1/snapshots {{"name":"then","vm_id":"{VM}"}}"#),
        format!("{revert} {{}}"),
        format!(r#"{revert} {{"memory":false}}"#),
        gone,
    ];
    assert_eq!(service.changes(), expected);
}

#[tokio::test]
async fn lists_are_asked_for_what_is_meant_and_shown_in_tables() {
    let pools = json!({ "pools": [
        { "name": "local", "driver": "directory", "shared": false },
        { "name": "fast", "driver": "directory", "shared": true, "hosts": ["host-1", "host-2"], "capacity_gib": 100,
          "used_gib": 7, "allocated_gib": 20 },
    ] });
    let service = Scripted::start(&[
        ("GET /api/v1/pools", std::slice::from_ref(&pools)),
        ("GET /api/v1/pools/fast", &[pools["pools"][1].clone()]),
        (
            "GET /api/v1/volumes",
            &[json!({ "volumes": [volume("InUse", Some(VM))] })],
        ),
        (
            "GET /api/v1/snapshots",
            &[json!({ "snapshots": [snapshot("Ready")] })],
        ),
    ])
    .await;
    let shell_of = shell(&service);
    let listed = shell_of.says("pool list").await;
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[1], ["local", "directory", "no"]);
    assert_eq!(lines[2][3..], ["host-1,", "host-2", "100", "7", "20"]);
    assert_eq!(shell_of.shows("pool get fast").await["capacity_gib"], 100);
    service.looks();
    let listed = shell_of
        .says(&format!(
            "volume list --state inuse --vm {VM} --project shop"
        ))
        .await;
    assert!(
        listed.contains("InUse") && listed.contains("local"),
        "{listed}"
    );
    let listed = shell_of
        .says(&format!("snapshot list --vm {VM} -o name"))
        .await;
    assert_eq!(listed, format!("{SNAPSHOT}\n"));
    let looks = service.looks();
    for (at, part) in [
        (0, "project_id=shop"),
        (0, "state=InUse"),
        (0, &format!("vm_id={VM}")[..]),
        (1, &format!("vm_id={VM}")),
    ] {
        assert!(looks[at].contains(part), "{looks:?}");
    }
}
