//! Real guests under the real program: what happens to them, and to it.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use nix::sys::signal::{Signal, kill};
use photon_core::Name;
use photon_testkit::{Seed, eventually, poll::eventually_true};
use plasmavmc_model::{
    Alive, DesiredDisk, DesiredVm, DiskFormat, EndedBy, GoneDone, GoneOrder, Hypervisor,
    ObservedState, Power, VmId, desired, observed,
};
use rand::Rng as _;

use crate::lab::{Lab, SOON, said};

const READY: &str = "PHOTON-GUEST-READY";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_stops_as_asked_and_is_taken_down() {
    let Some(lab) = Lab::or_skip("a_guest_boots_stops_as_asked_and_is_taken_down").await else {
        return;
    };
    let mut vm = lab.vm("").await;
    vm.disks.push(DesiredDisk {
        pool: None,
        volume: None,
        name: Name::new("root").unwrap(),
        size_gib: 1,
        base: None,
        base_format: DiskFormat::Qcow2,
    });
    lab.want(&vm).await;
    let runs = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((runs.boot, runs.hypervisor), (1, Some(Hypervisor::Qemu)));
    assert_eq!(runs.reason, "it is emulated: kvm does not work on its host");
    // A tenant's data is nobody else's to read.
    assert_eq!(lab.mode(vm.id, "root.qcow2") & 0o777, 0o600);
    let directory = std::fs::metadata(lab.state.join("vm")).unwrap();
    assert_eq!(directory.permissions().mode() & 0o777, 0o700);
    lab.until_said(vm.id, READY, 1).await;
    assert!(
        lab.console(vm.id).contains("disks=vda"),
        "{}",
        lab.console(vm.id)
    );
    let machine = lab.machine(vm.id);

    // Said again, and changed in what a running guest has nothing of: nothing happens to it.
    vm.generation += 1;
    vm.name = "another".to_owned();
    lab.want(&vm).await;
    let again = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((again.since, lab.machine(vm.id)), (runs.since, machine));

    vm.generation += 1;
    vm.power = Power::Stopped;
    lab.want(&vm).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    let end = stopped.ended.unwrap();
    assert_eq!(
        (end.boot, end.by, stopped.hypervisor),
        (1, EndedBy::Asked, None)
    );
    assert!(lab.console(vm.id).contains("PHOTON-GUEST-POWEROFF"));
    assert!(lab.is_defined(vm.id) && lab.machines().is_empty());

    // A start, and a reboot while it is booting: a boot each.
    vm.generation += 1;
    vm.power = Power::Running;
    vm.boot = 2;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 2).await;
    vm.generation += 1;
    vm.boot = 3;
    lab.want(&vm).await;
    let is =
        |told: &plasmavmc_model::ObservedVm| told.state == ObservedState::Running && told.boot == 3;
    lab.until("boot 3 runs", vm.id, is).await;
    lab.until_said(vm.id, READY, 3).await;

    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
    assert!(!lab.has_files(vm.id) && !lab.is_defined(vm.id) && lab.machines().is_empty());
    // The order is withdrawn, and so is the answer to it.
    lab.remove::<GoneOrder>(&desired::gone_key(&lab.host, vm.id))
        .await;
    let key = observed::gone_key(&lab.host, vm.id);
    let gone = lab.store.collection::<GoneDone>();
    eventually_true("the answer is taken back", SOON, || async {
        gone.get(&key).await.unwrap().is_none()
    })
    .await
    .unwrap();
    // Of what was never here, nothing is left either.
    let never = VmId::generate();
    lab.order_away(never).await;
    lab.until_gone(never).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_listen_is_powered_off() {
    let Some(lab) = Lab::or_skip("a_guest_that_does_not_listen_is_powered_off").await else {
        return;
    };
    let mut vm = lab.vm("photon.acpi=ignore").await;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    vm.generation += 1;
    vm.power = Power::Stopped;
    vm.grace_seconds = 3;
    lab.want(&vm).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!(stopped.ended.unwrap().by, EndedBy::PoweredOff);
    assert!(
        stopped.reason.contains("did not shut down"),
        "{}",
        stopped.reason
    );
    // And one that is not asked at all.
    vm.generation += 1;
    vm.power = Power::Running;
    vm.boot = 2;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Running).await;
    vm.generation += 1;
    vm.power = Power::Stopped;
    vm.grace_seconds = 0;
    lab.want(&vm).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!(stopped.ended.unwrap().by, EndedBy::PoweredOff);
    assert!(lab.machines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_outlives_the_agent_and_its_own_end_is_its_own() {
    let Some(mut lab) = Lab::or_skip("a_guest_outlives_the_agent_and_its_own_end_is_its_own").await
    else {
        return;
    };
    let mut vm = lab.vm("").await;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let before = lab.until_state(&vm, ObservedState::Running).await;
    let machine = lab.machine(vm.id);
    // While one runs, no other has the same libvirt.
    let dry = lab.command(&["--dry-run"]);
    assert!(
        said(&dry).contains("while the agent runs"),
        "{}",
        said(&dry)
    );
    let status = lab.command(&["status"]);
    assert!(
        said(&status).contains(&vm.id.to_string()),
        "{}",
        said(&status)
    );

    lab.kill();
    assert_eq!(lab.machine(vm.id), machine);
    lab.start();
    vm.generation += 1;
    lab.want(&vm).await;
    let after = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((after.since, lab.machine(vm.id)), (before.since, machine));

    // In order, and with something to do when it is back.
    lab.stop().await;
    vm.generation += 1;
    vm.power = Power::Stopped;
    lab.want(&vm).await;
    let dry = lab.command(&["--dry-run"]);
    assert!(
        said(&dry).contains("ask the guest to shut down"),
        "{}",
        said(&dry)
    );
    assert_eq!(lab.machine(vm.id), machine);
    lab.start();
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!(stopped.ended.unwrap().by, EndedBy::Asked);

    // A guest that switches itself off stays off, though it was wanted; a boot more is a boot more.
    let mut once = lab.vm("photon.once").await;
    lab.want(&once).await;
    let ended = lab.until_state(&once, ObservedState::Stopped).await;
    let end = ended.ended.unwrap();
    assert_eq!((end.boot, end.by), (1, EndedBy::Guest));
    lab.kill();
    lab.start();
    once.generation += 1;
    lab.want(&once).await;
    let still = lab.until_state(&once, ObservedState::Stopped).await;
    assert_eq!(still.ended, Some(end));
    once.generation += 1;
    once.boot = 2;
    lab.want(&once).await;
    let is = |told: &plasmavmc_model::ObservedVm| {
        let by_guest = |end: &plasmavmc_model::End| end.boot == 2 && end.by == EndedBy::Guest;
        told.ended.as_ref().is_some_and(by_guest)
    };
    lab.until("the guest ends boot 2", once.id, is).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_dies_is_started_again() {
    let Some(mut lab) = Lab::or_skip("a_machine_that_dies_is_started_again").await else {
        return;
    };
    let vm = lab.vm("").await;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let first = lab.machine(vm.id);
    kill(first, Signal::SIGKILL).unwrap();
    lab.until_said(vm.id, READY, 2).await;
    let second = lab.machine(vm.id);
    assert_ne!(first, second);
    let told = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((told.boot, told.ended), (1, None));
    // While nobody looks.
    lab.kill();
    kill(second, Signal::SIGKILL).unwrap();
    lab.start();
    lab.until_said(vm.id, READY, 3).await;
    assert_ne!(lab.machine(vm.id), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_does_not_know_is_kept_until_a_person_decides() {
    let Some(mut lab) =
        Lab::or_skip("what_the_store_does_not_know_is_kept_until_a_person_decides").await
    else {
        return;
    };
    let vm = lab.vm("").await;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let machine = lab.machine(vm.id);
    // Nobody purges what is known.
    let refused = lab.command(&["purge", &vm.id.to_string()]);
    assert!(
        said(&refused).contains("is no orphan"),
        "{}",
        said(&refused)
    );

    // Its record is lost, without an order.
    lab.remove::<DesiredVm>(&desired::vm_key(&lab.host, vm.id))
        .await;
    let lists = |id: VmId| {
        let lab = &lab;
        async move {
            let agent = lab.told_agent().await;
            agent.orphans.iter().any(|orphan| orphan.id == id)
        }
    };
    eventually_true("it is listed", SOON, || lists(vm.id))
        .await
        .unwrap();
    assert_eq!(lab.machine(vm.id), machine);
    let adopted = lab.command(&["adopt", &vm.id.to_string()]);
    assert!(adopted.status.success(), "{}", said(&adopted));
    assert!(!lists(vm.id).await);
    assert_eq!(lab.machine(vm.id), machine);

    // The store is replaced by an empty one: nothing happens, not even to what it does not know, until it is accepted.
    Box::pin(lab.chainfire.replace_by_empty()).await.unwrap();
    let options = photon_store::Options::new([lab.chainfire.endpoint()]);
    lab.store = photon_store::Store::connect(options).await.unwrap();
    let other = VmId::generate();
    lab.order_away(vm.id).await;
    let log = || {
        let status = lab.command(&["status"]);
        async move { said(&status).contains("the store is not what it was") }
    };
    eventually_true("status says so", SOON, log).await.unwrap();
    let refused = lab.command(&["purge", &other.to_string()]);
    assert!(
        said(&refused).contains("accept-store"),
        "{}",
        said(&refused)
    );
    assert_eq!(lab.machine(vm.id), machine);
    lab.remove::<GoneOrder>(&desired::gone_key(&lab.host, vm.id))
        .await;
    let accepted = lab.command(&["accept-store"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    let alive = lab.store.collection::<Alive>();
    let key = observed::alive_key(&lab.host);
    let is_back = || async { alive.get(&key).await.unwrap() };
    eventually("the agent tells the new store", SOON, is_back)
        .await
        .unwrap();
    assert_eq!(lab.machine(vm.id), machine);

    let purged = lab.command(&["purge", &vm.id.to_string()]);
    assert!(purged.status.success(), "{}", said(&purged));
    assert!(!lab.has_files(vm.id) && !lab.is_defined(vm.id) && lab.machines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_at_any_moment_makes_one_machine() {
    let Some(mut lab) =
        Lab::or_skip("an_agent_that_is_killed_at_any_moment_makes_one_machine").await
    else {
        return;
    };
    let mut random = Seed::for_test("an_agent_that_is_killed_at_any_moment").rng(0);
    let mut vm = lab.vm("").await;
    vm.disks.push(DesiredDisk {
        pool: None,
        volume: None,
        name: Name::new("root").unwrap(),
        size_gib: 1,
        base: None,
        base_format: DiskFormat::Qcow2,
    });
    lab.want(&vm).await;
    for _ in 0..6 {
        // Not a wait for something, but the moment of the fault.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..900))).await;
        lab.kill();
        assert!(lab.machines().len() <= 1);
        lab.start();
    }
    vm.generation += 1;
    lab.want(&vm).await;
    lab.until_state(&vm, ObservedState::Running).await;
    lab.until_said(vm.id, READY, 1).await;
    lab.machine(vm.id);
    lab.order_away(vm.id).await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(random.random_range(0..600))).await;
        lab.kill();
        lab.start();
    }
    lab.until_gone(vm.id).await;
    assert!(!lab.has_files(vm.id) && !lab.is_defined(vm.id) && lab.machines().is_empty());
}
