//! What guests are told: as it is asked for, told to hosts, shown, changed and forgotten.

use photon_store::Store;
use photon_testkit::{fake_host::FakeHost, poll::eventually};
use plasmavmc_model::{DesiredGuest, DesiredVm, GuestData, VmId, desired};
use serde_json::{Value, json};

use crate::{
    door::DoorHost,
    house::{House, PATIENCE, VMS, keys_below},
};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS";

/// What a host is told of a VM's guest, once it is so.
async fn told(
    store: &Store,
    host: &FakeHost,
    vm: &str,
    is_so: impl Fn(&DesiredGuest) -> bool,
) -> DesiredGuest {
    let key = desired::vm_key(&host.name, vm.parse::<VmId>().unwrap());
    let all = store.collection::<DesiredVm>();
    let found = eventually("its host is told", PATIENCE, || async {
        let found = all.get(&key).await.unwrap()?.value.guest;
        found.filter(|guest| is_so(guest))
    });
    found.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_what_its_owner_said() {
    let house = House::dev().await;
    let host = house.host("host-1").await;
    let (operator, store) = (&house.operator, house.store().await);
    let script = "#!/bin/sh\n</domain>\n../../etc/passwd $(reboot) '\"\n\u{7}日本";
    let made = operator
        .vm(json!({ "hostname": "web-1.example", "ssh_keys": [format!(" {KEY} ann@<x>\n")], "user_data": script }))
        .await;
    assert_eq!(made.text("hostname"), "web-1.example");
    let vm = made.id();
    let shown = operator.until(&vm, "Stopped").await;
    for secret in ["user_data", "ssh_keys"] {
        assert!(shown.get(secret).is_none(), "{shown}");
    }
    let listed = operator.get(VMS).await;
    assert!(!listed.body.to_string().contains("reboot"));
    let path = format!("{VMS}/{vm}");
    let guest = operator.get(&format!("{path}/guest")).await;
    assert_eq!(guest.data()["user_data"], script);
    assert_eq!(guest.data()["ssh_keys"], json!([format!("{KEY} ann@<x>")]));
    let first = told(&store, &host, &vm, |_| true).await;
    let content = first.content.unwrap();
    assert_eq!(content.user_data.bytes(), script.as_bytes());
    assert_eq!(first.guest.data, Some(content.digest()));

    // Each by itself; what is absent stays.
    let changed = operator.patch(&path, json!({ "hostname": "two" })).await;
    assert_eq!(changed.text("hostname"), "two");
    let second = told(&store, &host, &vm, |told| {
        told.guest.hostname.as_str() == "two"
    })
    .await;
    assert_eq!(second.guest.data, Some(content.digest()));
    operator
        .patch(&path, json!({ "user_data": "" }))
        .await
        .data();
    let third = told(&store, &host, &vm, |told| {
        told.guest.data != first.guest.data
    })
    .await;
    let third = third.content.unwrap();
    assert_eq!(
        (third.ssh_keys.len(), third.user_data.bytes().len()),
        (1, 0)
    );
    operator
        .patch(&path, json!({ "ssh_keys": [] }))
        .await
        .data();
    let none = told(&store, &host, &vm, |told| told.guest.data.is_none()).await;
    assert_eq!(none.content, None);
    operator
        .patch(&path, json!({ "ssh_keys": [KEY, KEY] }))
        .await
        .data();
    told(&store, &host, &vm, |told| told.content.is_some()).await;

    // The name's, where nobody said one; and nothing beside it where nothing was said.
    let plain = operator.vm(json!({ "name": "App Server #03" })).await;
    assert_eq!(plain.text("hostname"), "app-server-03");
    let beside = "/photon/plasmavmc/guest/";
    assert_eq!(
        keys_below(&store, beside).await,
        [format!("{beside}acme/shop/{vm}")]
    );
    for vm in [vm, plain.id()] {
        operator.delete(&format!("{VMS}/{vm}")).await.data();
        operator.until_gone(&vm).await;
    }
    let left = keys_below(&store, beside).await;
    assert!(left.is_empty(), "{left:?}");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_guests_cannot_be_told_is_refused_by_its_field() {
    let house = House::dev().await;
    let _host = house.host("host-1").await;
    let operator = &house.operator;
    let vm = operator.made().await;
    let many = vec![KEY; 17];
    let long = "x".repeat((64 << 10) + 1);
    for (more, field) in [
        (json!({ "hostname": "" }), "hostname"),
        (json!({ "hostname": "../x" }), "hostname"),
        (json!({ "hostname": "<x/>" }), "hostname"),
        (json!({ "hostname": "a".repeat(64) }), "hostname"),
        (json!({ "hostname": "10.0.0.1" }), "hostname"),
        (json!({ "hostname": 1 }), "hostname"),
        (json!({ "ssh_keys": many }), "ssh_keys"),
        (json!({ "ssh_keys": KEY }), "ssh_keys"),
        (json!({ "ssh_keys": [KEY, "ssh-rsa AAAA"] }), "ssh_keys[1]"),
        (
            json!({ "ssh_keys": [format!("{KEY}\n{KEY}")] }),
            "ssh_keys[0]",
        ),
        (
            json!({ "ssh_keys": [format!("command=\"x\" {KEY}")] }),
            "ssh_keys[0]",
        ),
        (json!({ "user_data": long }), "user_data"),
        (json!({ "user_data": { "a": 1 } }), "user_data"),
    ] {
        let answers: [Value; 2] = [
            operator.vm(more.clone()).await.body,
            operator
                .patch(&format!("{VMS}/{vm}"), more.clone())
                .await
                .body,
        ];
        for answer in answers {
            let found = &answer["error"]["details"]["field"];
            assert_eq!(found, field, "{answer}");
        }
    }
    let store = house.store().await;
    let kept = store
        .collection::<GuestData>()
        .get(&format!("acme/shop/{vm}"))
        .await;
    assert!(kept.unwrap().is_none());
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_end_of_a_console_there_is_nothing() {
    let house = House::dev().await;
    let host = DoorHost::start(&house, "one").await;
    let caller = &house.operator;
    let vm = caller.vm(json!({})).await.id();
    caller.until(&vm, "Stopped").await;
    host.has_written(&vm, "0123456789");
    let part = async |query: &str| {
        let part = caller.get(&format!("{VMS}/{vm}/console{query}")).await;
        let number = |name: &str| part.data()[name].as_u64().unwrap();
        let numbers = ["offset", "next_offset", "end_offset"].map(number);
        (part.text("data"), numbers)
    };
    for (query, text, numbers) in [
        ("", "0123456789", [0, 10, 10]),
        ("?offset=4&limit=3", "456", [4, 7, 10]),
        ("?offset=10", "", [10, 10, 10]),
        ("?offset=11", "", [10, 10, 10]),
        ("?offset=999999999", "", [10, 10, 10]),
    ] {
        assert_eq!(part(query).await, (text.to_owned(), numbers), "{query}");
    }
    let beyond = format!("{VMS}/{vm}/console?offset={}", 1_u64 << 63);
    let beyond = caller.get(&beyond).await;
    assert_eq!(beyond.error(), (400, "VALIDATION_ERROR", "offset"));
    house.stop().await;
}
