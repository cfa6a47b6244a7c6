//! From what is wanted of a volume and what is found to the next thing to be done. Pure.
//!
//! ```text
//!   not there, and never was                         make it
//!   a snapshot is to go                              remove it
//!   it is to be as it was, and was not made so yet   revert it; take what it is to be first, if it is not there
//!   it is too small                                  grow it, if it has no snapshots of its own
//!   a snapshot is to be there, and never was         take it
//!   ordered away                                     remove all of it
//! ```
//!
//! All of them only while nobody has it open.

use std::fmt;

use jiff::Timestamp;
use photon_core::Name;
use plasmavmc_model::{
    DesiredSnapshot, DesiredVolume, ObservedSnapshot, ObservedVolumeState, SnapshotId, SnapshotWish,
};

use super::files::Note;
use crate::qcow2::Disk;

/// What is wanted of a volume on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is to be as this says.
    Volume(Box<DesiredVolume>),
    /// Nothing of it is to be left in that pool.
    Gone(Name),
}

/// What is found of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// It, if it is there.
    pub disk: Option<Disk>,
    /// What is noted of it.
    pub note: Note,
    /// Whether there is anything of it.
    pub has_files: bool,
    /// Whether somebody has it open.
    pub is_open: bool,
}

/// What is done to a volume. Each may be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes it, of so many GiB.
    Make(u32),
    /// Notes that it was made.
    NoteMade,
    /// Makes it larger, so many GiB.
    Grow(u32),
    /// Takes a snapshot.
    Take(SnapshotId),
    /// Notes that a snapshot was taken.
    NoteTaken(SnapshotId),
    /// Removes a snapshot.
    Drop(SnapshotId),
    /// Forgets what was noted of a snapshot.
    Forget(SnapshotId),
    /// Makes it what it was in a snapshot, as the revert of that number.
    Revert(SnapshotId, u64),
    /// Removes all of it.
    Remove,
}

impl Step {
    /// Whether it is done to the file, which nobody may have open then.
    #[must_use]
    pub fn needs_it_closed(self) -> bool {
        !matches!(
            self,
            Self::Make(_) | Self::NoteMade | Self::NoteTaken(_) | Self::Forget(_)
        )
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(size) => write!(f, "make it of {size} GiB"),
            Self::NoteMade => f.write_str("note that it is made"),
            Self::Grow(size) => write!(f, "grow it to {size} GiB"),
            Self::Take(snapshot) => write!(f, "take {snapshot}"),
            Self::NoteTaken(snapshot) => write!(f, "note that {snapshot} is taken"),
            Self::Drop(snapshot) => write!(f, "remove {snapshot}"),
            Self::Forget(snapshot) => write!(f, "forget {snapshot}"),
            Self::Revert(snapshot, _) => write!(f, "make it as it was in {snapshot}"),
            Self::Remove => f.write_str("remove it"),
        }
    }
}

/// What is to be done now, and how it is until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// After it, it is looked again.
    pub step: Option<Step>,
    /// Whether something waits until nobody has it open.
    pub waits: bool,
    /// How it is.
    pub state: ObservedVolumeState,
    /// Why it is not as it is wanted.
    pub reason: String,
}

/// What is to be done.
#[must_use]
pub fn plan(wanted: &Wanted, found: &Found) -> Plan {
    let next = match wanted {
        Wanted::Gone(_) if found.has_files => Next::Do(Step::Remove),
        Wanted::Gone(_) => Next::Nothing,
        Wanted::Volume(desired) => next(desired, found),
    };
    let plan = |step, state, reason| Plan {
        step,
        waits: false,
        state,
        reason,
    };
    match next {
        Next::Nothing => plan(None, ObservedVolumeState::Ready, String::new()),
        Next::Cannot(why) => plan(None, ObservedVolumeState::Failed, why),
        Next::Do(step) if step.needs_it_closed() && found.is_open => Plan {
            waits: true,
            ..plan(
                None,
                ObservedVolumeState::Preparing,
                format!("it is open: nobody may have it open to {step}"),
            )
        },
        Next::Do(step) => plan(Some(step), ObservedVolumeState::Preparing, String::new()),
    }
}

enum Next {
    Do(Step),
    Nothing,
    Cannot(String),
}

fn next(desired: &DesiredVolume, found: &Found) -> Next {
    let note = &found.note;
    let Some(disk) = &found.disk else {
        return match note.made {
            true => Next::Cannot("its file is not there any more".to_owned()),
            false => Next::Do(Step::Make(desired.size_gib)),
        };
    };
    if !note.made {
        return Next::Do(Step::NoteMade);
    }
    let has = |id: SnapshotId| {
        let name = id.to_string();
        disk.snapshots.iter().any(|kept| kept.name == name)
    };
    let is_noted = |id| note.taken.contains_key(&id) || note.failed.contains_key(&id);
    let (kept, gone): (Vec<DesiredSnapshot>, Vec<DesiredSnapshot>) = desired
        .snapshots
        .iter()
        .partition(|snapshot| snapshot.wish == SnapshotWish::Kept);
    if let Some(over) = gone.iter().find(|snapshot| has(snapshot.id)) {
        return Next::Do(Step::Drop(over.id));
    }
    if let Some(over) = gone.iter().find(|snapshot| is_noted(snapshot.id)) {
        return Next::Do(Step::Forget(over.id));
    }
    let taken = |one: &&DesiredSnapshot| has(one.id) && !note.taken.contains_key(&one.id);
    if let Some(taken) = kept.iter().find(taken) {
        return Next::Do(Step::NoteTaken(taken.id));
    }
    let is_new = |one: &&DesiredSnapshot| !has(one.id) && !is_noted(one.id);
    let mut new = kept.iter().filter(is_new);
    let mut cannot = None;
    if let Some(revert) = desired
        .revert
        .filter(|revert| revert.number > note.reverted)
    {
        let snapshot = revert.snapshot;
        if has(snapshot) {
            return Next::Do(Step::Revert(snapshot, revert.number));
        }
        if new.clone().any(|one| one.id == snapshot) {
            return Next::Do(Step::Take(snapshot));
        }
        cannot = Some(format!(
            "it cannot be as it was in {snapshot}: that is not there"
        ));
    }
    let bytes = u64::from(desired.size_gib) << 30;
    if disk.size > bytes {
        let now = disk.size.div_ceil(1 << 30);
        cannot = Some(format!(
            "it has {now} GiB, and does not shrink to {}",
            desired.size_gib
        ));
    } else if disk.size < bytes {
        // What is left in it of a VM's snapshot is nobody's any more.
        if !kept.iter().any(|one| has(one.id)) {
            return Next::Do(Step::Grow(desired.size_gib));
        }
        cannot = Some("it has snapshots, and grows only without".to_owned());
    }
    match (new.next(), cannot) {
        // What is in it now is what was wanted to be kept, unless it is to become something else first.
        (Some(new), _) if !is_to_revert(desired, note) => Next::Do(Step::Take(new.id)),
        (_, Some(why)) => Next::Cannot(why),
        (_, None) => Next::Nothing,
    }
}

fn is_to_revert(desired: &DesiredVolume, note: &Note) -> bool {
    desired
        .revert
        .is_some_and(|revert| revert.number > note.reverted)
}

/// The snapshots that are told of.
#[must_use]
pub fn snapshots(desired: &DesiredVolume, found: &Found) -> Vec<ObservedSnapshot> {
    let kept = desired.snapshots.iter();
    let told = kept.filter_map(|snapshot| {
        let (id, note) = (snapshot.id, &found.note);
        let name = id.to_string();
        let mut there = found.disk.iter().flat_map(|disk| &disk.snapshots);
        let told = |failed, at| ObservedSnapshot {
            id,
            failed,
            at,
            memory: false,
            memory_bytes: 0,
        };
        let taken = note.taken.get(&id);
        if there.any(|kept| kept.name == name) {
            let is_to_go = snapshot.wish == SnapshotWish::Gone;
            let unknown = is_to_go.then_some(Timestamp::UNIX_EPOCH);
            return taken.copied().or(unknown).map(|at| told(None, at));
        }
        if let Some(failed) = note.failed.get(&id) {
            return Some(told(Some(failed.why.clone()), failed.at));
        }
        let lost = || "it is not in the volume any more".to_owned();
        taken
            .filter(|_| snapshot.wish == SnapshotWish::Kept)
            .map(|at| told(Some(lost()), *at))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::{Revert, VolumeId, pool};

    use super::*;
    use crate::{qcow2::Snapshot, volumes::FailedSnapshot};

    fn desired(size_gib: u32) -> DesiredVolume {
        DesiredVolume {
            id: VolumeId::generate(),
            org: Name::new("acme").unwrap(),
            project: Name::new("shop").unwrap(),
            generation: 1,
            pool: pool::local(),
            size_gib,
            attached: None,
            snapshots: Vec::new(),
            revert: None,
        }
    }

    fn there(size_gib: u64, snapshots: &[SnapshotId]) -> Found {
        let snapshots = snapshots.iter().map(|id| Snapshot {
            name: id.to_string(),
            memory_bytes: 0,
            at: 1,
        });
        Found {
            disk: Some(Disk {
                size: size_gib << 30,
                snapshots: snapshots.collect(),
            }),
            note: Note {
                made: true,
                ..Note::default()
            },
            has_files: true,
            is_open: false,
        }
    }

    fn wish(id: SnapshotId, wish: SnapshotWish) -> DesiredSnapshot {
        DesiredSnapshot { id, wish }
    }

    fn of(desired: &DesiredVolume, found: &Found) -> Plan {
        plan(&Wanted::Volume(Box::new(desired.clone())), found)
    }

    #[test]
    fn it_is_made_once_grows_and_never_shrinks() {
        use ObservedVolumeState::{Failed, Preparing, Ready};
        let wanted = desired(2);
        let nothing = Found::default();
        let lost = Found {
            note: there(2, &[]).note,
            ..Found::default()
        };
        let unnoted = Found {
            note: Note::default(),
            ..there(2, &[])
        };
        let kept = SnapshotId::generate();
        for (found, step, state) in [
            (nothing.clone(), Some(Step::Make(2)), Preparing),
            (lost, None, Failed),
            (unnoted, Some(Step::NoteMade), Preparing),
            (there(2, &[]), None, Ready),
            (there(1, &[]), Some(Step::Grow(2)), Preparing),
            (there(3, &[]), None, Failed),
            // What is left in it of a VM's snapshot is nobody's.
            (there(1, &[kept]), Some(Step::Grow(2)), Preparing),
            // Somebody else's snapshot is left alone.
            (there(2, &[kept]), None, Ready),
        ] {
            let plan = of(&wanted, &found);
            assert_eq!((plan.step, plan.state), (step, state), "{found:?}");
            assert_eq!(plan.reason.is_empty(), state != Failed);
            // While somebody has it open, nothing is done to it.
            let open = Found {
                is_open: true,
                ..found
            };
            let plan = of(&wanted, &open);
            let waits = matches!(step, Some(Step::Grow(_)));
            assert_eq!(plan.waits, waits);
            assert_eq!(plan.step, step.filter(|_| !waits));
            assert_eq!(plan.state, state);
        }
        let mut own = wanted.clone();
        own.snapshots = vec![wish(kept, SnapshotWish::Kept)];
        let mut found = there(1, &[kept]);
        found.note.taken.insert(kept, Timestamp::UNIX_EPOCH);
        let plan_of_own = of(&own, &found);
        assert_eq!((plan_of_own.step, plan_of_own.state), (None, Failed));
        let order = Wanted::Gone(pool::local());
        assert_eq!(plan(&order, &there(1, &[])).step, Some(Step::Remove));
        let open = Found {
            is_open: true,
            ..there(1, &[])
        };
        let waits = plan(&order, &open);
        assert!(waits.waits && waits.step.is_none(), "{waits:?}");
        assert_eq!(plan(&order, &nothing).step, None);
    }

    #[test]
    fn snapshots_are_taken_once_and_told_as_they_are() {
        use SnapshotWish::{Gone, Kept};
        let id = SnapshotId::generate();
        let mut wanted = desired(1);
        wanted.snapshots = vec![wish(id, Kept)];
        let mut found = there(1, &[]);
        assert_eq!(of(&wanted, &found).step, Some(Step::Take(id)));
        assert!(snapshots(&wanted, &found).is_empty());
        // It was taken, and whoever took it was killed.
        let mut found_taken = there(1, &[id]);
        assert_eq!(of(&wanted, &found_taken).step, Some(Step::NoteTaken(id)));
        let at = Timestamp::UNIX_EPOCH;
        found_taken.note.taken.insert(id, at);
        assert_eq!(of(&wanted, &found_taken).state, ObservedVolumeState::Ready);
        let told = snapshots(&wanted, &found_taken);
        assert_eq!((told[0].id, &told[0].failed, told[0].at), (id, &None, at));
        // It is gone: another one would be of another moment.
        found.note.taken.insert(id, at);
        assert_eq!(of(&wanted, &found).step, None);
        assert!(snapshots(&wanted, &found)[0].failed.is_some());
        found.note.taken.clear();
        let failed = FailedSnapshot {
            why: "no room".to_owned(),
            at,
        };
        found.note.failed.insert(id, failed);
        assert_eq!(of(&wanted, &found).step, None);
        let told = snapshots(&wanted, &found);
        assert_eq!(told[0].failed.as_deref(), Some("no room"));

        wanted.snapshots = vec![wish(id, Gone)];
        assert_eq!(of(&wanted, &found_taken).step, Some(Step::Drop(id)));
        assert_eq!(of(&wanted, &found).step, Some(Step::Forget(id)));
        assert_eq!(of(&wanted, &there(1, &[])).step, None);
    }

    #[test]
    fn a_revert_is_done_once_and_takes_its_turn() {
        let (first, second) = (SnapshotId::generate(), SnapshotId::generate());
        let mut wanted = desired(1);
        wanted.revert = Some(Revert {
            number: 2,
            snapshot: first,
            memory: false,
        });
        let keep = |id| wish(id, SnapshotWish::Kept);
        wanted.snapshots = vec![keep(second), keep(first)];
        // What it is to be again comes first, what is to be kept of it then afterwards.
        let found = there(1, &[]);
        assert_eq!(of(&wanted, &found).step, Some(Step::Take(first)));
        let mut found = there(1, &[first]);
        found.note.taken.insert(first, Timestamp::UNIX_EPOCH);
        assert_eq!(of(&wanted, &found).step, Some(Step::Revert(first, 2)));
        found.note.reverted = 2;
        assert_eq!(of(&wanted, &found).step, Some(Step::Take(second)));
        // One that is not there cannot be gone back to, and nothing else is kept in its place.
        let mut lost = there(1, &[]);
        lost.note.taken.insert(first, Timestamp::UNIX_EPOCH);
        let plan = of(&wanted, &lost);
        assert_eq!((plan.step, plan.state), (None, ObservedVolumeState::Failed));
        assert!(plan.reason.contains(&first.to_string()));
    }
}
