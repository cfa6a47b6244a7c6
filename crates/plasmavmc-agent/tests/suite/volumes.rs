//! Volumes, pools and disks that grow: real ones, in real guests.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use photon_core::Name;
use photon_testkit::{Seed, eventually, poll::eventually_true};
use plasmavmc_agent::qcow2;
use plasmavmc_model::{
    AttachedVolume, DesiredDisk, DesiredSnapshot, DesiredVm, DesiredVolume, DiskFormat,
    ObservedState, ObservedVm, ObservedVolume, ObservedVolumeState, Power, Revert, SnapshotId,
    SnapshotWish, VmId, VolumeGone, VolumeGoneOrder, VolumeId, volume,
};
use rand::Rng as _;

use crate::{
    guests::guest,
    lab::{Lab, SOON},
};

const READY: &str = "PHOTON-GUEST-READY";

fn volume(pool: &str, size_gib: u32) -> DesiredVolume {
    DesiredVolume {
        id: VolumeId::generate(),
        org: Name::new("acme").unwrap(),
        project: Name::new("shop").unwrap(),
        generation: 1,
        pool: Name::new(pool).unwrap(),
        size_gib,
        attached: None,
        snapshots: Vec::new(),
        revert: None,
    }
}

fn disk(volume: &DesiredVolume, lun: u8) -> DesiredDisk {
    DesiredDisk {
        name: Name::new(volume.id.to_string()).unwrap(),
        size_gib: volume.size_gib,
        base: None,
        base_format: DiskFormat::Qcow2,
        pool: Some(volume.pool.clone()),
        volume: Some(AttachedVolume { id: volume.id, lun }),
    }
}

fn root(pool: Option<&str>, size_gib: u32) -> DesiredDisk {
    DesiredDisk {
        name: Name::new("root").unwrap(),
        size_gib,
        base: None,
        base_format: DiskFormat::Qcow2,
        pool: pool.map(|pool| Name::new(pool).unwrap()),
        volume: None,
    }
}

fn serial(volume: &DesiredVolume) -> String {
    volume.id.uuid().simple().to_string()
}

/// What the guest says when it sees the volume.
fn seen(name: &str, gib: u64, volume: &DesiredVolume) -> String {
    format!(
        "PHOTON-GUEST-VOLUME {name} {} {}",
        gib << 30,
        serial(volume)
    )
}

impl Lab {
    /// Tells the host of a volume, and which VM has it, as the controller does.
    async fn want_volume(&self, volume: &DesiredVolume) {
        let key = volume::desired_key(&self.host, volume.id);
        self.put(&key, volume.clone()).await;
    }

    async fn give(&self, volume: &mut DesiredVolume, vm: Option<VmId>) {
        volume.generation += 1;
        volume.attached = vm;
        self.want_volume(volume).await;
    }

    async fn told_volume(&self, id: VolumeId) -> Option<ObservedVolume> {
        let all = self.store.collection::<ObservedVolume>();
        let key = volume::observed_key(&self.host, id);
        all.get(&key).await.unwrap().map(|stored| stored.value)
    }

    async fn until_volume(
        &self,
        what: &str,
        volume: &DesiredVolume,
        is: impl Fn(&ObservedVolume) -> bool,
    ) -> ObservedVolume {
        let is = |told: &ObservedVolume| told.generation == volume.generation && is(told);
        let told = || async { self.told_volume(volume.id).await.filter(is) };
        match eventually(what, SOON, told).await {
            Ok(told) => told,
            Err(error) => {
                let told = self.told_volume(volume.id).await;
                self.fail(&anyhow::anyhow!("{error}; told: {told:?}"))
            }
        }
    }

    async fn until_ready(&self, volume: &DesiredVolume) -> ObservedVolume {
        let is = |told: &ObservedVolume| told.state == ObservedVolumeState::Ready;
        self.until_volume("it is ready", volume, is).await
    }

    async fn until_has(&self, vm: &DesiredVm, volumes: &[VolumeId]) -> ObservedVm {
        let mut volumes = volumes.to_vec();
        volumes.sort();
        let is = |told: &ObservedVm| told.generation == vm.generation && told.volumes == volumes;
        self.until("it has these volumes", vm.id, is).await
    }

    async fn order_volume_away(&self, volume: &DesiredVolume) {
        let order = VolumeGoneOrder {
            id: volume.id,
            pool: volume.pool.clone(),
            at: jiff::Timestamp::now(),
        };
        let key = volume::gone_order_key(&self.host, volume.id);
        self.put(&key, order).await;
        let key = volume::desired_key(&self.host, volume.id);
        self.remove::<DesiredVolume>(&key).await;
    }

    async fn until_volume_gone(&self, volume: &DesiredVolume) {
        let all = self.store.collection::<VolumeGone>();
        let key = volume::gone_key(&self.host, volume.id);
        let gone = || async { all.get(&key).await.unwrap() };
        if let Err(error) = eventually("nothing of the volume is left", SOON, gone).await {
            let told = self.told_volume(volume.id).await;
            self.fail(&anyhow::anyhow!("{error}; told: {told:?}"));
        }
        assert_eq!(self.told_volume(volume.id).await, None);
        for path in self.volume_files(volume) {
            assert!(!path.exists(), "{}", path.display());
        }
        // The order is withdrawn, and so is the answer to it.
        let order = volume::gone_order_key(&self.host, volume.id);
        self.remove::<VolumeGoneOrder>(&order).await;
        let is_over = || async { all.get(&key).await.unwrap().is_none() };
        eventually_true("the answer is taken back", SOON, is_over)
            .await
            .unwrap();
    }

    /// Its disk, and what is noted of it.
    fn volume_files(&self, volume: &DesiredVolume) -> [PathBuf; 2] {
        let pool = match volume.pool.as_str() {
            "fast" => self.pool(),
            _ => self.state.clone(),
        };
        let file = |kind| pool.join(format!("volumes/{}.{kind}", volume.id));
        [file("qcow2"), file("json")]
    }

    async fn until_problem(&self, what: &str) {
        let told = || async {
            let agent = self.told_agent().await;
            agent.problems.iter().any(|problem| problem.contains(what))
        };
        if let Err(error) = eventually_true(what, SOON, told).await {
            let problems = self.told_agent().await.problems;
            self.fail(&anyhow::anyhow!("{error}; told: {problems:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_comes_and_goes_while_guests_run() {
    let Some(mut lab) = Lab::or_skip("a_volume_comes_and_goes_while_guests_run").await else {
        return;
    };
    let agent = lab.told_agent().await;
    let pools: Vec<&str> = agent.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(pools, ["local", "fast"]);
    assert_eq!(agent.pools[0].capacity_gib, agent.capacity.disk_gib);
    assert!(agent.pools[1].used_gib <= agent.pools[1].capacity_gib);
    let mut kept = volume("fast", 1);
    lab.want_volume(&kept).await;
    let made = lab.until_ready(&kept).await;
    assert_eq!((made.size_gib, &*made.reason), (1, ""));

    // One guest writes to it, another reads what it wrote.
    let script = "#!/bin/sh\nwhile [ ! -b /dev/sda ]; do usleep 100000; done\n";
    let mut one = lab.vm("").await;
    one.guest = guest(
        "one",
        &format!(
            "{script}echo KEPT-BY-ONE | dd of=/dev/sda conv=fsync 2>/dev/null; echo WROTE-IT\n"
        ),
    );
    let mut two = lab.vm("").await;
    two.guest = guest(
        "two",
        &format!(
            "{script}echo READ-$(head -c 11 /dev/sda)\nwhile :; do dd if=/dev/sda of=/dev/null bs=1M count=64 2>/dev/null && echo IS-BUSY || exit; done\n"
        ),
    );
    lab.want(&one).await;
    lab.want(&two).await;
    lab.until_said(one.id, READY, 1).await;
    one.generation += 1;
    one.disks.push(disk(&kept, 3));
    lab.give(&mut kept, Some(one.id)).await;
    lab.want(&one).await;
    let has = lab.until_has(&one, &[kept.id]).await;
    assert_eq!((has.state, has.boot), (ObservedState::Running, 1));
    lab.until_said(one.id, &seen("sda", 1, &kept), 1).await;
    lab.until_said(one.id, "WROTE-IT", 1).await;

    // While a guest has it, nothing is done to it, and it says why.
    kept.generation += 1;
    kept.size_gib = 2;
    lab.want_volume(&kept).await;
    let is = |told: &ObservedVolume| told.reason.contains("it is open");
    let waits = lab.until_volume("it waits", &kept, is).await;
    assert_eq!(
        (waits.state, waits.size_gib),
        (ObservedVolumeState::Preparing, 1)
    );

    // It is asked to let it go while nobody hears, and does when somebody does.
    lab.kill();
    one.generation += 1;
    one.disks.clear();
    lab.want(&one).await;
    lab.start();
    lab.until_has(&one, &[]).await;
    lab.until_said(one.id, "PHOTON-GUEST-VOLUME-GONE sda", 1)
        .await;
    lab.give(&mut kept, None).await;
    assert_eq!(lab.until_ready(&kept).await.size_gib, 2);

    lab.until_said(two.id, READY, 1).await;
    two.generation += 1;
    two.disks.push(disk(&kept, 0));
    lab.give(&mut kept, Some(two.id)).await;
    lab.want(&two).await;
    lab.until_has(&two, &[kept.id]).await;
    lab.until_said(two.id, &seen("sda", 2, &kept), 1).await;
    lab.until_said(two.id, "READ-KEPT-BY-ONE", 1).await;
    // It has it open all the time; what is ordered away waits until it has not.
    lab.until_said(two.id, "IS-BUSY", 1).await;
    lab.order_volume_away(&kept).await;
    let is_waiting = || async {
        let told = lab.told_volume(kept.id).await;
        told.is_some_and(|told| told.reason.contains("it is open"))
    };
    eventually_true("it waits until it is closed", SOON, is_waiting)
        .await
        .unwrap();
    assert!(lab.volume_files(&kept)[0].exists());
    two.generation += 1;
    two.disks.clear();
    lab.want(&two).await;
    let has = lab.until_has(&two, &[]).await;
    assert_eq!((has.state, has.boot), (ObservedState::Running, 1));
    lab.until_said(two.id, "PHOTON-GUEST-VOLUME-GONE sda", 1)
        .await;
    lab.until_volume_gone(&kept).await;
    for vm in [one.id, two.id] {
        lab.order_away(vm).await;
        lab.until_gone(vm).await;
    }
}

/// What it was defined with has the volume yet; what is taken and removed goes by what runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_let_go_is_in_no_snapshot() {
    let Some(lab) = Lab::or_skip("what_was_let_go_is_in_no_snapshot").await else {
        return;
    };
    let mut kept = volume("local", 1);
    lab.want_volume(&kept).await;
    lab.until_ready(&kept).await;
    let mut vm = lab.vm("").await;
    vm.disks = vec![root(None, 1), disk(&kept, 0)];
    lab.give(&mut kept, Some(vm.id)).await;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    vm.generation += 1;
    vm.disks.pop();
    lab.want(&vm).await;
    lab.until_has(&vm, &[]).await;
    let id = SnapshotId::generate();
    for wish in [SnapshotWish::Kept, SnapshotWish::Gone] {
        vm.generation += 1;
        vm.snapshots = vec![DesiredSnapshot { id, wish }];
        lab.want(&vm).await;
        let is = |told: &ObservedVm| {
            let all = &told.snapshots;
            told.generation == vm.generation
                && match wish {
                    SnapshotWish::Kept => all.iter().any(|one| one.id == id && one.memory),
                    SnapshotWish::Gone => all.is_empty(),
                }
        };
        lab.until("the snapshot is as it is wanted", vm.id, is)
            .await;
    }
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_lie_in_pools_and_grow_while_it_is_off() {
    let Some(mut lab) = Lab::or_skip("disks_lie_in_pools_and_grow_while_it_is_off").await else {
        return;
    };
    let (mut first, mut second) = (volume("local", 1), volume("fast", 2));
    let mut vm = lab.vm("").await;
    vm.guest = guest("it", "#!/bin/sh\necho ROOT-IS $(cat /sys/block/vda/size)\n");
    vm.disks = vec![root(Some("fast"), 1), disk(&first, 0), disk(&second, 15)];
    // Its volumes are not there yet, and are nobody's to make but their own.
    lab.want(&vm).await;
    let waits = lab.until_state(&vm, ObservedState::Preparing).await;
    assert!(waits.reason.contains("not there yet"), "{}", waits.reason);
    lab.give(&mut first, Some(vm.id)).await;
    lab.until_ready(&first).await;
    assert!(lab.machines().is_empty());
    lab.give(&mut second, Some(vm.id)).await;
    lab.until_has(&vm, &[first.id, second.id]).await;
    for (volume, gib) in [(&first, 1), (&second, 2)] {
        let said = || async {
            let console = lab.console(vm.id);
            let names = ["sda", "sdb"].map(|name| seen(name, gib, volume));
            names.iter().any(|said| console.contains(said))
        };
        eventually_true("the guest sees it", SOON, said)
            .await
            .unwrap();
    }
    lab.until_said(vm.id, &format!("ROOT-IS {}", 1 << 21), 1)
        .await;
    let own = lab.pool().join("vms").join(vm.id.to_string());
    let size = || qcow2::read(&own.join("root.qcow2")).unwrap().unwrap().size;
    assert_eq!(size(), 1 << 30);

    // It grows when it is off, also if the agent is killed meanwhile; one that is to be smaller stays as it is.
    vm.generation += 1;
    vm.power = Power::Stopped;
    vm.disks[0].size_gib = 2;
    lab.want(&vm).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!((size(), &stopped.volumes[..]), (2 << 30, &[][..]));
    lab.kill();
    vm.generation += 1;
    vm.disks[0].size_gib = 3;
    lab.want(&vm).await;
    lab.start();
    lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!(size(), 3 << 30);
    vm.generation += 1;
    vm.disks[0].size_gib = 1;
    vm.disks.pop();
    vm.power = Power::Running;
    vm.boot = 2;
    lab.give(&mut second, None).await;
    lab.want(&vm).await;
    lab.until_has(&vm, &[first.id]).await;
    lab.until_said(vm.id, &format!("ROOT-IS {}", 3 << 21), 1)
        .await;

    // The file of a volume is lost: it is not made again, for it would be empty.
    let lost = lab.volume_files(&second)[0].clone();
    fs::remove_file(&lost).unwrap();
    second.generation += 1;
    lab.want_volume(&second).await;
    let is = |told: &ObservedVolume| told.state == ObservedVolumeState::Failed;
    let failed = lab.until_volume("it is not there", &second, is).await;
    assert!(
        failed.reason.contains("not there any more"),
        "{}",
        failed.reason
    );
    assert!(!lost.exists());
    lab.order_volume_away(&second).await;
    lab.until_volume_gone(&second).await;

    // With the VM goes what is its own, in every pool; a volume stays.
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
    assert!(!own.exists() && !lab.has_files(vm.id));
    lab.give(&mut first, None).await;
    lab.until_ready(&first).await;
    assert!(lab.volume_files(&first)[0].exists());
    // Its record is lost, without an order: it stays, and that is told.
    let key = volume::desired_key(&lab.host, first.id);
    lab.remove::<DesiredVolume>(&key).await;
    lab.until_problem(&first.id.to_string()).await;
    assert!(lab.volume_files(&first)[0].exists());
    assert_eq!(lab.told_volume(first.id).await, None);
    lab.want_volume(&first).await;
    lab.until_ready(&first).await;
    lab.order_volume_away(&first).await;
    lab.until_volume_gone(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_before_there_were_volumes_has_them_at_its_next_boot() {
    let test = "a_machine_of_before_there_were_volumes_has_them_at_its_next_boot";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let mut kept = volume("local", 1);
    lab.want_volume(&kept).await;
    let mut vm = lab.vm("").await;
    vm.hardware.volume_bus = None;
    vm.disks.push(root(None, 1));
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    vm.generation += 1;
    vm.disks.push(disk(&kept, 0));
    lab.give(&mut kept, Some(vm.id)).await;
    lab.want(&vm).await;
    let is = |told: &ObservedVm| told.reason.contains("next boot");
    let waits = lab.until("it waits", vm.id, is).await;
    assert_eq!(
        (waits.state, &waits.volumes[..]),
        (ObservedState::Running, &[][..])
    );
    vm.generation += 1;
    vm.grace_seconds = 0;
    vm.boot = 2;
    lab.want(&vm).await;
    lab.until_has(&vm, &[kept.id]).await;
    lab.until_said(vm.id, "disks=vda vdb", 1).await;

    // A pool that is not there any more: what is in it is not made anew.
    lab.stop().await;
    vm.generation += 1;
    vm.power = Power::Stopped;
    lab.want(&vm).await;
    lab.start();
    lab.until_state(&vm, ObservedState::Stopped).await;
    let mut other = lab.vm("").await;
    other.power = Power::Stopped;
    other.boot = 0;
    other.disks.push(root(Some("fast"), 1));
    lab.want(&other).await;
    lab.until_state(&other, ObservedState::Stopped).await;
    let elsewhere = lab.pool().with_extension("unmounted");
    fs::rename(lab.pool(), &elsewhere).unwrap();
    fs::create_dir(lab.pool()).unwrap();
    other.generation += 1;
    other.power = Power::Running;
    other.boot = 1;
    lab.want(&other).await;
    let is = |told: &ObservedVm| told.reason.contains("is it mounted?");
    let waits = lab.until("its pool is not there", other.id, is).await;
    assert_eq!(waits.state, ObservedState::Preparing);
    lab.until_problem("is it mounted?").await;
    assert_eq!(lab.told_agent().await.pools.len(), 1);
    assert_eq!(fs::read_dir(lab.pool()).unwrap().count(), 0);
    fs::remove_dir(lab.pool()).unwrap();
    fs::rename(&elsewhere, lab.pool()).unwrap();
    lab.until_state(&other, ObservedState::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volumes_snapshots_are_taken_and_gone_back_to() {
    let Some(mut lab) = Lab::or_skip("a_volumes_snapshots_are_taken_and_gone_back_to").await else {
        return;
    };
    let mut kept = volume("fast", 1);
    lab.want_volume(&kept).await;
    lab.until_ready(&kept).await;
    let path = lab.volume_files(&kept)[0].clone();
    let io = |command: &str| {
        let mut io = Command::new("qemu-io");
        let ran = io.args(["-f", "qcow2", "-c", command]).arg(&path).output();
        let ran = ran.unwrap();
        // It says so of a pattern that is not there, and ends well all the same.
        ran.status.success() && !String::from_utf8_lossy(&ran.stdout).contains("failed")
    };
    assert!(io("write -P 1 0 64k"));
    let id = SnapshotId::generate();
    kept.generation += 1;
    kept.snapshots.push(DesiredSnapshot {
        id,
        wish: SnapshotWish::Kept,
    });
    lab.want_volume(&kept).await;
    let ready = lab.until_ready(&kept).await;
    assert_eq!(
        (ready.snapshots[0].id, &ready.snapshots[0].failed),
        (id, &None)
    );
    assert!(io("write -P 2 0 64k"));
    // Said again, it is not taken again; one revert is one revert.
    kept.generation += 1;
    lab.want_volume(&kept).await;
    assert_eq!(lab.until_ready(&kept).await.snapshots, ready.snapshots);
    kept.generation += 1;
    kept.revert = Some(Revert {
        number: 1,
        snapshot: id,
        memory: false,
    });
    lab.want_volume(&kept).await;
    assert_eq!(lab.until_ready(&kept).await.reverted, 1);
    assert!(io("read -P 1 0 64k"));
    assert!(io("write -P 3 0 64k"));
    lab.kill();
    lab.start();
    kept.generation += 1;
    lab.want_volume(&kept).await;
    assert_eq!(lab.until_ready(&kept).await.reverted, 1);
    assert!(io("read -P 3 0 64k"));
    // What lies in it of the old size keeps it from growing, and it says so; then it does not any more.
    kept.generation += 1;
    kept.size_gib = 2;
    lab.want_volume(&kept).await;
    let is = |told: &ObservedVolume| told.state == ObservedVolumeState::Failed;
    let failed = lab.until_volume("it cannot grow", &kept, is).await;
    assert!(failed.reason.contains("snapshots"), "{}", failed.reason);
    // Killed at any moment, it comes to the same.
    let mut random = Seed::for_test("a_volumes_snapshots_are_taken").rng(0);
    kept.generation += 1;
    kept.snapshots[0].wish = SnapshotWish::Gone;
    kept.snapshots.extend((0..8).map(|_| DesiredSnapshot {
        id: SnapshotId::generate(),
        wish: SnapshotWish::Kept,
    }));
    lab.want_volume(&kept).await;
    for _ in 0..4 {
        // Not a wait for something, but the moment of the fault.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        lab.kill();
        lab.start();
    }
    kept.generation += 1;
    lab.want_volume(&kept).await;
    let ready = lab.until_ready(&kept).await;
    assert_eq!((ready.size_gib, ready.snapshots.len()), (2, 8));
    assert!(ready.snapshots.iter().all(|one| one.failed.is_none()));
    assert_eq!(qcow2::read(&path).unwrap().unwrap().snapshots.len(), 8);
    assert!(io("read -P 3 0 64k"));
    lab.order_volume_away(&kept).await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        lab.kill();
        lab.start();
    }
    lab.until_volume_gone(&kept).await;
}
