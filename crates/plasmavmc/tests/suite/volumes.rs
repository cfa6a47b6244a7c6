//! Volumes: made, had by VMs, let go, grown, removed; and what may go wrong on the way.

use photon_testkit::{
    fake_host::{FakeHost, Habits, VolumeHabits},
    poll::eventually,
};
use plasmavmc::Config;
use plasmavmc_model::{
    DesiredVolume, ObservedPool, PoolDriver, Shape, Snapshot, SnapshotId, SnapshotOf,
    SnapshotState, volume,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{Answer, Caller, House, PATIENCE, config, over};

pub(crate) const VOLUMES: &str = "/api/v1/volumes";

impl Caller {
    /// A volume of acme's project shop.
    pub(crate) async fn volume(&self, more: Value) -> Answer {
        let mut body = json!({
            "name": "data", "org_id": "acme", "project_id": "shop", "size_gb": 10,
        });
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        self.post(VOLUMES, body).await
    }

    /// One that is there.
    pub(crate) async fn made_volume(&self) -> String {
        let volume = self.volume(json!({})).await.id();
        self.until_volume(&volume, "Available").await;
        volume
    }

    /// Waits until a volume is in a state, and returns it as it is then.
    pub(crate) async fn until_volume(&self, volume: &str, state: &str) -> Value {
        let is_so = |volume: &Value| volume["state"] == state;
        self.until_volume_is(volume, state, is_so).await
    }

    pub(crate) async fn until_volume_is(
        &self,
        volume: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("{VOLUMES}/{volume}");
        let found = eventually(&format!("{volume} is {what}"), PATIENCE, || async {
            let answer = self.get(&path).await;
            Some(answer.data().clone()).filter(|volume| is_so(volume))
        })
        .await;
        match found {
            Ok(found) => found,
            Err(error) => panic!("{error}: {:?}", self.get(&path).await),
        }
    }

    /// Waits until a volume is gone.
    pub(crate) async fn until_volume_gone(&self, volume: &str) {
        let what = format!("{volume} is gone");
        let gone = eventually(&what, PATIENCE, || async {
            let answer = self.get(&format!("{VOLUMES}/{volume}")).await;
            (answer.status == 404).then_some(())
        });
        gone.await.unwrap();
    }

    /// Asks something of a volume.
    pub(crate) async fn ask_volume(&self, volume: &str, what: &str, body: Value) -> Answer {
        self.post(&format!("{VOLUMES}/{volume}/{what}"), body).await
    }

    pub(crate) async fn attach(&self, volume: &str, vm: &str) -> Answer {
        self.ask_volume(volume, "attach", json!({ "vm_id": vm }))
            .await
    }

    pub(crate) async fn detach(&self, volume: &str) -> Answer {
        self.ask_volume(volume, "detach", json!({})).await
    }

    pub(crate) async fn grow(&self, volume: &str, size_gb: Value) -> Answer {
        self.ask_volume(volume, "resize", json!({ "size_gb": size_gb }))
            .await
    }

    pub(crate) async fn delete_volume(&self, volume: &str) {
        self.delete(&format!("{VOLUMES}/{volume}")).await.data();
        self.until_volume_gone(volume).await;
    }

    /// The sum of the sizes of a pool's disks.
    pub(crate) async fn allocated(&self, pool: &str) -> u64 {
        let pool = self.get(&format!("/api/v1/pools/{pool}")).await;
        pool.data()["allocated_gib"].as_u64().unwrap()
    }
}

/// A pool that hosts share, or have each for itself.
pub(crate) fn pool(name: &str, capacity_gib: u64, shared: bool) -> ObservedPool {
    ObservedPool {
        name: name.parse().unwrap(),
        driver: PoolDriver::Directory,
        shared,
        capacity_gib,
        used_gib: 1,
    }
}

pub(crate) fn with_pools(pools: Vec<ObservedPool>) -> Habits {
    Habits {
        pools,
        ..Habits::default()
    }
}

/// What a host is told that a VM has, as volumes with their numbers and sizes.
async fn has(host: &FakeHost, vm: &str) -> Vec<(String, u8, u32)> {
    let disks = host.wish(vm).await.disks.into_iter();
    let volumes = disks.filter_map(|disk| {
        let volume = disk.volume?;
        Some((volume.id.to_string(), volume.lun, disk.size_gib))
    });
    volumes.collect()
}

async fn until_has(host: &FakeHost, vm: &str, expected: &[(String, u8, u32)]) {
    eventually("the host is told what the VM has", PATIENCE, || async {
        (has(host, vm).await == expected).then_some(())
    })
    .await
    .unwrap();
}

/// Waits until nothing is left but sums, which are zero.
async fn until_clean(house: &House) {
    eventually("nothing is left", PATIENCE, || async {
        let keys = house.keys().await;
        let is_sum = |key: &String| key.contains("/use/") || key.contains("/pool-use/");
        keys.iter().all(is_sum).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(house.operator.allocated("local").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_made_had_let_go_and_removed() {
    let house = House::dev().await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    let made = operator.volume(json!({ "labels": { "tier": "db" } })).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        (made.text("state"), made.text("pool")),
        ("Creating".to_owned(), "local".to_owned())
    );
    let volume = made.id();
    let path = format!("{VOLUMES}/{volume}");
    let there = operator.until_volume(&volume, "Available").await;
    assert_eq!(
        (&there["vm_id"], &there["state_reason"], &there["host_id"]),
        (&json!(null), &json!(""), &json!("host-1"))
    );
    let uuid = volume.trim_start_matches("vol-").replace('-', "");
    assert_eq!(there["serial"], uuid);
    assert_eq!(host.volume_size(&volume), Some(10));
    assert_eq!(operator.allocated("local").await, 10);
    // A name is for people.
    let before = operator.get(&path).await.etag.unwrap();
    let renamed = json!({ "name": "更新", "labels": {} });
    let changed = operator.patch_if(&before, &path, renamed).await;
    assert_eq!(changed.text("name"), "更新");
    let stale = operator
        .patch_if(&before, &path, json!({ "name": "x" }))
        .await;
    assert_eq!(stale.error(), (409, "CONFLICT", ""));
    // A VM that runs gets it, and lets it go.
    let vm = operator.started().await;
    let attached = operator.attach(&volume, &vm).await;
    assert_eq!(
        (attached.text("state"), attached.text("vm_id")),
        ("InUse".to_owned(), vm.clone())
    );
    until_has(&host, &vm, &[(volume.clone(), 0, 10)]).await;
    let listed = |filter: String| async move {
        operator
            .all(&format!("{VOLUMES}?{filter}"), "volumes", "id")
            .await
    };
    let mine = vec![volume.clone()];
    assert_eq!(listed(format!("vm_id={vm}")).await, mine);
    assert_eq!(listed("state=InUse&project_id=shop".to_owned()).await, mine);
    assert!(listed("state=Available".to_owned()).await.is_empty());
    assert!(listed("name=data".to_owned()).await.is_empty());
    assert!(listed("project_id=lab".to_owned()).await.is_empty());
    // Asked again, nothing changes.
    let again = operator.attach(&volume, &vm).await;
    assert_eq!(
        again.data()["revision"],
        operator.get(&path).await.data()["revision"]
    );
    let refused = operator.delete(&path).await;
    assert_eq!(refused.error(), (409, "IN_USE", ""));
    assert_eq!(refused.details()["vm_id"], vm);
    assert_eq!(operator.detach(&volume).await.text("state"), "Detaching");
    operator.until_volume(&volume, "Available").await;
    until_has(&host, &vm, &[]).await;
    assert_eq!(operator.detach(&volume).await.text("state"), "Available");
    assert_eq!(
        operator
            .get(&format!("/api/v1/vms/{vm}"))
            .await
            .text("state"),
        "Running"
    );
    operator.delete_volume(&volume).await;
    assert_eq!(
        (host.removed(&volume), host.volume_size(&volume)),
        (1, None)
    );
    operator.delete_vm(&vm).await;
    until_clean(&house).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_for_a_vm_is_made_where_that_is() {
    let house = House::dev().await;
    let operator = &house.operator;
    let mut hosts = [house.host("host-1").await, house.host("host-2").await];
    // Where there is most room.
    let other = operator.volume(json!({ "size_gb": 100 })).await;
    let other_host = other.text("host_id");
    let vm = operator.started().await;
    let at = operator
        .get(&format!("/api/v1/vms/{vm}"))
        .await
        .text("host_id");
    let (mine, theirs) = if at == "host-1" { (0, 1) } else { (1, 0) };
    let second = operator.volume(json!({})).await;
    assert_ne!(second.text("host_id"), other_host);
    for number in 0..3 {
        let made = operator
            .volume(json!({ "vm_id": vm, "size_gb": 5 + number }))
            .await;
        assert_eq!(
            (made.text("vm_id"), made.text("host_id")),
            (vm.clone(), at.clone())
        );
        operator.until_volume(&made.id(), "InUse").await;
        assert_eq!(hosts[mine].volume_size(&made.id()), Some(5 + number));
        assert_eq!(hosts[theirs].volume_size(&made.id()), None);
    }
    let luns: Vec<u8> = has(&hosts[mine], &vm)
        .await
        .iter()
        .map(|one| one.1)
        .collect();
    assert_eq!(luns, [0, 1, 2]);
    // What is on another host cannot be had, if its pool is that host's own.
    let elsewhere = if other_host == at {
        second.id()
    } else {
        other.id()
    };
    operator.until_volume(&elsewhere, "Available").await;
    let refused = operator.attach(&elsewhere, &vm).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    for host in &mut hosts {
        host.go_silent().await;
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_want_one_one_gets_it() {
    let house = House::dev().await;
    let operator = &house.operator;
    let _host = house.host("host-1").await;
    let (one, two) = (operator.made().await, operator.started().await);
    for _ in 0..4 {
        let volume = operator.made_volume().await;
        let (first, second) = tokio::join!(
            operator.attach(&volume, &one),
            operator.attach(&volume, &two)
        );
        let (won, lost) = if first.status == 200 {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!(lost.error(), (409, "IN_USE", ""), "{won:?}");
        assert_eq!(lost.details()["vm_id"], won.text("vm_id"));
    }
    // Two of one VM have different numbers, and there are not more than there are numbers.
    let vm = operator.started().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (caller, vm) = (operator.clone(), vm.clone());
        asking.spawn(async move { caller.volume(json!({ "vm_id": vm, "size_gb": 1 })).await });
    }
    let answers = asking.join_all().await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    assert!(made <= 16, "{made}");
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        let (status, code, _) = refused.error();
        assert!(
            status == 409 && ["LIMIT_EXCEEDED", "CONFLICT"].contains(&code),
            "{refused:?}"
        );
    }
    for _ in made..16 {
        operator
            .volume(json!({ "vm_id": vm, "size_gb": 1 }))
            .await
            .data();
    }
    let one_more = operator.volume(json!({ "vm_id": vm, "size_gb": 1 })).await;
    assert_eq!(one_more.error(), (409, "LIMIT_EXCEEDED", ""));
    assert_eq!(one_more.details()["limit"], 16);
    let listed = operator.get(&format!("/api/v1/volumes?vm_id={vm}")).await;
    assert_eq!(listed.data()["volumes"].as_array().unwrap().len(), 16);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_does_not_let_go_nobody_else_gets() {
    let house = House::dev().await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    let volume = operator.made_volume().await;
    let (vm, other) = (operator.started().await, operator.started().await);
    operator.attach(&volume, &vm).await.data();
    until_has(&host, &vm, &[(volume.clone(), 0, 10)]).await;
    host.habits(|habits| habits.volumes.clinging_guests = true);
    operator.detach(&volume).await.data();
    until_has(&host, &vm, &[]).await;
    let waits = |volume: &Value| {
        let reason = volume["state_reason"].as_str().unwrap();
        volume["state"] == "Detaching" && reason.contains("has not let it go")
    };
    operator.until_volume_is(&volume, "waited for", waits).await;
    for vm in [&vm, &other] {
        let refused = operator.attach(&volume, vm).await;
        assert_eq!(refused.error(), (409, "IN_USE", ""));
    }
    let refused = operator.delete(&format!("{VOLUMES}/{volume}")).await;
    assert_eq!(refused.error(), (409, "IN_USE", ""));
    // What does not run has nothing open.
    operator
        .ask(&vm, "stop", json!({ "force": true }))
        .await
        .data();
    operator.until_volume(&volume, "Available").await;
    operator.attach(&volume, &other).await.data();
    // A VM that does not run lets it go at once, and its host need not be asked twice.
    operator
        .ask(&other, "stop", json!({ "force": true }))
        .await
        .data();
    operator.until(&other, "Stopped").await;
    operator.detach(&volume).await.data();
    operator.until_volume(&volume, "Available").await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_goes_leaves_its_volumes() {
    let house = House::dev().await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    let (vm, other) = (operator.started().await, operator.made().await);
    let kept = operator.made_volume().await;
    operator.attach(&kept, &vm).await.data();
    let going = operator.made_volume().await;
    operator.attach(&going, &vm).await.data();
    until_has(&host, &vm, &[(kept.clone(), 0, 10), (going.clone(), 1, 10)]).await;
    host.habits(|habits| habits.volumes.clinging_guests = true);
    operator.detach(&going).await.data();
    host.habits(|habits| habits.stuck = true);
    operator.delete(&format!("/api/v1/vms/{vm}")).await.data();
    // As long as the VM may run, it has them.
    let refused = operator.attach(&kept, &other).await;
    assert_eq!(refused.error(), (409, "IN_USE", ""));
    let refused = operator.volume(json!({ "vm_id": vm })).await;
    assert_eq!(refused.error(), (409, "DELETING", ""));
    host.habits(|habits| habits.stuck = false);
    operator.until_gone(&vm).await;
    for volume in [&kept, &going] {
        let free = operator.until_volume(volume, "Available").await;
        assert_eq!(free["vm_id"], json!(null));
        assert_eq!(host.volume_size(volume), Some(10));
    }
    operator.attach(&kept, &other).await.data();
    operator.detach(&kept).await.data();
    for volume in [&kept, &going] {
        operator.until_volume(volume, "Available").await;
        operator.delete_volume(volume).await;
    }
    operator.delete_vm(&other).await;
    until_clean(&house).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_a_silent_host_waits_for_it() {
    let house = House::dev().await;
    let operator = &house.operator;
    let mut host = house.host("host-1").await;
    let (volume, doomed) = (operator.made_volume().await, operator.made_volume().await);
    let vm = operator.started().await;
    operator.attach(&volume, &vm).await.data();
    until_has(&host, &vm, &[(volume.clone(), 0, 10)]).await;
    host.go_silent().await;
    let unknown = operator.until_volume(&volume, "Unknown").await;
    let reason = unknown["state_reason"].as_str().unwrap();
    assert!(reason.starts_with("its host is silent"), "{reason}");
    operator.until_volume(&doomed, "Unknown").await;
    let refused = operator.attach(&doomed, &vm).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    let refused = operator.grow(&doomed, json!(20)).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    let refused = operator.volume(json!({})).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    assert_eq!(refused.details()["largest_free"], json!(null));
    // Remembered: done when it is back.
    operator.detach(&volume).await.data();
    operator.delete(&format!("{VOLUMES}/{doomed}")).await.data();
    let waits = |volume: &Value| {
        let reason = volume["state_reason"].as_str().unwrap();
        volume["state"] == "Deleting" && reason.contains("which is silent")
    };
    operator.until_volume_is(&doomed, "waiting", waits).await;
    let refused = operator.attach(&doomed, &vm).await;
    assert_eq!(refused.error(), (409, "DELETING", ""));
    host.come_back().await;
    operator.until_volume_gone(&doomed).await;
    operator.until_volume(&volume, "Available").await;
    assert_eq!(host.removed(&doomed), 1);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_as_much_as_there_is() {
    let house = House::dev().await;
    let operator = &house.operator;
    let _one = house
        .host_with(
            "host-1",
            with_pools(vec![pool("local", 20, false), pool("ssd", 50, false)]),
        )
        .await;
    let _two = house
        .host_with("host-2", with_pools(vec![pool("local", 40, false)]))
        .await;
    let refused = operator.volume(json!({ "size_gb": 41 })).await;
    assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
    assert_eq!(
        (
            &refused.details()["asked"]["size_gb"],
            &refused.details()["largest_free"]["size_gb"]
        ),
        (&json!(41), &json!(40))
    );
    // Of two that want the last room one gets it.
    for pool in ["ssd", "local"] {
        let size = if pool == "ssd" { 30 } else { 25 };
        let ask = || operator.volume(json!({ "size_gb": size, "pool": pool }));
        let (first, second) = tokio::join!(ask(), ask());
        let (won, lost) = if first.status == 201 {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!(lost.error(), (409, "NO_CAPACITY", ""), "{won:?}");
        assert_eq!(operator.allocated(pool).await, size);
        let volume = won.id();
        operator.until_volume(&volume, "Available").await;
        let refused = operator.grow(&volume, json!(100)).await;
        assert_eq!(refused.error(), (409, "NO_CAPACITY", ""));
        let left = refused.details()["largest_free"]["size_gb"]
            .as_u64()
            .unwrap();
        operator.grow(&volume, json!(size + left)).await.data();
        operator.delete_volume(&volume).await;
        assert_eq!(operator.allocated(pool).await, 0);
    }
    let nowhere = operator.volume(json!({ "pool": "tape" })).await;
    assert_eq!(nowhere.error(), (400, "VALIDATION_ERROR", "pool"));
    assert_eq!(nowhere.details()["constraint"], "exists");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shared_follows_the_vm() {
    let house = House::dev().await;
    let operator = &house.operator;
    let pools = || with_pools(vec![pool("local", 100, false), pool("nfs", 100, true)]);
    let mut one = house.host_with("host-1", pools()).await;
    let volume = operator.volume(json!({ "pool": "nfs" })).await.id();
    operator.until_volume(&volume, "Available").await;
    let two = house.host_with("host-2", pools()).await;
    // So that it has room on the second host only.
    let large = operator.vm(json!({ "memory_mib": 20 * 1024 })).await.id();
    operator.until(&large, "Stopped").await;
    let vm = operator
        .vm(json!({ "memory_mib": 20 * 1024, "start": true }))
        .await
        .id();
    operator.until(&vm, "Running").await;
    let at = async |vm: &str| {
        operator
            .get(&format!("/api/v1/vms/{vm}"))
            .await
            .text("host_id")
    };
    let here = if at(&vm).await == "host-2" { vm } else { large };
    operator.attach(&volume, &here).await.data();
    let moved = operator.until_volume(&volume, "InUse").await;
    assert_eq!(moved["host_id"], "host-2");
    until_has(&two, &here, &[(volume.clone(), 0, 10)]).await;
    let store = house.store().await;
    let wishes = store.collection::<DesiredVolume>();
    let told = async |host: &FakeHost| {
        let key = volume::desired_key(&host.name, volume.parse().unwrap());
        wishes.get(&key).await.unwrap().is_some()
    };
    eventually("one host is told of it", PATIENCE, || async {
        (told(&two).await && !told(&one).await).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(operator.allocated("nfs").await, 10);
    let shown = operator.get("/api/v1/pools/nfs").await;
    assert_eq!(
        (
            &shown.data()["shared"],
            &shown.data()["capacity_gib"],
            &shown.data()["hosts"]
        ),
        (&json!(true), &json!(100), &json!(["host-1", "host-2"]))
    );
    // The first host is not needed any more.
    one.go_silent().await;
    operator.detach(&volume).await.data();
    operator.until_volume(&volume, "Available").await;
    operator.delete_volume(&volume).await;
    assert_eq!(operator.allocated("nfs").await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_grows_while_nothing_has_it_open() {
    let house = House::dev().await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    let volume = operator.made_volume().await;
    let grown = operator.grow(&volume, json!(12)).await;
    assert_eq!(grown.data()["size_gb"], 12);
    eventually("it is larger", PATIENCE, || async {
        (host.volume_size(&volume) == Some(12)).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(operator.allocated("local").await, 12);
    assert_eq!(
        operator.grow(&volume, json!(12)).await.data()["size_gb"],
        12
    );
    for (size, constraint) in [
        (json!(11), "range"),
        (json!(0), "range"),
        (json!(20_000), "range"),
    ] {
        let refused = operator.grow(&volume, size).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "size_gb"));
        assert_eq!(refused.details()["constraint"], constraint);
    }
    // A VM that runs has it open; one that is stopped is told its new size.
    let vm = operator.started().await;
    operator.attach(&volume, &vm).await.data();
    let refused = operator.grow(&volume, json!(15)).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    assert_eq!(refused.details()["vm_id"], vm);
    operator.ask(&vm, "stop", json!({})).await.data();
    operator.until(&vm, "Stopped").await;
    operator.grow(&volume, json!(15)).await.data();
    until_has(&host, &vm, &[(volume.clone(), 0, 15)]).await;
    eventually("it is larger", PATIENCE, || async {
        (host.volume_size(&volume) == Some(15)).then_some(())
    })
    .await
    .unwrap();
    operator.detach(&volume).await.data();
    operator.until_volume(&volume, "Available").await;
    // What is being grown is given to nobody.
    host.habits(|habits| habits.volumes.slow = true);
    operator.grow(&volume, json!(16)).await.data();
    let grows = |volume: &Value| volume["state_reason"] == "it grows from 15 to 16 GiB";
    operator.until_volume_is(&volume, "growing", grows).await;
    let refused = operator.attach(&volume, &vm).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    // What cannot be grown says why, and may be deleted.
    host.habits(|habits| habits.volumes.broken = Some("the disk is full".to_owned()));
    let failed = operator.until_volume(&volume, "Error").await;
    assert_eq!(failed["state_reason"], "the disk is full");
    host.habits(|habits| habits.volumes = VolumeHabits::default());
    operator.until_volume(&volume, "Available").await;
    assert_eq!(operator.allocated("local").await, 16);
    operator.delete_volume(&volume).await;
    operator.delete_vm(&vm).await;
    until_clean(&house).await;
    house.stop().await;
}

fn hasty(config: &mut Config) {
    config.deadlines.preparing_seconds = 1;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_says_why_and_goes() {
    let house = House::dev_with(hasty).await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    host.habits(|habits| habits.volumes.broken = Some("the disk is full".to_owned()));
    let broken = operator.volume(json!({})).await.id();
    let failed = operator.until_volume(&broken, "Error").await;
    assert_eq!(failed["state_reason"], "the disk is full");
    host.habits(|habits| {
        habits.volumes = VolumeHabits {
            slow: true,
            ..VolumeHabits::default()
        };
    });
    let late = operator.volume(json!({})).await.id();
    let failed = operator.until_volume(&late, "Error").await;
    assert_eq!(failed["state_reason"], "it was not made within 1 s");
    let vm = operator.made().await;
    for volume in [&broken, &late] {
        let refused = operator.attach(volume, &vm).await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    }
    operator.delete_volume(&broken).await;
    // Truth counts more than a deadline.
    host.habits(|habits| habits.volumes = VolumeHabits::default());
    operator.until_volume(&late, "Available").await;
    operator.delete_volume(&late).await;
    operator.delete_vm(&vm).await;
    until_clean(&house).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_by_its_field() {
    let house = House::dev().await;
    let operator = &house.operator;
    let host = house.host("host-1").await;
    let nobody = "vm-019ac8e5-3c00-7001-8c00-000000000001";
    for (more, field) in [
        (json!({ "size_gb": 0 }), "size_gb"),
        (json!({ "size_gb": 16_385 }), "size_gb"),
        (json!({ "size_gb": -1 }), "size_gb"),
        (json!({ "size_gb": u64::MAX }), "size_gb"),
        (json!({ "size_gb": "10" }), "size_gb"),
        (json!({ "size_gb": null }), "size_gb"),
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a\u{0}b" }), "name"),
        (json!({ "org_id": "../x" }), "org_id"),
        (json!({ "pool": "../x" }), "pool"),
        (json!({ "pool": "tape" }), "pool"),
        (json!({ "vm_id": "x" }), "vm_id"),
        (json!({ "vm_id": nobody }), "vm_id"),
        (json!({ "labels": { "": "" } }), "labels"),
        (json!({ "no_such_member": 1 }), "no_such_member"),
    ] {
        let answer = operator.volume(more.clone()).await;
        assert_eq!(answer.error(), (400, "VALIDATION_ERROR", field), "{more}");
    }
    let elsewhere = json!({ "project_id": "lab" });
    let theirs = operator.vm(elsewhere).await.id();
    operator.until(&theirs, "Stopped").await;
    let refused = operator.volume(json!({ "vm_id": theirs })).await;
    assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "vm_id"));
    let volume = operator.made_volume().await;
    for vm in [theirs.as_str(), nobody, "x", ""] {
        let refused = operator.attach(&volume, vm).await;
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", "vm_id"), "{vm}");
    }
    for query in [
        "state=available",
        "vm_id=x",
        "limit=0",
        "page_token=x",
        "colour=red",
    ] {
        let refused = operator.get(&format!("{VOLUMES}?{query}")).await;
        let field = query.split('=').next().unwrap();
        assert_eq!(refused.error(), (400, "VALIDATION_ERROR", field), "{query}");
    }
    // One that is being made, or could not be, takes none.
    host.habits(|habits| habits.slow = true);
    let slow = operator.vm(json!({})).await.id();
    let refused = operator.attach(&volume, &slow).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    operator.delete_vm(&slow).await;
    host.habits(|habits| {
        habits.slow = false;
        habits.broken = Some("no".to_owned());
    });
    let failed = operator.vm(json!({})).await.id();
    operator.until(&failed, "Error").await;
    let refused = operator.attach(&volume, &failed).await;
    assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
    // Nobody's, and what is meant as another's.
    for id in [
        "vol-019ac8e5-3c00-7001-8c00-000000000001",
        "x",
        failed.as_str(),
    ] {
        let path = format!("{VOLUMES}/{id}");
        assert_eq!(operator.get(&path).await.error(), (404, "NOT_FOUND", ""));
        assert_eq!(operator.delete(&path).await.error(), (404, "NOT_FOUND", ""));
        for what in ["attach", "detach", "resize"] {
            let body = match what {
                "attach" => Some(json!({ "vm_id": nobody })),
                "resize" => Some(json!({ "size_gb": 1 })),
                _ => None,
            };
            let path = format!("{path}/{what}");
            let answer = operator
                .call(Method::POST, &path, body, None)
                .await
                .unwrap();
            assert_eq!(answer.error(), (404, "NOT_FOUND", ""), "{path}");
        }
    }
    let foreign = format!("{VOLUMES}/{volume}?project_id=lab");
    assert_eq!(operator.get(&foreign).await.error(), (404, "NOT_FOUND", ""));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_makes_one_volume() {
    let house = House::dev().await;
    let operator = &house.operator;
    let _host = house.host("host-1").await;
    let body = json!({ "name": "data", "org_id": "acme", "project_id": "shop", "size_gb": 3 });
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (operator, body) = (operator.clone(), body.clone());
        asking.spawn(async move { operator.keyed("k", VOLUMES, body).await });
    }
    let answers = asking.join_all().await;
    let made: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(Answer::id)
        .collect();
    assert!(
        !made.is_empty() && made.iter().all(|id| *id == made[0]),
        "{answers:?}"
    );
    let again = operator.keyed("k", VOLUMES, body).await;
    assert!(again.replayed);
    assert_eq!(
        operator.all(VOLUMES, "volumes", "id").await,
        [made[0].clone()]
    );
    assert_eq!(operator.allocated("local").await, 3);
    house.stop().await;
}

/// A snapshot, as whoever makes them writes it down.
async fn snapshot(house: &House, of: SnapshotOf, shape: Option<Shape>) -> (String, Snapshot) {
    let snapshot: Snapshot = serde_json::from_value(json!({
        "id": SnapshotId::generate(), "name": "before", "org": "acme", "project": "shop", "of": of, "shape": shape,
        "state": SnapshotState::Ready, "created_at": "2026-11-23T00:00:00Z",
    }))
    .unwrap();
    let all = house.store().await.collection::<Snapshot>();
    all.create(&snapshot.key(), snapshot.clone()).await.unwrap();
    (snapshot.key(), snapshot)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_snapshots_stays_as_it_is() {
    let house = House::dev().await;
    let operator = &house.operator;
    let _host = house.host("host-1").await;
    let volume = operator.made_volume().await;
    let id = volume.parse().unwrap();
    let vm = operator.made().await;
    let shape = Shape {
        vcpus: 1,
        memory_mib: 128,
        disk_gib: None,
        volumes: vec![id],
    };
    for (of, shape) in [
        (SnapshotOf::Volume(id), None),
        (SnapshotOf::Vm(vm.parse().unwrap()), Some(shape)),
    ] {
        let (key, taken) = snapshot(&house, of, shape).await;
        let refused = operator.delete(&format!("{VOLUMES}/{volume}")).await;
        assert_eq!(refused.error(), (409, "IN_USE", ""));
        assert_eq!(refused.details()["snapshot_id"], taken.id.to_string());
        let refused = operator.grow(&volume, json!(20)).await;
        assert_eq!(refused.error(), (409, "FAILED_PRECONDITION", ""));
        let all = house.store().await.collection::<Snapshot>();
        all.delete(&key, photon_store::Expected::Any).await.unwrap();
    }
    operator.grow(&volume, json!(20)).await.data();
    operator.delete_volume(&volume).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_goes_on_with_what_one_began() {
    let mut house = House::dev().await;
    let host = house.host("host-1").await;
    let vm = house.operator.started().await;
    let (had, doomed) = (
        house.operator.made_volume().await,
        house.operator.made_volume().await,
    );
    house.operator.attach(&had, &vm).await.data();
    until_has(&host, &vm, &[(had.clone(), 0, 10)]).await;
    // Nothing of what is asked for now is done by this process.
    host.habits(|habits| habits.idle = true);
    let new = house.operator.volume(json!({ "vm_id": vm })).await.id();
    house.operator.detach(&had).await.data();
    house
        .operator
        .delete(&format!("{VOLUMES}/{doomed}"))
        .await
        .data();
    house.running.take().unwrap().stop().await;
    host.habits(|habits| habits.idle = false);
    let again = over(config(&house.chainfire.endpoint())).await;
    let operator = Caller::of(&again);
    house.running = Some(again);
    house.operator = operator.clone();
    operator.until_host("host-1", "up").await;
    operator.until_volume(&new, "InUse").await;
    operator.until_volume(&had, "Available").await;
    operator.until_volume_gone(&doomed).await;
    assert_eq!(host.removed(&doomed), 1);
    assert_eq!(operator.allocated("local").await, 20);
    until_has(&host, &vm, &[(new.clone(), 1, 10)]).await;
    operator.delete_vm(&vm).await;
    for volume in [&had, &new] {
        operator.until_volume(volume, "Available").await;
        operator.delete_volume(volume).await;
    }
    until_clean(&house).await;
    house.stop().await;
}
