//! What is done, by what is wanted and what is found.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use photon_core::Name;
use plasmavmc_agent::{
    files::Note,
    machine::{Domain, DomainState, HeldVolume, Off},
    plan::{Ability, Found, Links, MOST_CRASHES, Step, Trouble, Wanted, asked, began, ended, plan},
    snapshots::Snapshots,
};
use plasmavmc_model::{
    AttachedVolume, Boot, DesiredDisk, DesiredVm, Digest, DiskFormat, End, EndedBy, Firmware,
    Hardware, Hypervisor, ObservedState, Power, VmId, VolumeId,
};

const DIGEST: &str = "digest";

pub(crate) fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

pub(crate) fn later(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

pub(crate) fn desired(power: Power, boot: u64) -> DesiredVm {
    DesiredVm {
        snapshots: Vec::new(),
        revert: None,
        id: VmId::generate(),
        name: "web".to_owned(),
        org: Name::new("acme").unwrap(),
        project: Name::new("shop").unwrap(),
        generation: 1,
        power,
        boot,
        grace_seconds: 60,
        vcpus: 1,
        memory_mib: 128,
        hardware: Hardware {
            volume_bus: None,
            machine: "pc-q35-7.2".to_owned(),
            cpu: "qemu64".to_owned(),
            firmware: Firmware::Bios,
            disk_bus: "virtio".to_owned(),
            nic_model: "virtio".to_owned(),
        },
        hypervisor: None,
        boots_from: Boot::Kernel {
            kernel: Digest::of(b"k"),
            initramfs: Digest::of(b"r"),
            cmdline: String::new(),
        },
        disks: Vec::new(),
        ports: Vec::new(),
        guest: None,
    }
}

pub(crate) fn nothing() -> Found {
    Found {
        domain: None,
        note: Note::default(),
        missing: Vec::new(),
        small: Vec::new(),
        absent: BTreeSet::new(),
        is_seed_missing: false,
        ability: Ability::Able(DIGEST.to_owned()),
        has_files: true,
        links: Links::default(),
        has_room: true,
        snapshots: Snapshots::default(),
    }
}

pub(crate) fn domain(boot: u64, state: DomainState) -> Option<Domain> {
    Some(Domain {
        id: VmId::generate(),
        boot,
        digest: DIGEST.to_owned(),
        hypervisor: Hypervisor::Qemu,
        state,
        volumes: Vec::new(),
        reverted: 0,
        memory: None,
    })
}

/// Of a boot that runs.
pub(crate) fn runs(boot: u64) -> Found {
    Found {
        domain: domain(boot, DomainState::Running),
        note: began(&Note::default(), boot, now()),
        ..nothing()
    }
}

/// Of a boot that has ended.
pub(crate) fn is_off(boot: u64, by: EndedBy) -> Found {
    Found {
        domain: domain(boot, DomainState::Off(Off::Unknown)),
        note: Note {
            boot,
            ended: Some(End {
                boot,
                by,
                at: now(),
            }),
            generation: 1,
            crashes: u32::from(by == EndedBy::Crash),
            ..Note::default()
        },
        ..nothing()
    }
}

pub(crate) fn of(desired: DesiredVm) -> Wanted {
    Wanted::Vm(Box::new(desired))
}

#[test]
fn the_table_of_the_design() {
    use EndedBy::{Asked, Crash, Guest, PoweredOff};
    use ObservedState::{Preparing, Running, Starting, Stopped, Stopping};
    use Power::{Running as On, Stopped as Off};
    let start = |boot| vec![Step::Define(boot), Step::Start(boot)];
    for (row, power, boot, found, steps, state) in [
        ("it runs", On, 3, runs(3), vec![], Running),
        ("a later boot runs", On, 3, runs(4), vec![], Running),
        (
            "a lower boot runs",
            On,
            3,
            runs(2),
            vec![Step::Ask],
            Stopping,
        ),
        (
            "the guest ended it",
            On,
            3,
            is_off(3, Guest),
            vec![],
            Stopped,
        ),
        (
            "the guest ended a lower one",
            On,
            3,
            is_off(2, Guest),
            start(3),
            Starting,
        ),
        (
            "it was powered off",
            On,
            3,
            is_off(3, PoweredOff),
            vec![Step::Start(3)],
            Starting,
        ),
        (
            "it ended as asked",
            On,
            3,
            is_off(3, Asked),
            vec![Step::Start(3)],
            Starting,
        ),
        ("it never ran", On, 1, nothing(), start(1), Starting),
        (
            "no boot was asked for",
            On,
            0,
            nothing(),
            vec![Step::Define(0)],
            Preparing,
        ),
        ("it is to stop", Off, 3, runs(3), vec![Step::Ask], Stopping),
        ("it is stopped", Off, 3, is_off(3, Asked), vec![], Stopped),
        (
            "it is stopped by a crash",
            Off,
            3,
            is_off(3, Crash),
            vec![],
            Stopped,
        ),
        (
            "it is to be made",
            Off,
            0,
            nothing(),
            vec![Step::Define(0)],
            Preparing,
        ),
    ] {
        let plan = plan(&of(desired(power, boot)), &found, now());
        assert_eq!((plan.steps, plan.state), (steps, state), "{row}");
    }
}

#[test]
fn a_guest_is_asked_again_and_then_powered_off() {
    let stopped = of(desired(Power::Stopped, 1));
    let mut found = runs(1);
    found.note = asked(&found.note, now());
    let at = |found: &Found, seconds| plan(&stopped, found, later(seconds));
    let waits = at(&found, 4);
    let until = later(60);
    assert_eq!(
        waits.reason,
        format!("its guest is asked to shut down, and is powered off at {until}")
    );
    assert_eq!(
        (waits.steps, waits.next),
        (vec![], Some(Duration::from_secs(6)))
    );
    assert_eq!(at(&found, 10).steps, [Step::Ask]);
    // The second asking is not the first.
    found.note = asked(&found.note, later(55));
    assert_eq!(found.note.asked, Some(now()));
    assert_eq!(at(&found, 57).next, Some(Duration::from_secs(3)));
    let over = at(&found, 60);
    assert_eq!(over.steps, [Step::PowerOff]);
    assert!(over.reason.contains("60 s"), "{}", over.reason);
    // While its end is under way nobody presses, but the time counts.
    found.domain = domain(1, DomainState::Ending);
    found.note.pressed = Some(now());
    assert_eq!(at(&found, 30).steps, []);
    assert_eq!(at(&found, 61).steps, [Step::PowerOff]);
}

#[test]
fn a_shorter_grace_counts_from_the_first_asking() {
    let mut impatient = desired(Power::Stopped, 1);
    impatient.grace_seconds = 20;
    let mut found = runs(1);
    found.note = asked(&found.note, now());
    let steps =
        |desired: &DesiredVm, seconds| plan(&of(desired.clone()), &found, later(seconds)).steps;
    assert_eq!(steps(&impatient, 9), []);
    assert_eq!(steps(&impatient, 21), [Step::PowerOff]);
    impatient.grace_seconds = 0;
    assert_eq!(steps(&impatient, 0), [Step::PowerOff]);
    // And without any, nobody is asked.
    assert_eq!(
        plan(&of(impatient), &runs(1), now()).steps,
        [Step::PowerOff]
    );
}

#[test]
fn who_ended_a_boot_is_found_out_afterwards() {
    use EndedBy::{Asked, Crash, Guest, PoweredOff};
    for (off, was_asked, powered_off, by) in [
        (Off::Guest, false, false, Guest),
        (Off::Guest, true, false, Asked),
        (Off::Guest, true, true, Asked),
        (Off::Destroyed, true, true, PoweredOff),
        (Off::Destroyed, false, false, PoweredOff),
        (Off::Crashed, false, false, Crash),
        (Off::Crashed, true, false, Crash),
        (Off::Crashed, true, true, PoweredOff),
        (Off::Unknown, false, false, Crash),
        (Off::Unknown, false, true, PoweredOff),
    ] {
        let mut found = runs(2);
        found.domain = domain(2, DomainState::Off(off));
        found.note.asked = was_asked.then(now);
        found.note.powered_off = powered_off;
        let steps = plan(&of(desired(Power::Running, 2)), &found, now()).steps;
        assert_eq!(
            steps,
            [Step::NoteEnd(by)],
            "{off:?} {was_asked} {powered_off}"
        );
    }
    // After the host was restarted there may be no domain at all.
    let mut found = runs(2);
    found.domain = None;
    let steps = plan(&of(desired(Power::Running, 2)), &found, now()).steps;
    assert_eq!(steps, [Step::NoteEnd(Crash)]);
}

#[test]
fn crashes_are_followed_by_growing_pauses_and_an_end() {
    let mut wanted = desired(Power::Running, 1);
    let mut note = began(&Note::default(), 1, now());
    let mut pauses = Vec::new();
    for crash in 1..=MOST_CRASHES {
        note = ended(&note, EndedBy::Crash, 1, now());
        assert_eq!(note.crashes, crash);
        let found = Found {
            note: note.clone(),
            ..is_off(1, EndedBy::Crash)
        };
        let plan = plan(&of(wanted.clone()), &found, now());
        assert_eq!(plan.steps, []);
        pauses.extend(plan.next.map(|next| next.as_secs()));
        if crash == MOST_CRASHES {
            assert_eq!(plan.state, ObservedState::Failed);
        } else {
            assert_eq!(plan.state, ObservedState::Starting);
            note = began(&note, 1, now());
        }
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    let found = Found {
        note: note.clone(),
        ..is_off(1, EndedBy::Crash)
    };
    // Time does not help; somebody who changes something does.
    assert_eq!(plan(&of(wanted.clone()), &found, later(3600)).steps, []);
    wanted.generation = 2;
    assert_eq!(
        plan(&of(wanted.clone()), &found, now()).steps,
        [Step::Start(1)]
    );
    let again = ended(&began(&note, 1, now()), EndedBy::Crash, 2, now());
    assert_eq!(again.crashes, 1);
    // A boot that lasted was a good one; another boot begins to count anew.
    let lasted = ended(&began(&note, 1, now()), EndedBy::Crash, 1, later(601));
    assert_eq!(lasted.crashes, 1);
    assert_eq!(began(&note, 2, now()).crashes, 0);
}

#[test]
fn what_is_not_there_yet_is_made_first_and_what_cannot_be_is_said() {
    let wanted = of(desired(Power::Running, 1));
    let disk = DesiredDisk {
        pool: None,
        volume: None,
        name: Name::new("root").unwrap(),
        size_gib: 1,
        base: None,
        base_format: DiskFormat::Qcow2,
    };
    let missing = Found {
        missing: vec![disk.clone()],
        ..nothing()
    };
    let prepares = plan(&wanted, &missing, now());
    assert_eq!(prepares.steps, [Step::MakeDisk(disk)]);
    assert_eq!(prepares.state, ObservedState::Preparing);
    // What its guest is told is made anew while it is off, and not while it runs.
    let untold = |found| Found {
        is_seed_missing: true,
        ..found
    };
    let tells = plan(&wanted, &untold(nothing()), now());
    assert_eq!(tells.steps, [Step::MakeSeed]);
    assert_eq!(plan(&wanted, &untold(runs(1)), now()).steps, []);
    let with = |ability, found: Found| plan(&wanted, &Found { ability, ..found }, now());
    let waits = with(Ability::NotYet("soon".to_owned()), nothing());
    assert_eq!(
        (waits.steps, waits.state),
        (vec![], ObservedState::Preparing)
    );
    let fails = with(Ability::Unable("never".to_owned()), nothing());
    assert_eq!((fails.steps, fails.state), (vec![], ObservedState::Failed));
    assert_eq!(fails.reason, "never");
    // What runs goes on, though it could not be made now.
    let goes_on = with(Ability::Unable("never".to_owned()), runs(1));
    assert_eq!(
        (goes_on.steps, goes_on.state),
        (vec![], ObservedState::Running)
    );
    // Another definition is made when it does not run.
    let other = with(Ability::Able("other".to_owned()), is_off(0, EndedBy::Asked));
    assert_eq!(other.steps, [Step::Define(1), Step::Start(1)]);
    assert_eq!(with(Ability::Able("other".to_owned()), runs(1)).steps, []);
}

#[test]
fn what_stands_still_is_told_and_what_nobody_noted_is_noted() {
    let wanted = of(desired(Power::Running, 1));
    let paused = Found {
        domain: domain(1, DomainState::Paused("sleeps".to_owned())),
        ..runs(1)
    };
    let told = plan(&wanted, &paused, now());
    assert_eq!((told.steps, told.state), (vec![], ObservedState::Paused));
    assert_eq!(told.reason, "sleeps");
    let mut full = Found {
        domain: domain(1, DomainState::Full),
        has_room: false,
        ..runs(1)
    };
    let told = plan(&wanted, &full, now());
    assert_eq!((told.steps, told.state), (vec![], ObservedState::Paused));
    assert!(told.reason.contains("full") && told.next.is_some());
    full.has_room = true;
    assert_eq!(plan(&wanted, &full, now()).steps, [Step::Resume]);
    let unknown = Found {
        note: Note::default(),
        ..runs(1)
    };
    assert_eq!(plan(&wanted, &unknown, now()).steps, [Step::NoteBoot(1)]);
    let stopped = of(desired(Power::Stopped, 1));
    assert_eq!(plan(&stopped, &unknown, now()).steps, [Step::NoteBoot(1)]);
    // Wanted again while it was asked to end: it is not ended any more.
    let mut was_asked = runs(1);
    was_asked.note = asked(&was_asked.note, now());
    assert_eq!(
        plan(&wanted, &was_asked, later(90)).steps,
        [Step::NoteBoot(1)]
    );
}

#[test]
fn a_start_that_is_not_over_is_looked_at_again() {
    let starting = Found {
        domain: domain(1, DomainState::Starting),
        ..runs(1)
    };
    let told = plan(&of(desired(Power::Running, 1)), &starting, now());
    assert_eq!((told.steps, told.state), (vec![], ObservedState::Starting));
    // Not only when somebody tells: of one that was cut off nobody does.
    assert!(told.next.is_some_and(|next| next <= Duration::from_secs(1)));
    let told = plan(&of(desired(Power::Stopped, 1)), &starting, now());
    assert_eq!(told.steps, [Step::Ask]);
    let told = plan(&Wanted::Gone, &starting, now());
    assert_eq!(told.steps, [Step::PowerOff]);
}

#[test]
fn what_is_ordered_away_goes_step_by_step() {
    for wanted in [Wanted::Gone, Wanted::Purged] {
        let steps = |found: &Found| plan(&wanted, found, now()).steps;
        assert_eq!(steps(&runs(1)), [Step::PowerOff]);
        assert_eq!(steps(&is_off(1, EndedBy::Guest)), [Step::Undefine]);
        assert_eq!(steps(&nothing()), [Step::RemoveFiles]);
        let clean = Found {
            has_files: false,
            ..nothing()
        };
        assert_eq!(steps(&clean), []);
    }
}

#[test]
fn ports_are_plugged_before_a_start_attached_after_it_and_unplugged_at_the_end() {
    let on = of(desired(Power::Running, 1));
    let off = of(desired(Power::Stopped, 1));
    let links = |plugged, ready, attached| Links {
        wanted: true,
        plugged,
        ready,
        attached,
        trouble: None,
    };
    let with = |wanted: &Wanted, links: &Links, found: Found| {
        let found = Found {
            links: links.clone(),
            ..found
        };
        plan(wanted, &found, now())
    };
    let steps = |wanted: &Wanted, links: Links, found: Found| with(wanted, &links, found).steps;
    assert_eq!(
        steps(&on, links(false, false, false), nothing()),
        [Step::Plug]
    );
    // Those of the boot before say nothing of this one.
    let again = steps(
        &on,
        links(true, false, false),
        is_off(1, EndedBy::PoweredOff),
    );
    assert_eq!(again, [Step::Plug]);
    let start = vec![Step::Define(1), Step::Start(1), Step::Attach];
    assert_eq!(steps(&on, links(true, true, false), nothing()), start);
    assert_eq!(
        steps(&on, links(true, false, false), runs(1)),
        [Step::Attach]
    );
    assert_eq!(steps(&on, links(true, false, true), runs(1)), []);
    // Before anything else is said of one that does not run.
    let ended = with(&on, &links(true, false, true), is_off(1, EndedBy::Guest));
    assert_eq!(
        (ended.steps, ended.state),
        (vec![Step::Unplug], ObservedState::Stopped)
    );
    assert_eq!(
        steps(&off, links(false, false, false), nothing()),
        [Step::Define(0)]
    );
    let left = links(true, false, false);
    assert_eq!(
        steps(&Wanted::Gone, left.clone(), runs(1)),
        [Step::PowerOff]
    );
    assert_eq!(
        steps(&Wanted::Gone, left.clone(), is_off(1, EndedBy::Asked)),
        [Step::Undefine]
    );
    assert_eq!(
        steps(&Wanted::Gone, left.clone(), nothing()),
        [Step::Unplug]
    );

    // What is refused holds up a start, and nothing else.
    let refused = |links: Links, is_unplugging| Links {
        trouble: Some(Trouble {
            why: "away".to_owned(),
            left: Duration::from_secs(2),
            is_unplugging,
        }),
        ..links
    };
    let waits = with(&on, &refused(links(true, false, false), false), nothing());
    assert_eq!(
        (waits.steps, waits.state),
        (vec![], ObservedState::Starting)
    );
    assert_eq!(
        (&*waits.reason, waits.next),
        ("away", Some(Duration::from_secs(2)))
    );
    let unattached = with(&on, &refused(links(true, false, false), false), runs(1));
    assert_eq!(
        (unattached.steps, unattached.state, &*unattached.reason),
        (vec![], ObservedState::Running, "away")
    );
    let stops = with(
        &off,
        &refused(left.clone(), true),
        is_off(1, EndedBy::Asked),
    );
    assert_eq!(
        (stops.steps, stops.state, stops.next),
        (vec![], ObservedState::Stopped, Some(Duration::from_secs(2)))
    );
    let gone = refused(left.clone(), true);
    assert_eq!(steps(&Wanted::Gone, gone, nothing()), [Step::RemoveFiles]);
    let tried = refused(left, false);
    assert_eq!(steps(&Wanted::Gone, tried, nothing()), [Step::Unplug]);
}

fn volume(lun: u8) -> DesiredDisk {
    let id = VolumeId::generate();
    DesiredDisk {
        pool: None,
        volume: Some(AttachedVolume { id, lun }),
        name: Name::new(id.to_string()).unwrap(),
        size_gib: 1,
        base: None,
        base_format: DiskFormat::Qcow2,
    }
}

fn id(disk: &DesiredDisk) -> VolumeId {
    disk.volume.unwrap().id
}

#[test]
fn volumes_come_and_go_while_it_runs() {
    let (first, second) = (volume(0), volume(1));
    let mut vm = desired(Power::Running, 3);
    vm.hardware.volume_bus = Some("scsi".to_owned());
    vm.disks = vec![first.clone(), second.clone()];
    let held = |disk: &DesiredDisk, lun| HeldVolume { id: id(disk), lun };
    let with = |volumes: Vec<HeldVolume>| {
        let mut found = runs(3);
        found.domain.as_mut().unwrap().volumes = volumes;
        found
    };
    let steps = |vm: &DesiredVm, found: &Found| plan(&of(vm.clone()), found, now()).steps;
    let attach = |disk: &DesiredDisk| Step::AttachVolume(disk.clone());
    let none = with(Vec::new());
    assert_eq!(steps(&vm, &none), [attach(&first), attach(&second)]);
    let one = with(vec![held(&first, Some(0))]);
    assert_eq!(steps(&vm, &one), [attach(&second)]);
    let both = with(vec![held(&first, Some(0)), held(&second, Some(1))]);
    assert_eq!(steps(&vm, &both), []);
    let mut bare = vm.clone();
    bare.disks.clear();
    let detach = |disk| Step::DetachVolume(id(disk));
    assert_eq!(steps(&bare, &both), [detach(&first), detach(&second)]);

    // What stands still takes and lets go, too; what is to end, or has not begun, does not.
    let mut paused = none.clone();
    paused.domain.as_mut().unwrap().state = DomainState::Paused("why".to_owned());
    assert_eq!(steps(&vm, &paused).len(), 2);
    let mut starting = none.clone();
    starting.domain.as_mut().unwrap().state = DomainState::Starting;
    assert_eq!(steps(&vm, &starting), []);
    let mut stopped = vm.clone();
    stopped.power = Power::Stopped;
    assert_eq!(steps(&stopped, &none), [Step::Ask]);

    // Another has its place still, and goes first; one that is not there is waited for.
    let other = volume(0);
    vm.disks = vec![other.clone()];
    let waits = plan(&of(vm.clone()), &one, now());
    assert_eq!(waits.steps, [detach(&first)]);
    assert!(waits.reason.contains("waits for the place"));
    let mut absent = none.clone();
    absent.absent.insert(id(&other));
    let waits = plan(&of(vm.clone()), &absent, now());
    assert_eq!((waits.steps, waits.state), (vec![], ObservedState::Running));
    assert!(waits.next.is_some() && waits.reason.contains("not there yet"));

    // Of a machine without a bus for them they come and go at the next boot, and that is said.
    vm.hardware.volume_bus = None;
    let old = plan(&of(vm), &with(vec![held(&first, None)]), now());
    assert_eq!((old.steps, old.state), (vec![], ObservedState::Running));
    assert!(
        old.reason.contains("comes at its next boot")
            && old.reason.contains("goes at its next boot"),
        "{}",
        old.reason
    );
}

#[test]
fn a_disk_grows_before_a_start() {
    let disk = DesiredDisk {
        volume: None,
        ..volume(0)
    };
    let small = Found {
        small: vec![disk.clone()],
        ..is_off(2, EndedBy::Asked)
    };
    let wanted = of(desired(Power::Running, 3));
    let grows = plan(&wanted, &small, now());
    assert_eq!(grows.steps, [Step::GrowDisk(disk)]);
    assert_eq!(grows.state, ObservedState::Preparing);
    // What runs has it open.
    let runs = Found {
        small: small.small,
        ..runs(3)
    };
    assert_eq!(plan(&wanted, &runs, now()).steps, []);
}
