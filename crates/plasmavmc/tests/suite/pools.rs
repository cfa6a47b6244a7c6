//! Where disks lie: what is told of pools, and who is put where.

use photon_testkit::poll::eventually;
use serde_json::{Value, json};

use crate::{
    house::{Caller, House, PATIENCE, config, over},
    volumes::{pool, with_pools},
};

async fn until_allocated(operator: &Caller, pool: &str, gib: u64) {
    eventually("it is counted", PATIENCE, || async {
        (operator.allocated(pool).await == gib).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_what_hosts_tell() {
    let house = House::dev().await;
    let operator = &house.operator;
    let none = operator.get("/api/v1/pools").await;
    assert_eq!(none.data()["pools"], json!([]));
    assert_eq!(
        operator.get("/api/v1/pools/local").await.error(),
        (404, "NOT_FOUND", "")
    );
    // An agent that knows of no pools has its directory.
    let mut old = house.host("host-1").await;
    let local = operator.get("/api/v1/pools/local").await;
    let expected = json!({
        "name": "local", "driver": "directory", "shared": false, "hosts": ["host-1"], "capacity_gib": 1000, "used_gib": 0,
        "allocated_gib": 0,
    });
    assert_eq!(*local.data(), expected);
    let pools = vec![
        pool("local", 50, false),
        pool("ssd", 7, false),
        pool("nfs", 90, true),
    ];
    let _two = house.host_with("host-2", with_pools(pools.clone())).await;
    let _three = house.host_with("host-3", with_pools(pools)).await;
    let all = operator.get("/api/v1/pools").await;
    let shown = |pool: &Value| {
        (
            pool["name"].clone(),
            pool["capacity_gib"].clone(),
            pool["used_gib"].clone(),
        )
    };
    let all: Vec<_> = all.data()["pools"]
        .as_array()
        .unwrap()
        .iter()
        .map(shown)
        .collect();
    let expected = [("local", 1100, 2), ("nfs", 90, 1), ("ssd", 14, 2)];
    let expected = expected.map(|(name, has, used)| (json!(name), json!(has), json!(used)));
    assert_eq!(all, expected);
    old.go_silent().await;
    operator.until_host("host-1", "silent").await;
    assert_eq!(
        operator.get("/api/v1/pools/local").await.data()["capacity_gib"],
        100
    );
    for bad in ["tape", "..%2Fx", "LOCAL", "%00"] {
        let answer = operator.get(&format!("/api/v1/pools/{bad}")).await;
        assert_eq!(answer.error(), (404, "NOT_FOUND", ""), "{bad}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_disk_lies_where_it_was_asked_to() {
    let house = House::dev().await;
    let operator = &house.operator;
    let _one = house
        .host_with("host-1", with_pools(vec![pool("local", 500, false)]))
        .await;
    let two = house
        .host_with(
            "host-2",
            with_pools(vec![pool("local", 10, false), pool("ssd", 40, false)]),
        )
        .await;
    for number in 0..2 {
        let vm = operator
            .vm(json!({ "disk_size_gb": 15, "pool": "ssd", "start": true }))
            .await;
        assert_eq!(vm.text("pool"), "ssd");
        let running = operator.until(&vm.id(), "Running").await;
        assert_eq!(running["host_id"], "host-2", "{number}");
        let wish = two.wish(&vm.id()).await;
        let disk = wish.disks.first().unwrap();
        assert_eq!(disk.pool.as_ref().unwrap().as_str(), "ssd");
    }
    until_allocated(operator, "ssd", 30).await;
    // There is room elsewhere, but not there.
    let full = operator
        .vm(json!({ "disk_size_gb": 11, "pool": "ssd" }))
        .await;
    assert_eq!(full.error(), (409, "NO_CAPACITY", ""));
    assert_eq!(full.details()["asked"]["disk_size_gb"], 11);
    assert_eq!(full.details()["largest_free"]["disk_size_gb"], 10);
    let large = operator.vm(json!({ "disk_size_gb": 400 })).await;
    assert_eq!(large.text("pool"), "local");
    let placed = operator.until(&large.id(), "Stopped").await;
    assert_eq!(placed["host_id"], "host-1");
    let more = operator.vm(json!({ "disk_size_gb": 101 })).await;
    assert_eq!(more.error(), (409, "NO_CAPACITY", ""));
    // What a host's disks were given is its own pools', together.
    let hosts = operator.get("/api/v1/hosts").await;
    let used = |number: usize| hosts.data()["hosts"][number]["used"]["disk_size_gb"].clone();
    assert_eq!((used(0), used(1)), (json!(400), json!(30)));
    for more in [
        json!({ "disk_size_gb": 1, "pool": "tape" }),
        json!({ "disk_size_gb": 1, "pool": "../x" }),
        json!({ "disk_size_gb": 1, "pool": "" }),
        json!({ "pool": "ssd" }),
    ] {
        let refused = operator.vm(more.clone()).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "pool"), "{more}");
    }
    let diskless = operator.made().await;
    let shown = operator.get(&format!("/api/v1/vms/{diskless}")).await;
    assert_eq!(shown.data()["pool"], json!(null));
    for vm in operator.all("/api/v1/vms", "vms", "id").await {
        operator.delete_vm(&vm).await;
    }
    for pool in ["ssd", "local"] {
        assert_eq!(operator.allocated(pool).await, 0, "{pool}");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_could_not_be_made_gives_its_room_back() {
    let house = House::dev().await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    host.habits(|habits| habits.broken = Some("no".to_owned()));
    let vm = operator.vm(json!({ "disk_size_gb": 600 })).await.id();
    operator.until(&vm, "Error").await;
    assert_eq!(operator.allocated("local").await, 0);
    host.habits(|habits| habits.broken = None);
    operator.ask(&vm, "start", json!({})).await.data();
    operator.until(&vm, "Running").await;
    assert_eq!(operator.allocated("local").await, 600);
    // Disks of VMs and volumes lie in the same pool.
    let refused = operator.volume(json!({ "size_gb": 401 })).await;
    assert_eq!(refused.details()["largest_free"]["size_gb"], 400);
    let volume = operator.volume(json!({ "size_gb": 400 })).await.id();
    operator.until_volume(&volume, "Available").await;
    let refused = operator.vm(json!({ "disk_size_gb": 1 })).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    operator.delete_volume(&volume).await;
    operator.delete_vm(&vm).await;
    assert_eq!(operator.allocated("local").await, 0);
    house.stop().await;
}

/// One that is from before there were pools is counted by its host, and goes as it came.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_of_before_there_were_pools_lies_in_local() {
    let mut house = House::dev().await;
    let _host = house.host("host-1").await;
    let vm = house.operator.vm(json!({ "disk_size_gb": 300 })).await.id();
    house.operator.until(&vm, "Stopped").await;
    house.running.take().unwrap().stop().await;
    let store = house.store().await;
    let change = async |key: &str, change: &dyn Fn(&mut Value)| {
        let found = store.get_raw(key).await.unwrap().unwrap();
        let mut value: Value = serde_json::from_slice(&found.value).unwrap();
        change(&mut value);
        let mut transaction = store.transaction();
        transaction.put_raw(key, value.to_string(), 0).unwrap();
        transaction.commit().await.unwrap();
    };
    let remove = |vm: &mut Value| {
        vm.as_object_mut().unwrap().remove("pool").unwrap();
    };
    change(&format!("/photon/plasmavmc/vm/acme/shop/{vm}"), &remove).await;
    change("/photon/plasmavmc/use/host-1", &|given| {
        given["disk_gib"] = json!(300)
    })
    .await;
    change("/photon/plasmavmc/pool-use/local/host-1", &|given| {
        given["disks"] = json!(0);
        given["gib"] = json!(0);
    })
    .await;
    let again = over(config(&house.chainfire.endpoint())).await;
    let operator = Caller::of(&again);
    house.running = Some(again);
    operator.until_host("host-1", "up").await;
    assert_eq!(operator.allocated("local").await, 300);
    let shown = operator.get(&format!("/api/v1/vms/{vm}")).await;
    assert_eq!(shown.text("pool"), "local");
    let refused = operator.volume(json!({ "size_gb": 701 })).await;
    assert_eq!(refused.details()["largest_free"]["size_gb"], 700);
    let hosts = operator.get("/api/v1/hosts").await;
    assert_eq!(hosts.data()["hosts"][0]["used"]["disk_size_gb"], 300);
    operator.delete_vm(&vm).await;
    assert_eq!(operator.allocated("local").await, 0);
    house.stop().await;
}
