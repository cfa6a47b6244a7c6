//! A VM's snapshots: what was noted of them, what is within its disks, and what is to be done. They lie within the disks, under their ids,
//! so they are where the disks are, and gone with them. Pure but for [`Snapshots::read`]; [`work`] does it.
//!
//! ```text
//!   not noted, in no disk   begun: noted first      taken
//!   noted as begun          removed from all disks, then taken again: nobody knows what it is
//!   noted as done           left alone
//!   noted as failed         left alone, until it is to be gone
//!   in a disk, not noted    noted as done: the note was lost, and what is there may be all that somebody has
//! ```

pub(crate) mod work;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use plasmavmc_model::{DesiredSnapshot, ObservedSnapshot, Revert, SnapshotId, SnapshotWish};
use serde::{Deserialize, Serialize};

use crate::{plan::Step, qcow2};

/// What was noted of a VM's snapshots; the file `snapshots.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Each that was begun and not removed.
    #[serde(default)]
    pub snapshots: BTreeMap<SnapshotId, Noted>,
}

/// What was noted of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// How far it is.
    #[serde(flatten)]
    pub stage: Stage,
    /// Since when.
    pub at: Timestamp,
}

/// How far a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// It may be in some disks.
    Begun,
    /// It is in all disks that there were.
    Done {
        /// Bytes of the memory that is in it; 0 of what did not run.
        memory_bytes: u64,
    },
    /// It could not be taken, and is in no disk.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What is found of a VM's snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshots {
    /// What was noted.
    pub notes: Notes,
    /// What is within its disks, in their order.
    pub disks: Vec<Within>,
    /// Whether another process has one of them open, as far as that matters: nothing runs.
    pub are_in_use: bool,
    /// Whether a disk of it is not among them: its pool is away, or it is being prepared. Then nothing is known of what is within.
    pub are_partial: bool,
}

/// What is within a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// Its file.
    pub path: PathBuf,
    /// Its snapshots, by name; `None` if that could not be read just now.
    pub holds: Option<Vec<qcow2::Snapshot>>,
}

impl Within {
    fn of(path: &Path) -> Self {
        let holds = match qcow2::read(path) {
            Ok(disk) => Some(disk.unwrap_or_default().snapshots),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a disk's snapshots cannot be read");
                None
            }
        };
        Self {
            path: path.to_owned(),
            holds,
        }
    }

    fn get(&self, id: SnapshotId) -> Option<&qcow2::Snapshot> {
        let name = id.to_string();
        let mut all = self.holds.iter().flatten();
        all.find(|one| one.name == name)
    }
}

impl Snapshots {
    /// Of a VM with these disks, of which none is open if nothing of it runs. Blocks.
    ///
    /// # Errors
    /// A disk that cannot be opened.
    pub fn read(notes: Notes, disks: &[PathBuf], is_off: bool) -> io::Result<Self> {
        let mut are_in_use = false;
        for path in disks.iter().filter(|_| is_off) {
            are_in_use |= qcow2::is_in_use(path)?;
        }
        Ok(Self {
            notes,
            disks: disks.iter().map(|path| Within::of(path)).collect(),
            are_in_use,
            are_partial: false,
        })
    }

    /// The disks that have it.
    pub fn holders(&self, id: SnapshotId) -> impl Iterator<Item = &Within> {
        self.disks.iter().filter(move |disk| disk.get(id).is_some())
    }

    /// Bytes of memory that are in it.
    #[must_use]
    pub fn memory_bytes(&self, id: SnapshotId) -> u64 {
        let bytes = self.holders(id).filter_map(|disk| disk.get(id));
        bytes.map(|one| one.memory_bytes).max().unwrap_or(0)
    }

    /// When it was taken, by what is in the disks.
    #[must_use]
    pub fn taken_at(&self, id: SnapshotId) -> Option<Timestamp> {
        let one = self.holders(id).find_map(|disk| disk.get(id))?;
        Timestamp::from_second(one.at.into()).ok()
    }

    fn are_readable(&self) -> bool {
        !self.are_partial && self.disks.iter().all(|disk| disk.holds.is_some())
    }

    /// What is to be done next; nothing while it is not known what is within the disks.
    #[must_use]
    pub fn next(&self, wishes: &[DesiredSnapshot]) -> Option<Step> {
        if !self.are_readable() {
            return None;
        }
        wishes.iter().find_map(|wish| self.step(*wish))
    }

    fn step(&self, wish: DesiredSnapshot) -> Option<Step> {
        let id = wish.id;
        let noted = self.notes.snapshots.get(&id).map(|noted| &noted.stage);
        let is_held = self.holders(id).next().is_some();
        match (wish.wish, noted) {
            (SnapshotWish::Gone, None) if !is_held => None,
            (SnapshotWish::Gone, _) => Some(Step::RemoveSnapshot(id)),
            (SnapshotWish::Kept, Some(Stage::Begun)) if is_held => Some(Step::RemoveSnapshot(id)),
            (SnapshotWish::Kept, None) if is_held => Some(Step::NoteSnapshot(id)),
            (SnapshotWish::Kept, None | Some(Stage::Begun)) if self.disks.is_empty() => {
                Some(Step::FailSnapshot(
                    id,
                    "it has no disk, and a snapshot lies within disks".to_owned(),
                ))
            }
            (SnapshotWish::Kept, None | Some(Stage::Begun)) => Some(Step::TakeSnapshot(id)),
            (SnapshotWish::Kept, Some(Stage::Done { .. } | Stage::Failed { .. })) => None,
        }
    }

    /// Whether the disks can be as they were.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn can_revert(&self, revert: &Revert) -> Result<(), String> {
        let id = revert.snapshot;
        let cannot = |why: &str| Err(format!("it cannot be reverted to {id}: {why}"));
        if !self.are_readable() {
            return cannot("its disks cannot be read");
        }
        let noted = self.notes.snapshots.get(&id).map(|noted| &noted.stage);
        let holders = self.holders(id).count();
        match noted {
            Some(Stage::Begun) => return cannot("that was not taken to its end"),
            _ if holders == 0 => return cannot("that is in none of its disks"),
            _ => {}
        }
        // Whoever reads the memory wants all disks of that moment.
        if revert.memory && holders < self.disks.len() {
            return cannot("one of its disks does not have it, so its memory does not fit");
        }
        if revert.memory && self.memory_bytes(id) == 0 {
            return cannot("there is no memory in it");
        }
        Ok(())
    }

    /// What is told of them, of which that is wanted. One that is to go is told until it is known to be gone: who hears nothing of it more
    /// forgets it.
    #[must_use]
    pub fn observed(&self, wishes: &[DesiredSnapshot]) -> Vec<ObservedSnapshot> {
        let mut told = self.told();
        let gone = wishes.iter().filter(|one| one.wish == SnapshotWish::Gone);
        for one in gone.map(|one| one.id) {
            let may_be_there = !self.are_readable()
                || self.notes.snapshots.contains_key(&one)
                || self.holders(one).next().is_some();
            if may_be_there && told.iter().all(|told| told.id != one) {
                told.push(ObservedSnapshot {
                    id: one,
                    failed: Some("it is being removed".to_owned()),
                    at: Timestamp::UNIX_EPOCH,
                    memory: false,
                    memory_bytes: 0,
                });
            }
        }
        told
    }

    fn told(&self) -> Vec<ObservedSnapshot> {
        let told = self.notes.snapshots.iter().filter_map(|(id, noted)| {
            let (failed, memory_bytes) = match &noted.stage {
                Stage::Begun => return None,
                Stage::Failed { reason } => (Some(reason.clone()), 0),
                Stage::Done { .. } if self.are_readable() && self.holders(*id).next().is_none() => {
                    (Some("it is in none of the disks any more".to_owned()), 0)
                }
                Stage::Done { memory_bytes } => (None, *memory_bytes),
            };
            Some(ObservedSnapshot {
                id: *id,
                failed,
                at: noted.at,
                memory: memory_bytes > 0,
                memory_bytes,
            })
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn holding(ids: &[(SnapshotId, u64)]) -> Within {
        let holds = ids.iter().map(|(id, memory_bytes)| qcow2::Snapshot {
            name: id.to_string(),
            memory_bytes: *memory_bytes,
            at: 1_700_000_000,
        });
        Within {
            path: "/disk".into(),
            holds: Some(holds.collect()),
        }
    }

    fn noted(id: SnapshotId, stage: Stage) -> Notes {
        let at = Timestamp::UNIX_EPOCH;
        Notes {
            snapshots: BTreeMap::from([(id, Noted { stage, at })]),
        }
    }

    fn all() -> [Option<Stage>; 4] {
        [
            None,
            Some(Stage::Begun),
            Some(Stage::Done { memory_bytes: 7 }),
            Some(Stage::Failed {
                reason: "why".to_owned(),
            }),
        ]
    }

    #[test]
    fn what_is_noted_and_what_is_in_the_disks_say_what_is_done() {
        use SnapshotWish::{Gone, Kept};
        let id = SnapshotId::generate();
        let take = || Some(Step::TakeSnapshot(id));
        let remove = || Some(Step::RemoveSnapshot(id));
        // By wish, whether it is in a disk; and what was noted: nothing, begun, done, failed.
        for (wish, is_held, steps) in [
            (Kept, false, [take(), take(), None, None]),
            (
                Kept,
                true,
                [Some(Step::NoteSnapshot(id)), remove(), None, None],
            ),
            (Gone, false, [None, remove(), remove(), remove()]),
            (Gone, true, [remove(), remove(), remove(), remove()]),
        ] {
            for (stage, step) in all().into_iter().zip(steps) {
                let what = format!("{wish:?} {is_held} {stage:?}");
                let held: &[_] = if is_held { &[(id, 0)] } else { &[] };
                let found = Snapshots {
                    notes: stage.map_or_else(Notes::default, |stage| noted(id, stage)),
                    disks: vec![holding(&[]), holding(held)],
                    are_in_use: false,
                    are_partial: false,
                };
                assert_eq!(found.next(&[DesiredSnapshot { id, wish }]), step, "{what}");
                // One that is not named is left alone, and so is what cannot be read.
                assert_eq!(found.next(&[]), None);
                let mut unreadable = found.clone();
                unreadable.disks[0].holds = None;
                assert_eq!(unreadable.next(&[DesiredSnapshot { id, wish }]), None);
                // Nor is anything done while one of its disks is away, and least of all is it said that it is lost.
                let mut partial = found;
                partial.disks.clear();
                partial.are_partial = true;
                let wishes = [DesiredSnapshot { id, wish }];
                assert_eq!(partial.next(&wishes), None);
                let told = partial.observed(&wishes);
                assert!(
                    wish == Kept || told.iter().any(|told| told.id == id),
                    "{what}"
                );
                let lost = told.iter().filter_map(|told| told.failed.as_deref());
                assert!(
                    lost.into_iter()
                        .all(|why| !why.contains("none of the disks")),
                    "{what}"
                );
            }
        }
        let none = Snapshots::default();
        let wish = DesiredSnapshot { id, wish: Kept };
        let failed = none.next(&[wish]);
        assert!(matches!(failed, Some(Step::FailSnapshot(of, _)) if of == id));
    }

    #[test]
    fn what_is_told_is_what_there_is() {
        let id = SnapshotId::generate();
        let told = |stage, held: &[_]| {
            let found = Snapshots {
                notes: noted(id, stage),
                disks: vec![holding(held)],
                are_in_use: false,
                are_partial: false,
            };
            found.observed(&[])
        };
        assert_eq!(told(Stage::Begun, &[(id, 7)]), []);
        let done = &told(Stage::Done { memory_bytes: 7 }, &[(id, 7)])[0];
        assert_eq!(
            (done.id, &done.failed, done.memory, done.memory_bytes),
            (id, &None, true, 7)
        );
        let gone = &told(Stage::Done { memory_bytes: 7 }, &[])[0];
        assert!(gone.failed.as_ref().unwrap().contains("none of the disks") && !gone.memory);
        let reason = "why".to_owned();
        let failed = &told(Stage::Failed { reason }, &[])[0];
        assert_eq!(failed.failed.as_deref(), Some("why"));
    }

    #[test]
    fn a_revert_is_refused_for_a_reason() {
        let id = SnapshotId::generate();
        let revert = |memory| Revert {
            number: 1,
            snapshot: id,
            memory,
        };
        let found = |stage: Option<Stage>, disks| Snapshots {
            notes: stage.map_or_else(Notes::default, |stage| noted(id, stage)),
            disks,
            are_in_use: false,
            are_partial: false,
        };
        let done = || Some(Stage::Done { memory_bytes: 7 });
        let whole = found(done(), vec![holding(&[(id, 7)]), holding(&[(id, 0)])]);
        whole.can_revert(&revert(true)).unwrap();
        whole.can_revert(&revert(false)).unwrap();
        let part = found(done(), vec![holding(&[(id, 7)]), holding(&[])]);
        part.can_revert(&revert(false)).unwrap();
        let cold = found(done(), vec![holding(&[(id, 0)])]);
        cold.can_revert(&revert(false)).unwrap();
        let mut unreadable = whole.clone();
        unreadable.disks[1].holds = None;
        let begun = found(Some(Stage::Begun), vec![holding(&[(id, 7)])]);
        for (found, memory, why) in [
            (&part, true, "does not have it"),
            (&cold, true, "no memory"),
            (&begun, false, "not taken to its end"),
            (&found(done(), vec![holding(&[])]), false, "none of its"),
            (&Snapshots::default(), true, "none of its"),
            (&unreadable, false, "cannot be read"),
        ] {
            let refused = found.can_revert(&revert(memory)).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        // A note that was lost is no reason.
        let unnoted = found(None, vec![holding(&[(id, 7)])]);
        unnoted.can_revert(&revert(true)).unwrap();
    }
}
