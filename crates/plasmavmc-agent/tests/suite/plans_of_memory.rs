//! What is done about standing still, about memory on disk, and about snapshots, by what is wanted and what is found.

use std::collections::BTreeMap;

use plasmavmc_agent::{
    files::Note,
    machine::{Domain, DomainState, HeldVolume, Memory, Off},
    plan::{
        Found, Links, MOST_RESTORES, Step, Wanted, asked, began, not_restored, plan, saved, to_ask,
    },
    qcow2,
    snapshots::{Noted, Notes, Snapshots, Stage, Within},
};
use plasmavmc_model::{
    DesiredSnapshot, DesiredVm, EndedBy, ObservedState, Power, Revert, SnapshotId, SnapshotWish,
    VolumeId,
};

use crate::plans::{desired, is_off, later, nothing, now, of, runs};

/// Of a boot that stands still in that way.
fn stands(boot: u64, state: DomainState) -> Found {
    with(runs(boot), |domain| domain.state = state)
}

fn with(found: Found, change: impl FnOnce(&mut Domain)) -> Found {
    let mut domain = found.domain.unwrap();
    change(&mut domain);
    Found {
        domain: Some(domain),
        ..found
    }
}

/// Of a boot that was put on disk.
fn suspended(boot: u64) -> Found {
    with(runs(boot), |domain| {
        domain.state = DomainState::Off(Off::Unknown);
        domain.memory = Some(Memory::Whole(boot));
    })
}

fn noted(found: Found, change: impl FnOnce(&mut Note)) -> Found {
    let mut note = found.note;
    change(&mut note);
    Found { note, ..found }
}

fn by_us(found: Found) -> Found {
    noted(found, |note| note.paused = true)
}

fn planned(power: Power, boot: u64, found: &Found) -> (Vec<Step>, ObservedState) {
    let plan = plan(&of(desired(power, boot)), found, now());
    (plan.steps, plan.state)
}

#[test]
fn what_is_to_stand_still_does_and_goes_on_if_it_was_us() {
    use DomainState::{Full, Halted, Held};
    use ObservedState::{Paused, Running, Starting, Stopping};
    use Power::{Paused as Still, Running as On};
    for (row, power, found, steps, state) in [
        (
            "it runs, and is not to",
            Still,
            runs(1),
            vec![Step::Pause],
            Running,
        ),
        (
            "it stands still",
            Still,
            by_us(stands(1, Held)),
            vec![],
            Paused,
        ),
        (
            "nobody noted that we want it so",
            Still,
            stands(1, Held),
            vec![Step::Pause],
            Paused,
        ),
        (
            "it goes on",
            On,
            by_us(stands(1, Held)),
            vec![Step::Resume],
            Paused,
        ),
        (
            "it went on, and that was not noted",
            On,
            by_us(runs(1)),
            vec![Step::Resume],
            Running,
        ),
        (
            "somebody else paused it",
            On,
            stands(1, Held),
            vec![],
            Paused,
        ),
        (
            "a call was cut off",
            On,
            stands(1, Halted),
            vec![Step::Resume],
            Starting,
        ),
        (
            "the disk is full, and it is to stand still: it stays so though there is room",
            Still,
            by_us(stands(1, Full)),
            vec![],
            Paused,
        ),
        (
            "the disk is full, and it is to run",
            On,
            by_us(stands(1, Full)),
            vec![Step::Resume],
            Paused,
        ),
        (
            "a lower boot stands still",
            Still,
            by_us(stands(0, Held)),
            vec![Step::NoteAsked],
            Stopping,
        ),
        (
            "nothing runs",
            Still,
            is_off(1, EndedBy::PoweredOff),
            vec![Step::Start(1)],
            Starting,
        ),
    ] {
        assert_eq!(planned(power, 1, &found), (steps, state), "{row}");
    }
    let full = Found {
        has_room: false,
        ..by_us(stands(1, Full))
    };
    assert_eq!(planned(On, 1, &full), (vec![], Paused));
    // A guest's own end is the end of it, however it was to be.
    let ended = is_off(1, EndedBy::Guest);
    assert_eq!(planned(Still, 1, &ended).1, ObservedState::Stopped);
    // Its ports stay attached.
    let unattached = Found {
        links: Links {
            wanted: true,
            plugged: true,
            ..Links::default()
        },
        ..by_us(stands(1, Held))
    };
    assert_eq!(planned(Still, 1, &unattached).0, [Step::Attach]);
}

#[test]
fn one_that_stands_still_hears_of_its_end_and_its_time_counts() {
    let stopped = of(desired(Power::Stopped, 1));
    let steps = |found: &Found, seconds| plan(&stopped, found, later(seconds)).steps;
    let mut found = by_us(stands(1, DomainState::Held));
    assert_eq!(steps(&found, 0), [Step::NoteAsked]);
    found.note = to_ask(&found.note, now());
    assert_eq!(steps(&found, 1), [Step::Resume]);
    let awake = noted(
        with(found.clone(), |it| it.state = DomainState::Running),
        |_| (),
    );
    assert_eq!(steps(&awake, 1), [Step::Ask]);
    let heard = noted(awake, |note| *note = asked(note, later(1)));
    assert_eq!(heard.note.asked, Some(now()));
    assert_eq!(steps(&heard, 2), []);
    assert_eq!(steps(&heard, 60), [Step::PowerOff]);
    // One that cannot be let go on is waited for no longer than any other.
    found.has_room = false;
    let full = with(found, |domain| domain.state = DomainState::Full);
    assert_eq!(steps(&full, 1), []);
    assert_eq!(steps(&full, 60), [Step::PowerOff]);
    let mut at_once = desired(Power::Stopped, 1);
    at_once.grace_seconds = 0;
    let still = by_us(stands(1, DomainState::Held));
    assert_eq!(plan(&of(at_once), &still, now()).steps, [Step::PowerOff]);
    // Stopping is withdrawn before it was let go on: it is still us who paused it.
    let asked = noted(still, |note| note.asked = Some(now()));
    assert_eq!(planned(Power::Running, 1, &asked).0, [Step::NoteBoot(1)]);
    assert!(began(&asked.note, 1, now()).paused);
}

#[test]
fn memory_goes_to_disk_and_a_boot_goes_on_from_there() {
    use ObservedState::{Paused, Running, Starting, Stopped, Stopping, Suspended};
    use Power::{Running as On, Suspended as Away};
    let end = || vec![Step::NoteEnd(EndedBy::PoweredOff)];
    for (row, power, boot, found, steps, state) in [
        ("it runs", Away, 1, runs(1), vec![Step::Save], Running),
        (
            "it stands still",
            Away,
            1,
            by_us(stands(1, DomainState::Held)),
            vec![Step::Save],
            Paused,
        ),
        (
            "a lower boot runs",
            Away,
            2,
            runs(1),
            vec![Step::Ask],
            Stopping,
        ),
        ("it is there", Away, 1, suspended(1), vec![], Suspended),
        (
            "it is not there",
            Away,
            1,
            is_off(1, EndedBy::PoweredOff),
            vec![],
            Stopped,
        ),
        (
            "it is to run",
            On,
            1,
            suspended(1),
            vec![Step::Restore],
            Starting,
        ),
        (
            "it is to run, and stand still",
            Power::Paused,
            1,
            suspended(1),
            vec![Step::Restore],
            Starting,
        ),
        (
            "a higher boot is to run",
            On,
            2,
            suspended(1),
            end(),
            Stopping,
        ),
        ("a higher boot", Away, 2, suspended(1), end(), Stopping),
        (
            "it is to be off",
            Power::Stopped,
            1,
            suspended(1),
            end(),
            Stopping,
        ),
    ] {
        assert_eq!(planned(power, boot, &found), (steps, state), "{row}");
    }
    // Its end is told of no one whose memory is kept: nothing has ended.
    assert_eq!(suspended(1).note.ended, None);
}

#[test]
fn memory_that_fits_nothing_any_more_is_removed() {
    let drop = vec![Step::DropMemory];
    // Of one whose boot is over, whatever is wanted.
    let over = with(is_off(1, EndedBy::PoweredOff), |domain| {
        domain.memory = Some(Memory::Whole(1));
    });
    for power in [Power::Running, Power::Stopped, Power::Suspended] {
        assert_eq!(planned(power, 1, &over).0, drop, "{power:?}");
    }
    // Of an earlier boot.
    let earlier = with(is_off(2, EndedBy::PoweredOff), |domain| {
        domain.memory = Some(Memory::Whole(1));
    });
    assert_eq!(planned(Power::Running, 2, &earlier).0, drop);
    // Of one that runs, before anything else; but what is starting may yet read it.
    for state in [DomainState::Running, DomainState::Held, DomainState::Halted] {
        let old = with(stands(1, state.clone()), |domain| {
            domain.memory = Some(Memory::Whole(1));
        });
        for power in [Power::Running, Power::Stopped, Power::Suspended] {
            assert_eq!(planned(power, 1, &old).0, drop, "{state:?} {power:?}");
        }
    }
    let starting = with(stands(1, DomainState::Starting), |domain| {
        domain.memory = Some(Memory::Whole(1));
    });
    assert_eq!(planned(Power::Running, 1, &starting).0, []);
    // What was cut off: the boot has crashed, and there is nothing to go on from.
    let cut = with(suspended(1), |domain| domain.memory = Some(Memory::Broken));
    assert_eq!(
        planned(Power::Running, 1, &cut).0,
        [Step::NoteEnd(EndedBy::Crash)]
    );
    let cut = with(is_off(1, EndedBy::Crash), |domain| {
        domain.memory = Some(Memory::Broken);
    });
    assert_eq!(planned(Power::Running, 1, &cut).0, drop);
    // A lost note is no end.
    let unnoted = noted(suspended(3), |note| *note = Note::default());
    assert_eq!(planned(Power::Running, 3, &unnoted).0, [Step::NoteBoot(3)]);
    let gone = plan(&Wanted::Gone, &suspended(1), now());
    assert_eq!(gone.steps, [Step::Undefine]);
}

#[test]
fn memory_that_cannot_be_read_is_given_up_after_some_tries_and_that_is_said() {
    let mut found = suspended(1);
    for _ in 1..MOST_RESTORES {
        found.note = not_restored(&found.note, "no");
        assert_eq!(planned(Power::Running, 1, &found).0, [Step::Restore]);
    }
    found.note = not_restored(&found.note, "no");
    assert_eq!(
        planned(Power::Running, 1, &found).0,
        [Step::NoteEnd(EndedBy::PoweredOff)]
    );
    // As long as nobody wants it to run, it is kept.
    assert_eq!(
        planned(Power::Suspended, 1, &found),
        (vec![], ObservedState::Suspended)
    );
    let note = began(&found.note, 1, now());
    let anew = Found {
        note: note.clone(),
        ..runs(1)
    };
    let told = plan(&of(desired(Power::Running, 1)), &anew, now());
    assert!(told.reason.contains("began anew: no"), "{}", told.reason);
    assert_eq!(
        (began(&note, 2, now()).lost, saved(&note).lost),
        (None, None)
    );
}

#[test]
fn ports_of_what_is_on_disk_are_unplugged_and_plugged_before_it_goes_on() {
    let links = |plugged, ready| Links {
        wanted: true,
        plugged,
        ready,
        ..Links::default()
    };
    let with = |links, found| Found { links, ..found };
    let steps = |power, found: &Found| planned(power, 1, found);
    assert_eq!(
        steps(Power::Suspended, &with(links(true, false), suspended(1))),
        (vec![Step::Unplug], ObservedState::Suspended)
    );
    assert_eq!(
        steps(Power::Running, &with(links(true, false), suspended(1))).0,
        [Step::Plug]
    );
    assert_eq!(
        steps(Power::Running, &with(links(true, true), suspended(1))).0,
        [Step::Restore, Step::Attach]
    );
    // It goes on with what it was told then.
    let other = Found {
        is_seed_missing: true,
        ..suspended(1)
    };
    assert_eq!(steps(Power::Running, &other).0, [Step::Restore]);
}

/// With a disk that has a snapshot with memory, or without.
fn has(found: Found, id: SnapshotId, memory_bytes: u64) -> Found {
    let stage = Stage::Done { memory_bytes };
    let within = qcow2::Snapshot {
        name: id.to_string(),
        memory_bytes,
        at: 1,
    };
    Found {
        snapshots: Snapshots {
            notes: Notes {
                snapshots: BTreeMap::from([(id, Noted { stage, at: now() })]),
            },
            disks: vec![Within {
                path: "/disk".into(),
                holds: Some(vec![within]),
            }],
            are_in_use: false,
            are_partial: false,
        },
        ..found
    }
}

fn wants(power: Power, boot: u64, change: impl FnOnce(&mut DesiredVm)) -> Wanted {
    let mut desired = desired(power, boot);
    change(&mut desired);
    of(desired)
}

#[test]
fn snapshots_are_taken_of_what_runs_and_of_what_is_off_and_not_in_between() {
    let (old, new) = (SnapshotId::generate(), SnapshotId::generate());
    let take = |power| {
        wants(power, 1, |desired| {
            desired.snapshots = vec![DesiredSnapshot {
                id: new,
                wish: SnapshotWish::Kept,
            }];
        })
    };
    let steps = |power, found| plan(&take(power), &has(found, old, 7), now()).steps;
    let taken = [Step::TakeSnapshot(new)];
    assert_eq!(steps(Power::Running, runs(1)), taken);
    let still = || by_us(stands(1, DomainState::Held));
    assert_eq!(steps(Power::Paused, still()), taken);
    assert_eq!(steps(Power::Suspended, suspended(1)), taken);
    assert_eq!(steps(Power::Stopped, is_off(1, EndedBy::Asked)), taken);
    assert_eq!(steps(Power::Running, is_off(1, EndedBy::Asked)), taken);
    // Not while a volume is yet to come, or to go.
    let mut other = runs(1);
    if let Some(domain) = &mut other.domain {
        let held = HeldVolume {
            id: VolumeId::generate(),
            lun: Some(0),
        };
        domain.volumes = vec![held];
        let settles = steps(Power::Running, other);
        assert_eq!(settles, [Step::DetachVolume(held.id)]);
    }
    // It is about to be off.
    assert_eq!(steps(Power::Stopped, runs(1)), [Step::Ask]);
    assert_eq!(steps(Power::Suspended, runs(1)), [Step::Save]);
    // Nothing can be written.
    assert_eq!(
        steps(Power::Running, stands(1, DomainState::Full)),
        [Step::Resume]
    );
    // Nobody writes into a disk that another process has open.
    let mut busy = has(is_off(1, EndedBy::Asked), old, 7);
    busy.snapshots.are_in_use = true;
    let waits = plan(&take(Power::Stopped), &busy, now());
    assert!(waits.steps.is_empty() && waits.next.is_some() && waits.reason.contains("open"));
}

#[test]
fn a_revert_is_done_once_with_the_memory_or_without() {
    let id = SnapshotId::generate();
    let revert = |number, memory| Revert {
        number,
        snapshot: id,
        memory,
    };
    let wanted = |power, boot, it| wants(power, boot, |desired| desired.revert = Some(it));
    let steps = |wanted: &Wanted, found: Found| plan(wanted, &has(found, id, 7), now()).steps;
    let (hot, cold) = (revert(2, true), revert(2, false));
    let done = |found| noted(found, |note| note.reverted = 2);

    // What runs is powered off, and what is on disk of it is worth nothing.
    let on = wanted(Power::Running, 2, hot);
    assert_eq!(steps(&on, runs(1)), [Step::PowerOff]);
    // One that cannot be done ends nothing, though it is to be another boot.
    let mut away = has(runs(1), id, 7);
    away.snapshots.are_partial = true;
    for found in [away, has(runs(1), id, 0)] {
        let stays = plan(&on, &found, now());
        assert_eq!((stays.steps, stays.state), (vec![], ObservedState::Running));
        assert!(
            stays.reason.contains("cannot be reverted"),
            "{}",
            stays.reason
        );
    }
    assert_eq!(
        steps(&on, suspended(1)),
        [Step::NoteEnd(EndedBy::PoweredOff)]
    );
    assert_eq!(
        steps(&on, is_off(1, EndedBy::PoweredOff)),
        [Step::Revert(hot, 2)]
    );
    // Even if the guest had ended that boot; and after a crash without a pause.
    assert_eq!(
        steps(&on, is_off(2, EndedBy::Guest)),
        [Step::Revert(hot, 2)]
    );
    assert_eq!(
        steps(&on, is_off(2, EndedBy::Crash)),
        [Step::Revert(hot, 2)]
    );
    // Ports first.
    let ports = |ready| Found {
        links: Links {
            wanted: true,
            plugged: true,
            ready,
            ..Links::default()
        },
        ..is_off(1, EndedBy::PoweredOff)
    };
    assert_eq!(steps(&on, ports(false)), [Step::Plug]);
    assert_eq!(
        steps(&on, ports(true)),
        [Step::Revert(hot, 2), Step::Attach]
    );
    // It has begun, whatever was noted before it was cut off; once done, it is done.
    let begun = |state| with(stands(2, state), |domain| domain.reverted = 2);
    assert_eq!(
        steps(&on, begun(DomainState::Halted)),
        [Step::NoteReverted(2)]
    );
    assert_eq!(steps(&on, begun(DomainState::Starting)), [Step::PowerOff]);
    assert_eq!(steps(&on, done(begun(DomainState::Halted))), [Step::Resume]);
    assert_eq!(steps(&on, done(runs(2))), []);
    // That it is defined so says nothing.
    let defined = with(is_off(1, EndedBy::PoweredOff), |domain| domain.reverted = 2);
    assert_eq!(steps(&on, defined.clone()), [Step::Revert(hot, 2)]);
    let withdrawn = of(desired(Power::Running, 1));
    assert_eq!(
        steps(&withdrawn, defined),
        [Step::Define(1), Step::Start(1)]
    );

    // The disks alone: without memory, or if nothing is to run.
    for (wanted, it) in [
        (wanted(Power::Stopped, 1, cold), cold),
        (wanted(Power::Running, 1, cold), cold),
        (wanted(Power::Stopped, 1, hot), hot),
    ] {
        assert_eq!(
            steps(&wanted, is_off(1, EndedBy::Asked)),
            [Step::RevertDisks(it)]
        );
    }
    let still = wanted(Power::Stopped, 1, cold);
    assert_eq!(steps(&still, done(is_off(1, EndedBy::Asked))), []);

    // What cannot be done ends nothing that runs, and starts nothing.
    let other = SnapshotId::generate();
    let cannot = |found: Found, wanted: &Wanted| plan(wanted, &has(found, other, 7), now());
    let runs_on = cannot(runs(2), &on);
    assert_eq!(
        (runs_on.steps, runs_on.state),
        (vec![], ObservedState::Running)
    );
    assert!(runs_on.reason.contains("none of its disks"));
    let fails = cannot(is_off(1, EndedBy::PoweredOff), &on);
    assert_eq!((fails.steps, fails.state), (vec![], ObservedState::Failed));
    let stops = cannot(runs(1), &still);
    assert_eq!(stops.steps, [Step::Ask]);
    // One that was never made has none.
    assert_eq!(plan(&on, &nothing(), now()).state, ObservedState::Failed);
}
