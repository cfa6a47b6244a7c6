//! Guests that stand still, and guests that are on disk: real ones under the real program.

use std::{fs, time::Duration};

use photon_testkit::{Seed, eventually};
use plasmavmc_model::{DesiredVm, EndedBy, ObservedState, ObservedVm, Power};
use rand::Rng as _;

use crate::lab::Lab;

const READY: &str = "PHOTON-GUEST-READY";

/// Wants it so, as another generation.
async fn want(lab: &Lab, vm: &mut DesiredVm, power: Power) {
    vm.generation += 1;
    vm.power = power;
    lab.want(vm).await;
}

/// A guest that counts, and how far it was seen to.
async fn counting(lab: &Lab) -> (DesiredVm, u32) {
    let vm = lab.vm("").await;
    lab.want(&vm).await;
    lab.until_said(vm.id, READY, 1).await;
    let mut typist = lab.typist(vm.id).await;
    typist.count().await;
    let ticks = lab.until_ticks(vm.id, "it counts", |ticks| ticks.len() >= 3);
    let last = *ticks.await.last().unwrap();
    (vm, last)
}

/// It counts on, from where it was, and has left nothing out.
async fn counts_on(lab: &Lab, vm: &DesiredVm, from: u32) -> u32 {
    let is_on = |ticks: &[u32]| ticks.last().is_some_and(|last| *last >= from + 3);
    let ticks = lab.until_ticks(vm.id, "it counts on", is_on).await;
    let all: Vec<u32> = (1..=*ticks.last().unwrap()).collect();
    assert_eq!(ticks, all);
    *ticks.last().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_stands_still_and_goes_on_where_it_was() {
    let test = "a_guest_stands_still_and_goes_on_where_it_was";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let (mut vm, _) = counting(&lab).await;
    let machine = lab.machine(vm.id);
    want(&lab, &mut vm, Power::Paused).await;
    let told = lab.until_state(&vm, ObservedState::Paused).await;
    assert_eq!((told.boot, told.ended), (1, None));
    let ticks = lab.ticks(vm.id);
    // For as long as an agent takes to be killed, and another to look at everything.
    lab.kill();
    lab.start();
    want(&lab, &mut vm, Power::Paused).await;
    lab.until_state(&vm, ObservedState::Paused).await;
    assert_eq!(
        (lab.ticks(vm.id), lab.machine(vm.id)),
        (ticks.clone(), machine)
    );
    want(&lab, &mut vm, Power::Running).await;
    lab.until_state(&vm, ObservedState::Running).await;
    counts_on(&lab, &vm, *ticks.last().unwrap()).await;

    // It hears that it is to end.
    want(&lab, &mut vm, Power::Paused).await;
    lab.until_state(&vm, ObservedState::Paused).await;
    want(&lab, &mut vm, Power::Stopped).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    assert_eq!(stopped.ended.unwrap().by, EndedBy::Asked);
    assert!(lab.console(vm.id).contains("PHOTON-GUEST-POWEROFF"));

    // One that is off is started, and stands still then.
    vm.boot = 2;
    want(&lab, &mut vm, Power::Paused).await;
    lab.until_state(&vm, ObservedState::Paused).await;
    want(&lab, &mut vm, Power::Running).await;
    lab.until_said(vm.id, READY, 2).await;
    lab.until_state(&vm, ObservedState::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_goes_to_disk_and_goes_on_from_there() {
    let test = "a_guest_goes_to_disk_and_goes_on_from_there";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let (mut vm, last) = counting(&lab).await;
    let memory = lab
        .state
        .join(format!("libvirt/lib/qemu/save/{}.save", vm.id));
    want(&lab, &mut vm, Power::Suspended).await;
    let told = lab.until_state(&vm, ObservedState::Suspended).await;
    assert_eq!((told.boot, told.ended, told.hypervisor), (1, None, None));
    assert!(lab.machines().is_empty() && memory.exists());
    let kept = lab.state.join("kept.save");
    fs::copy(&memory, &kept).unwrap();
    // What is on disk outlives the agent.
    lab.kill();
    lab.start();
    want(&lab, &mut vm, Power::Suspended).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    assert!(lab.machines().is_empty());
    want(&lab, &mut vm, Power::Running).await;
    let told = lab.until_state(&vm, ObservedState::Running).await;
    assert_eq!((told.boot, told.ended), (1, None));
    assert!(!told.reason.contains("anew") && !memory.exists());
    let last = counts_on(&lab, &vm, last).await;

    // From there to standing still.
    want(&lab, &mut vm, Power::Suspended).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    want(&lab, &mut vm, Power::Paused).await;
    lab.until_state(&vm, ObservedState::Paused).await;
    lab.machine(vm.id);
    // From standing still to disk, and on.
    want(&lab, &mut vm, Power::Suspended).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    want(&lab, &mut vm, Power::Running).await;
    lab.until_state(&vm, ObservedState::Running).await;
    let last = counts_on(&lab, &vm, last).await;
    assert_eq!(lab.console(vm.id).matches(READY).count(), 1);

    // Memory of what runs is of a time that is over: it is removed before anything can go on from it.
    let machine = lab.machine(vm.id);
    lab.stop().await;
    fs::copy(&kept, &memory).unwrap();
    lab.start();
    want(&lab, &mut vm, Power::Running).await;
    lab.until_state(&vm, ObservedState::Running).await;
    let gone = || async { (!memory.exists()).then_some(()) };
    eventually("it is removed", crate::lab::SOON, gone)
        .await
        .unwrap();
    assert_eq!(lab.machine(vm.id), machine);
    counts_on(&lab, &vm, last).await;

    // It is thrown away when the VM is to be off, and the boot is over.
    want(&lab, &mut vm, Power::Suspended).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    want(&lab, &mut vm, Power::Stopped).await;
    let stopped = lab.until_state(&vm, ObservedState::Stopped).await;
    let end = stopped.ended.unwrap();
    assert_eq!((end.boot, end.by), (1, EndedBy::PoweredOff));
    assert!(!memory.exists());

    // What cannot be read any more is told, and the boot begins anew.
    vm.boot = 2;
    want(&lab, &mut vm, Power::Running).await;
    lab.until_said(vm.id, READY, 2).await;
    want(&lab, &mut vm, Power::Suspended).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    let half = fs::metadata(&memory).unwrap().len() / 2;
    fs::File::options()
        .write(true)
        .open(&memory)
        .unwrap()
        .set_len(half)
        .unwrap();
    want(&lab, &mut vm, Power::Running).await;
    lab.until_said(vm.id, READY, 3).await;
    let is = |told: &ObservedVm| {
        told.state == ObservedState::Running && told.reason.contains("began anew")
    };
    let told = lab.until("it says that it began anew", vm.id, is).await;
    assert_eq!(told.boot, 2);

    // And with the VM its memory goes.
    want(&lab, &mut vm, Power::Suspended).await;
    lab.until_state(&vm, ObservedState::Suspended).await;
    lab.order_away(vm.id).await;
    lab.until_gone(vm.id).await;
    assert!(!memory.exists() && !lab.has_files(vm.id) && !lab.is_defined(vm.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_while_memory_is_written_or_read_loses_nothing() {
    let test = "an_agent_that_is_killed_while_memory_is_written_or_read_loses_nothing";
    let Some(mut lab) = Lab::or_skip(test).await else {
        return;
    };
    let mut random = Seed::for_test(test).rng(0);
    let (mut vm, mut last) = counting(&lab).await;
    for _ in 0..3 {
        for (power, state) in [
            (Power::Suspended, ObservedState::Suspended),
            (Power::Running, ObservedState::Running),
        ] {
            want(&lab, &mut vm, power).await;
            // Not a wait for something, but the moment of the fault.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..900))).await;
            lab.kill();
            lab.start();
            let told = lab.until_state(&vm, state).await;
            assert_eq!((told.boot, told.ended), (1, None));
            assert_eq!(lab.machines().len(), usize::from(power == Power::Running));
        }
        last = counts_on(&lab, &vm, last).await;
    }
    assert_eq!(lab.console(vm.id).matches(READY).count(), 1);
}
