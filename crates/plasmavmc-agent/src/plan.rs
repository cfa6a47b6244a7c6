//! From what is wanted of a VM and what is found to what is to be done. Pure: no clock, no I/O.
//!
//! ```text
//!   running, and is to run (this boot, or it is a later one)   nothing
//!   running, and is not to                                     ask (let it go on first, if it stands still), ask again, power off
//!   running, and is to stand still; the other way round        pause; let it go on
//!   running, and is to be suspended                            write its memory to disk
//!   running, and memory of it is on disk                       remove that: it is old
//!   stands still because the disk was full, and there is room  let it go on
//!   a snapshot is to be taken or removed                       do it, with the memory of what runs
//!   is to be as in a snapshot                                  power off; the disks, or the disks and the memory
//!   off, its memory is on disk, and is to run                  plug its ports, go on from the memory; attach the ports
//!   off, its memory is on disk, and is to be suspended         nothing
//!   off, its memory is on disk, otherwise                      note that the boot has ended, remove the memory
//!   runs, and has other volumes than it is to have             attach and detach them: see [`crate::attach`]
//!   off, and a boot that began has no end yet                  note how it ended
//!   off, and is to run, and the guest did not end this boot    plug its ports, define it for the boot, start, attach the ports
//!   off, otherwise                                             unplug its ports; define it, so that it is all there
//!   ordered away                                               power off, undefine, unplug its ports, remove its files
//! ```

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::Timestamp;
use plasmavmc_model::{
    DesiredDisk, DesiredVm, EndedBy, ObservedState, Power, Revert, SnapshotId, VolumeId,
};

use crate::{
    attach::{is_settled, with_volumes},
    files::Note,
    machine::{Domain, DomainState, Memory, Off},
    snapshots::Snapshots,
};

/// After which time a guest that was asked is asked again: one that was still booting has not heard it.
pub const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often it is looked whether there is room for a VM that stands still for want of it.
pub const LOOK_FOR_ROOM: Duration = Duration::from_secs(5);
/// After which time one whose start is not over is looked at again: the hypervisor tells when a start succeeds, not when it gives up one
/// that was cut off.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After so many crashes in a row it is not started again until somebody changed something.
pub const MOST_CRASHES: u32 = 5;
const LONGEST_PAUSE: u64 = 60;
/// After so many refusals to go on from the memory on disk it is thrown away.
pub const MOST_RESTORES: u32 = 3;
/// A boot that lasted so long counts as a good one.
pub const GOOD_BOOT: Duration = Duration::from_secs(600);

/// What is wanted of a VM on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is to be as this says.
    Vm(Box<DesiredVm>),
    /// Nothing of it is to be left: the store has ordered it.
    Gone,
    /// Nothing of it is to be left: a person on this host has said so, of what the store does not know.
    Purged,
}

/// What is found of a VM.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its domain.
    pub domain: Option<Domain>,
    /// What is remembered of its boots.
    pub note: Note,
    /// Disks that are wanted and not there.
    pub missing: Vec<DesiredDisk>,
    /// Disks that are smaller than they are wanted.
    pub small: Vec<DesiredDisk>,
    /// Volumes that are wanted and not there.
    pub absent: BTreeSet<VolumeId>,
    /// Whether what its guest is to be told is not there as it is now.
    pub is_seed_missing: bool,
    /// Whether it can be defined as it is wanted.
    pub ability: Ability,
    /// Whether it has files.
    pub has_files: bool,
    /// How its ports are.
    pub links: Links,
    /// Whether there is room on the disk where they are.
    pub has_room: bool,
    /// What there is of its snapshots.
    pub snapshots: Snapshots,
}

impl Found {
    /// The number of the last revert that was done: what began with a snapshot's memory says so itself.
    #[must_use]
    pub fn reverted(&self) -> u64 {
        let domain = self.domain.as_ref();
        let begun = domain.filter(|it| it.is_active() && it.state != DomainState::Starting);
        let begun = begun.map_or(0, |domain| domain.reverted);
        begun.max(self.note.reverted)
    }

    /// Whether the boot that was begun last is not over, but on disk.
    fn is_suspended(&self) -> bool {
        let memory = self.domain.as_ref().and_then(|domain| domain.memory);
        let note = &self.note;
        let is_over = note.boot == 0 || note.ended.is_some() || note.powered_off;
        memory == Some(Memory::Whole(note.boot)) && !is_over
    }

    /// The revert that is to be done, or why it cannot be.
    fn revert(&self, desired: &DesiredVm) -> Option<Result<Revert, String>> {
        let revert = desired
            .revert
            .filter(|revert| revert.number > self.reverted())?;
        Some(self.snapshots.can_revert(&revert).map(|()| revert))
    }
}

/// How a VM's ports are on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Whether it is to have any.
    pub wanted: bool,
    /// Whether there may be something to unplug.
    pub plugged: bool,
    /// Whether they are plugged for the next start.
    pub ready: bool,
    /// Whether they are known to be attached.
    pub attached: bool,
    /// What was refused when it was tried last, until it is tried again.
    pub trouble: Option<Trouble>,
}

/// Something that is not tried again yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, in a sentence.
    pub why: String,
    /// For how long.
    pub left: Duration,
    /// Whether it was unplugging.
    pub is_unplugging: bool,
}

impl Links {
    /// Whether they are to be unplugged now.
    fn are_left(&self) -> bool {
        let refused = self.trouble.as_ref();
        self.plugged && !refused.is_some_and(|trouble| trouble.is_unplugging)
    }
}

/// Whether a VM can be defined as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ability {
    /// It can, and this is the digest of the definition.
    Able(String),
    /// Not yet; why.
    NotYet(String),
    /// It cannot; why.
    Unable(String),
}

/// What is done to a VM. Each may be done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Notes that a boot runs that is not noted, or whose end is no longer wanted.
    NoteBoot(u64),
    /// Notes how the last boot ended.
    NoteEnd(EndedBy),
    /// Makes a disk.
    MakeDisk(DesiredDisk),
    /// Makes a disk larger.
    GrowDisk(DesiredDisk),
    /// Gives what runs a volume.
    AttachVolume(DesiredDisk),
    /// Takes a volume from what runs.
    DetachVolume(VolumeId),
    /// Makes the volume that tells its guest of itself.
    MakeSeed,
    /// Has its ports plugged.
    Plug,
    /// Has its ports attached, which it has open.
    Attach,
    /// Has its ports unplugged.
    Unplug,
    /// Defines it, for that boot.
    Define(u64),
    /// Starts it, as that boot.
    Start(u64),
    /// Presses its power button.
    Ask,
    /// Notes that its end is asked for, though it cannot hear it yet.
    NoteAsked,
    /// Has it stand still.
    Pause,
    /// Lets it go on that stood still.
    Resume,
    /// Writes its memory to disk, so that nothing of it runs.
    Save,
    /// Makes it run from its memory on disk; it stands still at first.
    Restore,
    /// Removes its memory on disk.
    DropMemory,
    /// Takes a snapshot.
    TakeSnapshot(SnapshotId),
    /// Notes why a snapshot cannot be taken.
    FailSnapshot(SnapshotId, String),
    /// Notes a snapshot that is there.
    NoteSnapshot(SnapshotId),
    /// Removes a snapshot, or what was begun of it.
    RemoveSnapshot(SnapshotId),
    /// Makes its disks what they were in a snapshot.
    RevertDisks(Revert),
    /// Starts it from the memory and the disks of a snapshot, as that boot; it stands still at first.
    Revert(Revert, u64),
    /// Notes that this revert was done.
    NoteReverted(u64),
    /// Takes its power away.
    PowerOff,
    /// Forgets its definition.
    Undefine,
    /// Removes its files.
    RemoveFiles,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoteBoot(boot) => write!(f, "note that boot {boot} runs"),
            Self::NoteEnd(EndedBy::Guest) => f.write_str("note that the guest ended"),
            Self::NoteEnd(EndedBy::Asked) => f.write_str("note that the guest ended as asked"),
            Self::NoteEnd(EndedBy::PoweredOff) => f.write_str("note that it was powered off"),
            Self::NoteEnd(EndedBy::Crash) => f.write_str("note that it crashed"),
            Self::MakeDisk(disk) => write!(f, "make disk {} of {} GiB", disk.name, disk.size_gib),
            Self::GrowDisk(disk) => write!(f, "grow disk {} to {} GiB", disk.name, disk.size_gib),
            Self::AttachVolume(disk) => write!(f, "attach {}", disk.name),
            Self::DetachVolume(volume) => write!(f, "detach {volume}"),
            Self::MakeSeed => f.write_str("make its seed"),
            Self::Plug => f.write_str("plug its ports"),
            Self::Attach => f.write_str("attach its ports"),
            Self::Unplug => f.write_str("unplug its ports"),
            Self::Define(boot) => write!(f, "define it for boot {boot}"),
            Self::Start(boot) => write!(f, "start boot {boot}"),
            Self::Ask => f.write_str("ask the guest to shut down"),
            Self::NoteAsked => f.write_str("note that it is to shut down"),
            Self::Pause => f.write_str("have it stand still"),
            Self::Resume => f.write_str("let it go on"),
            Self::Save => f.write_str("write its memory to disk"),
            Self::Restore => f.write_str("go on from its memory on disk"),
            Self::DropMemory => f.write_str("remove its memory on disk"),
            Self::TakeSnapshot(id) => write!(f, "take {id}"),
            Self::FailSnapshot(id, _) => write!(f, "note that {id} cannot be taken"),
            Self::NoteSnapshot(id) => write!(f, "note that {id} is there"),
            Self::RemoveSnapshot(id) => write!(f, "remove {id}"),
            Self::RevertDisks(revert) => write!(f, "revert its disks to {}", revert.snapshot),
            Self::Revert(revert, boot) => {
                write!(
                    f,
                    "start boot {boot} from the memory of {}",
                    revert.snapshot
                )
            }
            Self::NoteReverted(number) => write!(f, "note that revert {number} is done"),
            Self::PowerOff => f.write_str("power off"),
            Self::Undefine => f.write_str("undefine"),
            Self::RemoveFiles => f.write_str("remove its files"),
        }
    }
}

/// What is to be done now, and how it is until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order. After them, it is looked again.
    pub steps: Vec<Step>,
    /// When there will be something to do by itself.
    pub next: Option<Duration>,
    /// How it is.
    pub state: ObservedState,
    /// What there is to say about it.
    pub reason: String,
}

impl Plan {
    fn of(state: ObservedState, steps: impl Into<Vec<Step>>) -> Self {
        Self {
            steps: steps.into(),
            next: None,
            state,
            reason: String::new(),
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// For that reason, if there is no other.
    fn or_because(self, reason: Option<&String>) -> Self {
        match reason {
            Some(reason) if self.reason.is_empty() => self.because(reason),
            _ => self,
        }
    }

    fn after(mut self, next: Duration) -> Self {
        self.next = Some(next);
        self
    }
}

/// What is to be done.
#[must_use]
pub fn plan(wanted: &Wanted, found: &Found, now: Timestamp) -> Plan {
    match wanted {
        Wanted::Gone | Wanted::Purged => take_down(found),
        Wanted::Vm(desired) => match &found.domain {
            Some(domain) if domain.is_active() => {
                let plan = running(desired, domain, found, now);
                with_volumes(plan, desired, domain, found)
            }
            _ => off(desired, found, now),
        },
    }
}

fn take_down(found: &Found) -> Plan {
    let step = match &found.domain {
        Some(domain) if domain.is_active() => Some(Step::PowerOff),
        Some(_) => Some(Step::Undefine),
        // If that is refused, prismnet-agent takes them down when it hears that they are nobody's any more.
        None if found.links.are_left() => Some(Step::Unplug),
        None => found.has_files.then_some(Step::RemoveFiles),
    };
    Plan::of(ObservedState::Stopping, Vec::from_iter(step)).because("it is taken down")
}

fn running(desired: &DesiredVm, domain: &Domain, found: &Found, now: Timestamp) -> Plan {
    let note = &found.note;
    let is_to_run = desired.power != Power::Stopped && domain.boot >= desired.boot;
    let is_noted = note.boot >= domain.boot && note.ended.is_none() && note.asked.is_none();
    let is_there = !matches!(domain.state, DomainState::Starting | DomainState::Ending);
    let as_it_is = |step| Plan::of(domain.observed(), [step]);
    // Before anything is let run that would not fit it any more. What is starting may yet read it.
    if is_there && domain.memory.is_some() {
        return as_it_is(Step::DropMemory);
    }
    if is_there && domain.reverted > note.reverted {
        return as_it_is(Step::NoteReverted(domain.reverted));
    }
    if is_there && is_to_run && !is_noted {
        return as_it_is(Step::NoteBoot(domain.boot));
    }
    // Of what is about to be off, it is taken then.
    let can_be_taken = matches!(
        domain.state,
        DomainState::Running | DomainState::Held | DomainState::Halted
    );
    if can_be_taken
        && is_to_run
        && desired.power != Power::Suspended
        && let Some(step) = found.snapshots.next(&desired.snapshots)
        // What is taken has the volumes that are wanted, and no others.
        && (!matches!(step, Step::TakeSnapshot(_)) || is_settled(desired, domain))
    {
        return as_it_is(step);
    }
    let revert = found.revert(desired);
    if let Some(Ok(_)) = revert {
        let why = "it is reverted to a snapshot: what it has is forgotten";
        return Plan::of(ObservedState::Stopping, [Step::PowerOff]).because(why);
    }
    let cannot = revert.and_then(Result::err);
    // A revert that cannot be done ends nothing, though it is to be another boot.
    let stays = cannot.is_some() && desired.power != Power::Stopped;
    let plan = match &domain.state {
        _ if !is_to_run && !stays => end(desired, domain, found, now),
        DomainState::Ending => Plan::of(ObservedState::Stopping, []),
        DomainState::Starting => Plan::of(ObservedState::Starting, []).after(LOOK_AGAIN),
        _ => match desired.power {
            Power::Suspended => suspend(domain, found),
            Power::Paused => pause_it(domain, found),
            Power::Running | Power::Stopped => go_on(domain, found),
        },
    };
    plan.or_because(cannot.as_ref())
        .or_because(note.lost.as_ref())
}

/// It is to run.
fn go_on(domain: &Domain, found: &Found) -> Plan {
    let state = domain.observed();
    match &domain.state {
        DomainState::Full => {
            let steps = Vec::from_iter(found.has_room.then_some(Step::Resume));
            let why =
                "the disk of its host is full: it stands still, and goes on when there is room";
            Plan::of(state, steps).because(why).after(LOOK_FOR_ROOM)
        }
        DomainState::Paused(why) => Plan::of(state, []).because(why),
        DomainState::Held if !found.note.paused => {
            Plan::of(state, []).because("it was paused by somebody on this host")
        }
        DomainState::Held | DomainState::Halted => Plan::of(state, [Step::Resume]),
        // It was let go on, and that was not noted.
        _ if found.note.paused => Plan::of(state, [Step::Resume]),
        _ => attached(state, &found.links),
    }
}

/// It is to stand still. Whatever else keeps it still, that it is to is noted: so it is let go on when it is to run.
fn pause_it(domain: &Domain, found: &Found) -> Plan {
    match &domain.state {
        DomainState::Paused(why) => Plan::of(ObservedState::Paused, []).because(why),
        DomainState::Running => Plan::of(ObservedState::Running, [Step::Pause]),
        _ if !found.note.paused => Plan::of(domain.observed(), [Step::Pause]),
        _ => attached(ObservedState::Paused, &found.links),
    }
}

/// It is to go to disk.
fn suspend(domain: &Domain, found: &Found) -> Plan {
    let state = domain.observed();
    if domain.state == DomainState::Full && !found.has_room {
        let why = "the disk of its host is full: there is no room for its memory";
        return Plan::of(state, []).because(why).after(LOOK_FOR_ROOM);
    }
    Plan::of(state, [Step::Save]).because("its memory is written to disk")
}

/// With its ports as they are to be.
fn attached(state: ObservedState, links: &Links) -> Plan {
    match links.wanted && !links.attached {
        true => tried(state, links, Step::Attach),
        false => Plan::of(state, []),
    }
}

/// Does something to its ports, unless that was refused just now.
fn tried(state: ObservedState, links: &Links, step: Step) -> Plan {
    match &links.trouble {
        Some(trouble) => Plan::of(state, [])
            .because(&trouble.why)
            .after(trouble.left),
        None => Plan::of(state, [step]),
    }
}

/// Asks the guest, again and again, until its time is over. One that stands still is let go on, for it hears nothing; its time counts
/// from when it was first to be asked.
fn end(desired: &DesiredVm, domain: &Domain, found: &Found, now: Timestamp) -> Plan {
    let note = &found.note;
    let stopping = |step: Option<Step>| Plan::of(ObservedState::Stopping, Vec::from_iter(step));
    let grace = Duration::from_secs(desired.grace_seconds.into());
    let stands_still = matches!(
        domain.state,
        DomainState::Held | DomainState::Halted | DomainState::Full
    );
    // What was noted of an earlier boot says nothing of this one.
    let is_this = note.boot >= domain.boot && note.ended.is_none();
    let Some(asked) = note.asked.filter(|_| is_this) else {
        return match desired.grace_seconds {
            0 => stopping(Some(Step::PowerOff)),
            _ if !is_this => stopping(Some(Step::NoteBoot(domain.boot))),
            _ if stands_still => stopping(Some(Step::NoteAsked)),
            _ => stopping(Some(Step::Ask)),
        };
    };
    let waited = since(asked, now);
    if waited >= grace {
        let reason = format!("it did not shut down within {} s", desired.grace_seconds);
        return stopping(Some(Step::PowerOff)).because(reason);
    }
    let left = grace - waited;
    let waits = |pause: Duration| {
        let pause = left.min(pause).max(Duration::from_millis(1));
        stopping(None)
            .because(asked_until(asked, grace))
            .after(pause)
    };
    if stands_still {
        let is_full = domain.state == DomainState::Full && !found.has_room;
        return match is_full {
            true => waits(LOOK_FOR_ROOM),
            false => stopping(Some(Step::Resume)),
        };
    }
    let heard = note
        .pressed
        .map_or(ASK_AGAIN, |pressed| since(pressed, now));
    if domain.state == DomainState::Ending {
        return waits(LOOK_AGAIN);
    }
    match ASK_AGAIN.saturating_sub(heard) {
        Duration::ZERO => stopping(Some(Step::Ask)),
        pause => waits(pause),
    }
}

/// What is waited for.
fn asked_until(asked: Timestamp, grace: Duration) -> String {
    let until = asked.saturating_add(grace).unwrap_or(Timestamp::MAX);
    let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
    format!("its guest is asked to shut down, and is powered off at {until}")
}

fn off(desired: &DesiredVm, found: &Found, now: Timestamp) -> Plan {
    let note = &found.note;
    let memory = found.domain.as_ref().and_then(|domain| domain.memory);
    if let Some(Memory::Whole(boot)) = memory
        && boot > note.boot
    {
        return Plan::of(ObservedState::Suspended, [Step::NoteBoot(boot)]);
    }
    let revert = found.revert(desired);
    let is_suspended = found.is_suspended();
    if !is_suspended {
        if note.boot > 0 && note.ended.is_none() {
            let by = ended_by(found);
            return Plan::of(ObservedState::Stopping, [Step::NoteEnd(by)]);
        }
        if memory.is_some() {
            return Plan::of(ObservedState::Stopped, [Step::DropMemory]);
        }
    } else if !keeps_memory(desired, found, revert.as_ref()) {
        // From now on it is worth nothing, and removed.
        return Plan::of(
            ObservedState::Stopping,
            [Step::NoteEnd(EndedBy::PoweredOff)],
        );
    }
    let (revert, cannot) = match revert {
        Some(Ok(revert)) => (Some(revert), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let goes_on = is_suspended && desired.power.is_up();
    let begins_reverted = revert.filter(|it| it.memory && desired.power != Power::Stopped);
    let is_to_start = goes_on || begins_reverted.is_some() || is_to_start(desired, note);
    let as_it_is = match is_to_start {
        true => ObservedState::Starting,
        false if is_suspended => ObservedState::Suspended,
        false => ObservedState::Stopped,
    };
    // What is not made yet has none.
    let snapshot = match found.missing.is_empty() {
        true => found.snapshots.next(&desired.snapshots),
        false => None,
    };
    let disks = revert.filter(|_| begins_reverted.is_none());
    if let Some(step) = snapshot.or(disks.map(Step::RevertDisks)) {
        return match found.snapshots.are_in_use {
            true => Plan::of(as_it_is, [])
                .because("a process has one of its disks open")
                .after(LOOK_AGAIN),
            false => Plan::of(as_it_is, [step]),
        };
    }
    if let Some(why) = cannot.filter(|_| is_to_start) {
        return Plan::of(ObservedState::Failed, []).because(why);
    }
    if !is_to_start && found.links.are_left() {
        return Plan::of(as_it_is, [Step::Unplug]).because(how_it_ended(note));
    }
    if is_suspended && !is_to_start {
        return settled(Plan::of(as_it_is, []), &found.links);
    }
    let digest = match &found.ability {
        Ability::Able(digest) => digest,
        Ability::NotYet(why) => return Plan::of(ObservedState::Preparing, []).because(why),
        Ability::Unable(why) => return Plan::of(ObservedState::Failed, []).because(why),
    };
    let missing = found.missing.iter().cloned().map(Step::MakeDisk);
    let small = found.small.iter().cloned().map(Step::GrowDisk);
    let seed = found.is_seed_missing.then_some(Step::MakeSeed);
    let missing: Vec<Step> = missing.chain(small).chain(seed).collect();
    // What goes on has what it had.
    if !missing.is_empty() && !goes_on {
        return Plan::of(ObservedState::Preparing, missing);
    }
    if !is_to_start {
        // For which boot it is defined matters only when it starts.
        let is_defined = found
            .domain
            .as_ref()
            .is_some_and(|domain| domain.digest == *digest);
        let boot = found
            .domain
            .as_ref()
            .map_or(note.boot, |domain| domain.boot);
        return match is_defined {
            true => settled(
                Plan::of(ObservedState::Stopped, []).because(how_it_ended(note)),
                &found.links,
            ),
            false => Plan::of(ObservedState::Preparing, [Step::Define(boot)]),
        };
    }
    let boot = desired.boot.max(note.boot);
    if !goes_on
        && begins_reverted.is_none()
        && let Some(plan) = after_a_crash(desired, note, boot, now)
    {
        return plan;
    }
    let links = &found.links;
    if links.wanted && !links.ready {
        return tried(ObservedState::Starting, links, Step::Plug);
    }
    let is_defined = found.domain.as_ref().is_some_and(|domain| {
        domain.digest == *digest && domain.boot == boot && domain.reverted == note.reverted
    });
    let mut steps = match begins_reverted {
        Some(revert) => vec![Step::Revert(revert, boot)],
        None if goes_on => vec![Step::Restore],
        None if is_defined => vec![Step::Start(boot)],
        None => vec![Step::Define(boot), Step::Start(boot)],
    };
    if links.wanted {
        steps.push(Step::Attach);
    }
    Plan::of(ObservedState::Starting, steps)
}

/// Whether the memory on disk is what it is to go on from, now or later.
fn keeps_memory(
    desired: &DesiredVm,
    found: &Found,
    revert: Option<&Result<Revert, String>>,
) -> bool {
    let note = &found.note;
    let is_tried = desired.power.is_up() && note.restores >= MOST_RESTORES;
    let is_reverted = matches!(revert, Some(Ok(_)));
    desired.power != Power::Stopped && note.boot >= desired.boot && !is_reverted && !is_tried
}

/// Nothing is to be done, but to unplug what was not to be unplugged just now.
fn settled(plan: Plan, links: &Links) -> Plan {
    match &links.trouble {
        Some(trouble) if links.plugged => plan.after(trouble.left),
        _ => plan,
    }
}

/// A boot that the guest has ended is over. Any other end is none that anybody wanted.
fn is_to_start(desired: &DesiredVm, note: &Note) -> bool {
    let is_over = note.boot >= desired.boot
        && note
            .ended
            .as_ref()
            .is_some_and(|end| end.by == EndedBy::Guest);
    desired.power.is_up() && desired.boot > 0 && !is_over
}

/// How it waits after a crash, if it does.
fn after_a_crash(desired: &DesiredVm, note: &Note, boot: u64, now: Timestamp) -> Option<Plan> {
    let ended = note.ended.as_ref().map_or(now, |end| end.at);
    let waited = since(ended, now);
    match pause(desired, note, boot)? {
        Pause::Ever => {
            let why = format!("it crashed {} times in a row", note.crashes);
            Some(Plan::of(ObservedState::Failed, []).because(why))
        }
        Pause::For(pause) if waited < pause => Some(
            Plan::of(ObservedState::Starting, [])
                .because("it crashed, and is started again after a pause")
                .after(pause - waited),
        ),
        Pause::For(_) => None,
    }
}

enum Pause {
    For(Duration),
    Ever,
}

fn pause(desired: &DesiredVm, note: &Note, boot: u64) -> Option<Pause> {
    let crashed = note
        .ended
        .as_ref()
        .is_some_and(|end| end.by == EndedBy::Crash);
    if !crashed || note.boot < boot || note.generation < desired.generation {
        return None;
    }
    if note.crashes >= MOST_CRASHES {
        return Some(Pause::Ever);
    }
    let seconds = 1_u64 << note.crashes.saturating_sub(1).min(6);
    Some(Pause::For(Duration::from_secs(seconds.min(LONGEST_PAUSE))))
}

fn ended_by(found: &Found) -> EndedBy {
    let note = &found.note;
    let state = found.domain.as_ref().map(|domain| &domain.state);
    match state {
        Some(DomainState::Off(Off::Guest)) if note.asked.is_some() => EndedBy::Asked,
        Some(DomainState::Off(Off::Guest)) => EndedBy::Guest,
        Some(DomainState::Off(Off::Destroyed)) => EndedBy::PoweredOff,
        _ if note.powered_off => EndedBy::PoweredOff,
        _ => EndedBy::Crash,
    }
}

/// What is told of a VM that does not run.
fn how_it_ended(note: &Note) -> String {
    match &note.ended {
        Some(end) if end.by == EndedBy::PoweredOff && note.asked.is_some() => {
            "it did not shut down in time when it was asked to, and was powered off".to_owned()
        }
        _ => String::new(),
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// The note of the boot that has ended just now.
#[must_use]
pub fn ended(note: &Note, by: EndedBy, generation: u64, now: Timestamp) -> Note {
    let lasted = note
        .started
        .map_or(Duration::ZERO, |started| since(started, now));
    let crashes = match by {
        EndedBy::Crash if note.generation < generation || lasted >= GOOD_BOOT => 1,
        EndedBy::Crash => note.crashes.saturating_add(1),
        _ => 0,
    };
    Note {
        ended: Some(plasmavmc_model::End {
            boot: note.boot,
            by,
            at: now,
        }),
        crashes,
        generation: generation.max(note.generation),
        ..note.clone()
    }
}

/// The note of a boot that begins now, or was found to run.
#[must_use]
pub fn began(note: &Note, boot: u64, now: Timestamp) -> Note {
    let is_same = note.boot == boot;
    Note {
        boot,
        started: Some(now),
        asked: None,
        pressed: None,
        powered_off: false,
        ended: None,
        crashes: if is_same { note.crashes } else { 0 },
        generation: note.generation,
        paused: is_same && note.paused,
        restores: 0,
        lost: note.lost.clone().filter(|_| is_same),
        reverted: note.reverted,
    }
}

/// The note of a guest that is to be asked to end, and stands still now.
#[must_use]
pub fn to_ask(note: &Note, now: Timestamp) -> Note {
    Note {
        asked: Some(note.asked.unwrap_or(now)),
        ..note.clone()
    }
}

/// The note of a boot whose memory is written to disk now, or was read from there. Whatever was begun before, it is not its end.
#[must_use]
pub fn saved(note: &Note) -> Note {
    Note {
        restores: 0,
        lost: None,
        powered_off: false,
        ..note.clone()
    }
}

/// The note of a boot that could not go on from its memory.
#[must_use]
pub fn not_restored(note: &Note, why: &str) -> Note {
    let reason = format!("it could not go on from its memory on disk, and began anew: {why}");
    Note {
        restores: note.restores.saturating_add(1),
        lost: Some(reason),
        ..note.clone()
    }
}

/// The note of a guest that is asked to end now.
#[must_use]
pub fn asked(note: &Note, now: Timestamp) -> Note {
    Note {
        asked: Some(note.asked.unwrap_or(now)),
        pressed: Some(now),
        ..note.clone()
    }
}
