//! Snapshots of guests and disks, and what they were before: real ones under the real program.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use nix::sys::signal::{Signal, kill};
use photon_core::Name;
use photon_testkit::Seed;
use plasmavmc_agent::qcow2;
use plasmavmc_model::{
    DesiredDisk, DesiredSnapshot, DesiredVm, Digest, DiskFormat, ObservedSnapshot, ObservedState,
    ObservedVm, Power, Revert, SnapshotId, SnapshotWish,
};
use rand::Rng as _;

use crate::{
    images::{until_held, upload},
    lab::{Lab, Typist},
};

const READY: &str = "PHOTON-GUEST-READY";

fn root(base: Option<Digest>) -> DesiredDisk {
    DesiredDisk {
        pool: None,
        volume: None,
        name: Name::new("root").unwrap(),
        size_gib: 1,
        base,
        base_format: DiskFormat::Raw,
    }
}

/// Wishes it, as another generation.
async fn wish(lab: &Lab, vm: &mut DesiredVm, id: SnapshotId, wish: SnapshotWish) {
    vm.generation += 1;
    vm.snapshots.retain(|other| other.id != id);
    vm.snapshots.push(DesiredSnapshot { id, wish });
    lab.want(vm).await;
}

async fn until_told(lab: &Lab, vm: &DesiredVm, id: SnapshotId) -> ObservedSnapshot {
    let is = |told: &ObservedVm| {
        told.generation == vm.generation && told.snapshots.iter().any(|one| one.id == id)
    };
    let told = lab.until("the snapshot is told", vm.id, is).await;
    told.snapshots.into_iter().find(|one| one.id == id).unwrap()
}

async fn until_removed(lab: &Lab, vm: &DesiredVm, id: SnapshotId) {
    let is = |told: &ObservedVm| {
        told.generation == vm.generation && told.snapshots.iter().all(|one| one.id != id)
    };
    lab.until("the snapshot is told no more", vm.id, is).await;
    assert!(!within(lab, vm).contains(&id.to_string()));
}

/// What is within its disk.
fn within(lab: &Lab, vm: &DesiredVm) -> BTreeSet<String> {
    let disk = qcow2::read(&lab.path(vm.id, "root.qcow2"))
        .unwrap()
        .unwrap();
    let names = disk.snapshots.into_iter().map(|one| one.name);
    names.collect()
}

/// Whether the disk begins with that letter, four times; whoever has it open.
fn begins_with(path: &Path, letter: u8) -> bool {
    let read = format!("read -P {letter} 0 4");
    let mut command = Command::new("qemu-io");
    let command = command
        .args(["-U", "-r", "-f", "qcow2", "-c", &read])
        .arg(path);
    command.output().unwrap().status.success()
}

/// Has the guest write it where the disk begins, through to the disk.
async fn write(lab: &Lab, vm: &DesiredVm, typist: &mut Typist, letter: char) {
    let word = letter.to_string().repeat(4);
    // What it says is not what was typed.
    typist
        .type_in(&format!(
            "echo {word} | dd of=/dev/vda bs=512 conv=fsync 2>/dev/null; echo wrote-{word}-$((6 * 7))"
        ))
        .await;
    lab.until_said(vm.id, &format!("wrote-{word}-42"), 1).await;
}

/// libvirt's own records of snapshots.
fn records(lab: &Lab, vm: &DesiredVm) -> usize {
    let path = lab
        .state
        .join(format!("libvirt/lib/qemu/snapshot/{}", vm.id));
    fs::read_dir(path).map_or(0, Iterator::count)
}

async fn revert(lab: &Lab, vm: &mut DesiredVm, snapshot: SnapshotId, memory: bool) -> ObservedVm {
    let number = vm.revert.map_or(0, |revert| revert.number) + 1;
    vm.generation += 1;
    vm.revert = Some(Revert {
        number,
        snapshot,
        memory,
    });
    lab.want(vm).await;
    let is = |told: &ObservedVm| {
        let state = match vm.power {
            Power::Running => ObservedState::Running,
            Power::Paused => ObservedState::Paused,
            _ => ObservedState::Stopped,
        };
        told.generation == vm.generation && told.reverted == number && told.state == state
    };
    lab.until("it is reverted", vm.id, is).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_what_it_was_with_its_memory_and_its_disk() {
    let test = "a_guest_is_what_it_was_with_its_memory_and_its_disk";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let base = vec![b'Z'; 1 << 20];
    let blob = upload(&lab, &base, "raw").await.unwrap();
    until_held(&lab, blob.digest).await;
    let mut vm = lab.vm("").await;
    vm.disks.push(root(Some(blob.digest)));
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let disk = lab.path(vm.id, "root.qcow2");
    let mut typist = lab.typist(vm.id).await;
    write(&lab, &vm, &mut typist, 'A').await;
    typist.count().await;
    lab.until_ticks(vm.id, "it counts", |ticks| ticks.len() >= 3)
        .await;

    // With its memory, and it goes on.
    let hot = SnapshotId::generate();
    wish(&lab, &mut vm, hot, SnapshotWish::Kept).await;
    let told = until_told(&lab, &vm, hot).await;
    assert_eq!((told.failed, told.memory), (None, true));
    assert!(told.memory_bytes > 10 << 20, "{}", told.memory_bytes);
    assert_eq!((within(&lab, &vm).len(), records(&lab, &vm)), (1, 0));
    let then = *lab.ticks(vm.id).last().unwrap();
    lab.until_ticks(vm.id, "it counts on", |ticks| {
        ticks.last().is_some_and(|last| *last >= then + 5)
    })
    .await;
    lab.until_state(&vm, ObservedState::Running).await;

    // It is what it was: the count, the disk, and what the guest sees of it.
    write(&lab, &vm, &mut typist, 'B').await;
    assert!(begins_with(&disk, b'B'));
    let before = lab.ticks(vm.id);
    let last = *before.last().unwrap();
    vm.boot = 2;
    let told = revert(&lab, &mut vm, hot, true).await;
    assert_eq!((told.boot, told.ended), (2, None));
    let mut typist = lab.typist(vm.id).await;
    let ticks = lab
        .until_ticks(vm.id, "it counts again", |ticks| {
            ticks.len() >= before.len() + 4
        })
        .await;
    let again = ticks.windows(2).find(|pair| pair[1] != pair[0] + 1);
    let again = again.expect("it went back")[1];
    assert!(again <= then + 1 && again <= last, "{again} {then} {last}");
    assert_eq!(lab.console(vm.id).matches(READY).count(), 1);
    assert!(begins_with(&disk, b'A') && records(&lab, &vm) == 0);
    typist
        .type_in("echo disk-$(dd if=/dev/vda bs=4 count=1 2>/dev/null)-$((6 * 7))")
        .await;
    lab.until_said(vm.id, "disk-AAAA-42", 1).await;

    // Done once: neither another agent nor another word does it again.
    let machine = lab.machine(vm.id);
    lab.kill();
    lab.start();
    vm.generation += 1;
    lab.want(&vm).await;
    let told = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((told.reverted, lab.machine(vm.id)), (1, machine));
    assert_eq!(told.snapshots.len(), 1);
    // And to standing still.
    vm.boot = 3;
    vm.power = Power::Paused;
    revert(&lab, &mut vm, hot, true).await;
    assert_ne!(lab.machine(vm.id), machine);
    // Of what is on disk only, too: its memory is forgotten.
    vm.generation += 1;
    vm.power = Power::Suspended;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    vm.power = Power::Running;
    vm.boot = 4;
    revert(&lab, &mut vm, hot, true).await;
    assert_eq!(lab.console(vm.id).matches(READY).count(), 1);

    // It is removed while the guest runs.
    wish(&lab, &mut vm, hot, SnapshotWish::Gone).await;
    until_removed(&lab, &vm, hot).await;
    lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((within(&lab, &vm).len(), records(&lab, &vm)), (0, 0));
    // What is not there any more ends nothing.
    let machine = lab.machine(vm.id);
    vm.generation += 1;
    vm.revert = Some(Revert {
        number: 4,
        snapshot: hot,
        memory: true,
    });
    lab.want(&vm).await;
    let is = |told: &ObservedVm| told.reason.contains("none of its disks");
    let told = lab.until("it says why not", vm.id, is).await;
    assert_eq!((told.state, told.reverted), (ObservedState::Running, 3));
    assert_eq!(lab.machine(vm.id), machine);

    let kept = fs::read(lab.state.join("images/files").join(blob.digest.to_string())).unwrap();
    assert_eq!(Digest::of(&kept), blob.digest);
    let checked = Command::new("qemu-img")
        .args(["check", "-q", "-U"])
        .arg(&disk)
        .status();
    assert!(checked.unwrap().success());
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_nothing_has_open_are_what_they_were() {
    let test = "disks_that_nothing_has_open_are_what_they_were";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let mut vm = lab.vm("").await;
    let mut other = root(None);
    other.name = Name::new("other").unwrap();
    vm.disks = vec![root(None), other];
    vm.grace_seconds = 0;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let mut typist = lab.typist(vm.id).await;
    write(&lab, &vm, &mut typist, 'A').await;
    vm.generation += 1;
    vm.power = Power::Stopped;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Stopped).await;
    let disks = ["root.qcow2", "other.qcow2"].map(|name| lab.path(vm.id, name));
    assert!(begins_with(&disks[0], b'A'));
    let count = |disk: &Path| qcow2::read(disk).unwrap().unwrap().snapshots.len();

    let (one, two) = (SnapshotId::generate(), SnapshotId::generate());
    wish(&lab, &mut vm, one, SnapshotWish::Kept).await;
    let told = until_told(&lab, &vm, one).await;
    assert_eq!(
        (told.failed, told.memory, told.memory_bytes),
        (None, false, 0)
    );
    assert!(disks.iter().all(|disk| count(disk) == 1));

    // Another has changed since, and the guest is started and stopped for it.
    vm.generation += 1;
    (vm.power, vm.boot) = (Power::Running, 2);
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 2).await;
    let mut typist = lab.typist(vm.id).await;
    write(&lab, &vm, &mut typist, 'B').await;
    vm.generation += 1;
    vm.power = Power::Stopped;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Stopped).await;
    wish(&lab, &mut vm, two, SnapshotWish::Kept).await;
    until_told(&lab, &vm, two).await;
    assert!(begins_with(&disks[0], b'B'));
    revert(&lab, &mut vm, one, false).await;
    assert!(begins_with(&disks[0], b'A'));
    revert(&lab, &mut vm, two, false).await;
    assert!(begins_with(&disks[0], b'B'));

    // A note that was lost: what is within the disks is told again. What is within none is told as that.
    lab.stop().await;
    fs::remove_file(lab.path(vm.id, "snapshots.json")).unwrap();
    lab.start();
    vm.generation += 1;
    lab.want(&vm).await;
    for id in [one, two] {
        assert_eq!(until_told(&lab, &vm, id).await.failed, None);
    }
    for disk in &disks {
        let mut command = Command::new("qemu-img");
        let command = command.args(["snapshot", "-d", &one.to_string()]).arg(disk);
        assert!(command.status().unwrap().success());
    }
    vm.generation += 1;
    lab.want(&vm).await;
    let told = until_told(&lab, &vm, one).await;
    assert!(told.failed.unwrap().contains("none of the disks"));
    for id in [one, two] {
        wish(&lab, &mut vm, id, SnapshotWish::Gone).await;
        until_removed(&lab, &vm, id).await;
    }
    assert!(disks.iter().all(|disk| count(disk) == 0));

    // While somebody else has a disk open, nothing is done to it, and nothing has failed.
    let mut holder = Command::new("qemu-io");
    let mut holder = holder
        .args(["-f", "qcow2"])
        .arg(&disks[1])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let held = || async { qcow2::is_in_use(&disks[1]).unwrap().then_some(()) };
    photon_testkit::eventually("it is open", crate::lab::SOON, held)
        .await
        .unwrap();
    let three = SnapshotId::generate();
    wish(&lab, &mut vm, three, SnapshotWish::Kept).await;
    let is = |told: &ObservedVm| told.reason.contains("open");
    let told = lab.until("it says what it waits for", vm.id, is).await;
    assert!(told.snapshots.is_empty() && count(&disks[0]) == 0);
    kill(
        nix::unistd::Pid::from_raw(holder.id().cast_signed()),
        Signal::SIGKILL,
    )
    .unwrap();
    holder.wait().unwrap();
    assert_eq!(until_told(&lab, &vm, three).await.failed, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_there_is_no_place_for_a_snapshot() {
    let test = "without_a_disk_there_is_no_place_for_a_snapshot";
    let Some(lab) = Lab::or_skip(test).await else {
        return;
    };
    let mut vm = lab.vm("").await;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Running).await;
    let machine = lab.machine(vm.id);
    let id = SnapshotId::generate();
    wish(&lab, &mut vm, id, SnapshotWish::Kept).await;
    let told = until_told(&lab, &vm, id).await;
    assert!(told.failed.unwrap().contains("no disk"));
    lab.until_state(&vm, ObservedState::Running).await;
    wish(&lab, &mut vm, id, SnapshotWish::Gone).await;
    let is = |told: &ObservedVm| told.generation == vm.generation && told.snapshots.is_empty();
    lab.until("it is told no more", vm.id, is).await;
    assert_eq!(lab.machine(vm.id), machine);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_at_any_moment_takes_one_snapshot_and_reverts_once() {
    let test = "an_agent_that_is_killed_at_any_moment_takes_one_snapshot_and_reverts_once";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let mut random = Seed::for_test(test).rng(0);
    let mut moment = || Duration::from_millis(random.random_range(0..700));
    let mut vm = lab.vm("").await;
    vm.disks = vec![root(None)];
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let mut typist = lab.typist(vm.id).await;
    typist.count().await;
    lab.until_ticks(vm.id, "it counts", |ticks| ticks.len() >= 3)
        .await;
    let mut last = SnapshotId::generate();
    for _ in 0..3 {
        last = SnapshotId::generate();
        wish(&lab, &mut vm, last, SnapshotWish::Kept).await;
        // Not a wait for something, but the moment of the fault.
        tokio::time::sleep(moment()).await;
        lab.kill();
        lab.start();
        let told = until_told(&lab, &vm, last).await;
        assert_eq!((told.failed, told.memory), (None, true));
        // It goes on, though nobody was there to let it.
        lab.until_state(&vm, ObservedState::Running).await;
        let now = *lab.ticks(vm.id).last().unwrap();
        let on = |ticks: &[u32]| ticks.last().is_some_and(|last| *last > now + 2);
        lab.until_ticks(vm.id, "it counts on", on).await;
    }
    assert_eq!((within(&lab, &vm).len(), records(&lab, &vm)), (3, 0));
    for number in 1..=3 {
        vm.generation += 1;
        vm.boot += 1;
        vm.revert = Some(Revert {
            number,
            snapshot: last,
            memory: true,
        });
        lab.want(&vm).await;
        tokio::time::sleep(moment()).await;
        lab.kill();
        lab.start();
        let is = |told: &ObservedVm| {
            told.reverted == number && told.state == ObservedState::Running && told.boot == vm.boot
        };
        lab.until("it is reverted", vm.id, is).await;
        let before = lab.ticks(vm.id).len();
        lab.until_ticks(vm.id, "it counts again", |ticks| ticks.len() > before + 2)
            .await;
        lab.machine(vm.id);
    }
    assert_eq!(lab.console(vm.id).matches(READY).count(), 1);
    assert_eq!(within(&lab, &vm).len(), 3);
    for snapshot in &mut vm.snapshots {
        snapshot.wish = SnapshotWish::Gone;
    }
    vm.generation += 1;
    lab.want(&vm).await;
    tokio::time::sleep(moment()).await;
    lab.kill();
    lab.start();
    let is = |told: &ObservedVm| told.snapshots.is_empty() && told.generation == vm.generation;
    lab.until("they are told no more", vm.id, is).await;
    assert!(within(&lab, &vm).is_empty());
}
