//! From what is wanted of a VM and what is found to what is to be done. Pure: no clock, no I/O.
//!
//! ```text
//!   running, and is to run (this boot, or it is a later one)   nothing
//!   running, and is not to                                     ask, ask again, power off
//!   stands still because the disk was full, and there is room  let it go on
//!   off, and a boot that began has no end yet                  note how it ended
//!   off, and is to run, and the guest did not end this boot    plug its ports, define it for the boot, start, attach the ports
//!   off, otherwise                                             unplug its ports; define it, so that it is all there
//!   ordered away                                               power off, undefine, unplug its ports, remove its files
//! ```

use std::{fmt, time::Duration};

use jiff::Timestamp;
use plasmavmc_model::{DesiredDisk, DesiredVm, EndedBy, ObservedState, Power};

use crate::{
    files::Note,
    machine::{Domain, DomainState, Off},
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
    /// Lets it go on that stood still.
    Resume,
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
            Self::MakeSeed => f.write_str("make its seed"),
            Self::Plug => f.write_str("plug its ports"),
            Self::Attach => f.write_str("attach its ports"),
            Self::Unplug => f.write_str("unplug its ports"),
            Self::Define(boot) => write!(f, "define it for boot {boot}"),
            Self::Start(boot) => write!(f, "start boot {boot}"),
            Self::Ask => f.write_str("ask the guest to shut down"),
            Self::Resume => f.write_str("let it go on"),
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
            Some(domain) if domain.is_active() => running(desired, domain, found, now),
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
    let (note, links) = (&found.note, &found.links);
    let is_to_run = desired.power == Power::Running && domain.boot >= desired.boot;
    let is_noted = note.boot >= domain.boot && note.ended.is_none() && note.asked.is_none();
    match &domain.state {
        _ if !is_to_run => end(desired, domain, note, now),
        DomainState::Ending => Plan::of(ObservedState::Stopping, []),
        DomainState::Starting => Plan::of(ObservedState::Starting, []).after(LOOK_AGAIN),
        _ if !is_noted => Plan::of(ObservedState::Running, [Step::NoteBoot(domain.boot)]),
        DomainState::Full => {
            let steps = Vec::from_iter(found.has_room.then_some(Step::Resume));
            let why =
                "the disk of its host is full: it stands still, and goes on when there is room";
            Plan::of(ObservedState::Paused, steps)
                .because(why)
                .after(LOOK_FOR_ROOM)
        }
        DomainState::Paused(why) => Plan::of(ObservedState::Paused, []).because(why),
        _ if links.wanted && !links.attached => tried(ObservedState::Running, links, Step::Attach),
        _ => Plan::of(ObservedState::Running, []),
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

/// Asks the guest, again and again, until its time is over.
fn end(desired: &DesiredVm, domain: &Domain, note: &Note, now: Timestamp) -> Plan {
    let stopping = |step: Option<Step>| Plan::of(ObservedState::Stopping, Vec::from_iter(step));
    let grace = Duration::from_secs(desired.grace_seconds.into());
    // What was noted of an earlier boot says nothing of this one.
    let is_this = note.boot >= domain.boot && note.ended.is_none();
    let Some(asked) = note.asked.filter(|_| is_this) else {
        return match desired.grace_seconds {
            0 => stopping(Some(Step::PowerOff)),
            _ if !is_this => stopping(Some(Step::NoteBoot(domain.boot))),
            _ => stopping(Some(Step::Ask)),
        };
    };
    let waited = since(asked, now);
    if waited >= grace {
        let reason = format!("it did not shut down within {} s", desired.grace_seconds);
        return stopping(Some(Step::PowerOff)).because(reason);
    }
    let left = grace - waited;
    let heard = since(note.pressed.unwrap_or(asked), now);
    if heard >= ASK_AGAIN && domain.state != DomainState::Ending {
        return stopping(Some(Step::Ask));
    }
    stopping(None).after(
        left.min(ASK_AGAIN.saturating_sub(heard))
            .max(Duration::from_millis(1)),
    )
}

fn off(desired: &DesiredVm, found: &Found, now: Timestamp) -> Plan {
    let note = &found.note;
    if note.boot > 0 && note.ended.is_none() {
        let by = ended_by(found);
        return Plan::of(ObservedState::Stopping, [Step::NoteEnd(by)]);
    }
    let is_to_start = is_to_start(desired, note);
    if !is_to_start && found.links.are_left() {
        return Plan::of(ObservedState::Stopped, [Step::Unplug]).because(how_it_ended(note));
    }
    let digest = match &found.ability {
        Ability::Able(digest) => digest,
        Ability::NotYet(why) => return Plan::of(ObservedState::Preparing, []).because(why),
        Ability::Unable(why) => return Plan::of(ObservedState::Failed, []).because(why),
    };
    let missing = found.missing.iter().cloned().map(Step::MakeDisk);
    let seed = found.is_seed_missing.then_some(Step::MakeSeed);
    let missing: Vec<Step> = missing.chain(seed).collect();
    if !missing.is_empty() {
        return Plan::of(ObservedState::Preparing, missing);
    }
    let is_defined = |boot| {
        let domain = found.domain.as_ref();
        domain.is_some_and(|domain| domain.digest == *digest && domain.boot == boot)
    };
    if !is_to_start {
        // For which boot it is defined matters only when it starts.
        let as_it_is = found
            .domain
            .as_ref()
            .map_or(note.boot, |domain| domain.boot);
        return if is_defined(as_it_is) {
            let stopped = Plan::of(ObservedState::Stopped, []).because(how_it_ended(note));
            match &found.links.trouble {
                Some(trouble) if found.links.plugged => stopped.after(trouble.left),
                _ => stopped,
            }
        } else {
            Plan::of(ObservedState::Preparing, [Step::Define(as_it_is)])
        };
    }
    let boot = desired.boot.max(note.boot);
    if let Some(pause) = pause(desired, note, boot) {
        let ended = note.ended.as_ref().map_or(now, |end| end.at);
        let waited = since(ended, now);
        match pause {
            Pause::Ever => {
                let why = format!("it crashed {} times in a row", note.crashes);
                return Plan::of(ObservedState::Failed, []).because(why);
            }
            Pause::For(pause) if waited < pause => {
                return Plan::of(ObservedState::Starting, [])
                    .because("it crashed, and is started again after a pause")
                    .after(pause - waited);
            }
            Pause::For(_) => {}
        }
    }
    let links = &found.links;
    if links.wanted && !links.ready {
        return tried(ObservedState::Starting, links, Step::Plug);
    }
    let mut steps = match is_defined(boot) {
        true => vec![Step::Start(boot)],
        false => vec![Step::Define(boot), Step::Start(boot)],
    };
    if links.wanted {
        steps.push(Step::Attach);
    }
    Plan::of(ObservedState::Starting, steps)
}

/// A boot that the guest has ended is over. Any other end is none that anybody wanted.
fn is_to_start(desired: &DesiredVm, note: &Note) -> bool {
    let is_over = note.boot >= desired.boot
        && note
            .ended
            .as_ref()
            .is_some_and(|end| end.by == EndedBy::Guest);
    desired.power == Power::Running && desired.boot > 0 && !is_over
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
