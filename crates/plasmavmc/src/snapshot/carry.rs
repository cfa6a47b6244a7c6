//! What a snapshot is, by what its host tells of it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use plasmavmc_model::{ObservedSnapshot, Snapshot, SnapshotState, SnapshotWish};

use crate::vm::state::left;

/// What a host tells of the snapshots of a VM or a volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) snapshots: &'a [ObservedSnapshot],
    /// Whether that is of what is wanted now: then what it does not tell of is not there.
    pub(crate) is_current: bool,
    /// Since when it reports: deadlines count from there.
    pub(crate) since: Timestamp,
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is as it was; time alone changes that, within so long.
    Stays(Option<Duration>),
    /// It is so from now on.
    Is(Snapshot),
    /// It could not be taken: what was begun of it is to go.
    Failed(Snapshot),
    /// Nothing of it is left.
    Gone,
}

/// What becomes of a snapshot of which that is wanted.
pub(crate) fn fate(
    snapshot: &Snapshot,
    wish: SnapshotWish,
    told: &Told<'_>,
    limit: Duration,
    now: Timestamp,
) -> Fate {
    use SnapshotState::{Creating, Deleting, Error, Ready};
    let seen = told.snapshots.iter().find(|one| one.id == snapshot.id);
    match (snapshot.state, seen) {
        (Deleting, None) if told.is_current && wish == SnapshotWish::Gone => Fate::Gone,
        // One that its host does not tell of for a while is not forgotten for that.
        (Deleting | Error, _) | (Ready, None) => Fate::Stays(None),
        (Creating | Ready, Some(seen)) => match &seen.failed {
            Some(why) => failed(snapshot, why.clone()),
            None => is(snapshot, taken(snapshot, seen)),
        },
        (Creating, None) => match left(snapshot.created_at.max(told.since), limit, now) {
            Some(left) => Fate::Stays(Some(left)),
            None => failed(
                snapshot,
                format!("it was not taken within {} s", limit.as_secs()),
            ),
        },
    }
}

fn is(before: &Snapshot, now: Snapshot) -> Fate {
    if *before == now {
        Fate::Stays(None)
    } else {
        Fate::Is(now)
    }
}

fn taken(snapshot: &Snapshot, seen: &ObservedSnapshot) -> Snapshot {
    Snapshot {
        state: SnapshotState::Ready,
        reason: String::new(),
        taken_at: Some(seen.at),
        memory: seen.memory,
        memory_bytes: seen.memory_bytes,
        ..snapshot.clone()
    }
}

fn failed(snapshot: &Snapshot, reason: String) -> Fate {
    Fate::Failed(Snapshot {
        state: SnapshotState::Error,
        reason,
        ..snapshot.clone()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use plasmavmc_model::{SnapshotId, SnapshotOf, VmId};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn snapshot(state: SnapshotState) -> Snapshot {
        Snapshot {
            id: SnapshotId::generate(),
            name: "before".to_owned().try_into().unwrap(),
            org: "acme".parse().unwrap(),
            project: "shop".parse().unwrap(),
            of: SnapshotOf::Vm(VmId::generate()),
            shape: None,
            state,
            reason: String::new(),
            taken_at: None,
            memory: false,
            memory_bytes: 0,
            created_at: at(0),
        }
    }

    fn seen(of: &Snapshot, failed: Option<&str>) -> ObservedSnapshot {
        ObservedSnapshot {
            id: of.id,
            failed: failed.map(str::to_owned),
            at: at(5),
            memory: true,
            memory_bytes: 7,
        }
    }

    fn told(snapshots: &[ObservedSnapshot], is_current: bool) -> Told<'_> {
        Told {
            snapshots,
            is_current,
            since: at(-100),
        }
    }

    fn kept(of: &Snapshot, told: &Told<'_>, now: i64) -> Fate {
        fate(of, SnapshotWish::Kept, told, LIMIT, at(now))
    }

    #[test]
    fn what_is_told_is_so_whatever_generation_it_is_of() {
        let new = snapshot(SnapshotState::Creating);
        let there = [seen(&new, None)];
        for is_current in [true, false] {
            let Fate::Is(ready) = kept(&new, &told(&there, is_current), 9) else {
                panic!("not there");
            };
            assert_eq!(ready.state, SnapshotState::Ready);
            assert_eq!(
                (ready.taken_at, ready.memory, ready.memory_bytes),
                (Some(at(5)), true, 7)
            );
            // Told again it changes nothing.
            let again = kept(&ready, &told(&there, true), 9_000);
            assert_eq!(again, Fate::Stays(None));
            // And it is not lost by being told no more.
            assert_eq!(kept(&ready, &told(&[], true), 9_000), Fate::Stays(None));
        }
        let failed = [seen(&new, Some("there is no room"))];
        let Fate::Failed(error) = kept(&new, &told(&failed, true), 9) else {
            panic!("not failed");
        };
        assert_eq!(error.state, SnapshotState::Error);
        assert_eq!(error.reason, "there is no room");
        assert_eq!(kept(&error, &told(&there, true), 9), Fate::Stays(None));
    }

    #[test]
    fn it_has_a_deadline_that_a_silent_host_does_not_use_up() {
        let new = snapshot(SnapshotState::Creating);
        let left = Fate::Stays(Some(Duration::from_secs(1)));
        assert_eq!(kept(&new, &told(&[], true), 599), left);
        assert!(matches!(kept(&new, &told(&[], true), 600), Fate::Failed(_)));
        let back = Told {
            since: at(500),
            ..told(&[], true)
        };
        assert_eq!(kept(&new, &back, 1_099), left);
    }

    #[test]
    fn it_is_gone_when_its_host_says_so_of_that_wish() {
        let going = snapshot(SnapshotState::Deleting);
        let there = [seen(&going, None)];
        let of = |told: &Told<'_>| fate(&going, SnapshotWish::Gone, told, LIMIT, at(9_000));
        assert_eq!(of(&told(&there, true)), Fate::Stays(None));
        assert_eq!(of(&told(&[], false)), Fate::Stays(None));
        assert_eq!(of(&told(&[], true)), Fate::Gone);
    }
}
