//! How a volume is, derived from what is wanted of it and what its host tells. Pure; the table is in `docs/vm.md`.
//!
//! ```text
//!   Creating ──> Available <──> InUse ──> Detaching ──> Available        any of them ──> Error, Unknown, Deleting
//! ```

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plasmavmc_model::{ObservedVolume, ObservedVolumeState, Volume, VolumeState, VolumeStatus};

use crate::config::DeadlineConfig;

/// What is known of a volume on its host.
#[derive(Clone, Debug)]
pub(crate) enum VolumeView {
    /// The host reports, since then; of the volume that, if anything.
    Alive {
        since: Timestamp,
        observed: Option<ObservedVolume>,
    },
    /// It is silent, since then if anybody has seen it go.
    Silent { since: Option<Timestamp> },
}

impl VolumeView {
    /// What its host says of it, if it reports.
    pub(crate) fn observed(&self) -> Option<&ObservedVolume> {
        match self {
            Self::Alive { observed, .. } => observed.as_ref(),
            Self::Silent { .. } => None,
        }
    }
}

/// What a look at a volume brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look {
    /// What is to be stored of how it is.
    pub(crate) status: VolumeStatus,
    /// When time alone may change that.
    pub(crate) within: Option<Duration>,
}

/// How a volume is that is being deleted.
pub(crate) fn deleting(volume: &Volume, waiting_for: &str, now: Timestamp) -> VolumeStatus {
    let reason = match waiting_for {
        "" => String::new(),
        what => format!("waiting for {what}"),
    };
    found(volume, VolumeState::Deleting, reason, now)
}

/// How a volume is that is not being deleted.
pub(crate) fn look(
    volume: &Volume,
    view: &VolumeView,
    limits: &DeadlineConfig,
    now: Timestamp,
) -> Look {
    let as_found = |state, reason: String| Look {
        status: found(volume, state, reason, now),
        within: None,
    };
    let (alive_since, observed) = match view {
        VolumeView::Silent { since } => {
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            let reason = format!("its host is silent{since}");
            return as_found(VolumeState::Unknown, reason);
        }
        VolumeView::Alive { since, observed } => (*since, observed.as_ref()),
    };
    if let Some(since) = volume.attached.and_then(|attached| attached.detaching) {
        let reason = format!("its VM has not let it go yet, asked to at {since}");
        return as_found(VolumeState::Detaching, reason);
    }
    if let Some(seen) = observed
        && seen.generation >= volume.generation
        && seen.state == ObservedVolumeState::Failed
    {
        let reason = match seen.reason.as_str() {
            "" => "its host does not say why".to_owned(),
            reason => reason.to_owned(),
        };
        return as_found(VolumeState::Error, reason);
    }
    if !is_made(volume, observed) {
        let since = volume.created_at.max(alive_since);
        let reason = observed.map_or_else(String::new, |seen| seen.reason.clone());
        let passed = now.duration_since(since).max(SignedDuration::ZERO);
        let left = limits.preparing().checked_sub(passed.unsigned_abs());
        return match left.filter(|left| !left.is_zero()) {
            Some(left) => Look {
                within: Some(left),
                ..as_found(VolumeState::Creating, reason)
            },
            None => {
                let why = format!("it was not made within {} s", limits.preparing_seconds);
                let why = match reason.as_str() {
                    "" => why,
                    reason => format!("{why}: {reason}"),
                };
                as_found(VolumeState::Error, why)
            }
        };
    }
    let reason = match observed {
        Some(seen) if !seen.reason.is_empty() => seen.reason.clone(),
        Some(seen) if is_smaller(seen, volume) => {
            format!("it grows from {} to {} GiB", seen.size_gib, volume.size_gib)
        }
        _ => String::new(),
    };
    match volume.attached {
        Some(_) => as_found(VolumeState::InUse, reason),
        None => as_found(VolumeState::Available, reason),
    }
}

/// Whether it was made: its host says so, or somebody said so before, when it was told to another host, or anew.
fn is_made(volume: &Volume, observed: Option<&ObservedVolume>) -> bool {
    let was = matches!(
        volume.status.state,
        VolumeState::Available | VolumeState::InUse | VolumeState::Detaching
    );
    was || observed.is_some_and(|seen| seen.size_gib > 0)
}

/// Whether it is there, and not yet as large as it is wanted.
pub(crate) fn is_smaller(seen: &ObservedVolume, volume: &Volume) -> bool {
    (1..volume.size_gib).contains(&seen.size_gib)
}

/// A status as it is found now; since when, if it was so before.
pub(crate) fn found(
    volume: &Volume,
    state: VolumeState,
    reason: String,
    now: Timestamp,
) -> VolumeStatus {
    let before = &volume.status;
    VolumeStatus {
        state,
        reason,
        since: if before.state == state {
            before.since
        } else {
            now
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::AttachedTo;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn volume(state: VolumeState) -> Volume {
        let id = "vol-019ac8e5-3c00-7001-8c00-000000000001";
        let mut volume: Volume = serde_json::from_value(serde_json::json!({
            "id": id, "name": "data", "org": "acme", "project": "shop", "size_gib": 10, "pool": "local",
            "host": "host-1", "generation": 3, "status": { "state": "Creating", "since": at(0) },
            "created_at": at(0), "updated_at": at(0),
        }))
        .unwrap();
        volume.status.state = state;
        volume
    }

    fn attached(volume: Volume, detaching: Option<Timestamp>) -> Volume {
        let vm = "vm-019ac8e5-3c00-7001-8c00-000000000001".parse().unwrap();
        Volume {
            attached: Some(AttachedTo { vm, detaching }),
            ..volume
        }
    }

    fn seen(generation: u64, state: ObservedVolumeState, size_gib: u32) -> VolumeView {
        VolumeView::Alive {
            since: at(0),
            observed: Some(ObservedVolume {
                generation,
                state,
                size_gib,
                reason: String::new(),
                snapshots: Vec::new(),
                reverted: 0,
                since: at(0),
            }),
        }
    }

    fn state_of(volume: &Volume, view: &VolumeView) -> VolumeState {
        let limits = DeadlineConfig::default();
        look(volume, view, &limits, at(1)).status.state
    }

    #[test]
    fn what_the_host_says_counts() {
        use ObservedVolumeState as O;
        use VolumeState as V;
        let nothing = VolumeView::Alive {
            since: at(0),
            observed: None,
        };
        for (before, view, free, had) in [
            (V::Creating, nothing.clone(), V::Creating, V::Creating),
            (
                V::Creating,
                seen(3, O::Preparing, 0),
                V::Creating,
                V::Creating,
            ),
            (V::Creating, seen(2, O::Ready, 10), V::Available, V::InUse),
            (V::Creating, seen(3, O::Failed, 0), V::Error, V::Error),
            // Of what was wanted before.
            (V::Creating, seen(2, O::Failed, 0), V::Creating, V::Creating),
            (V::Error, seen(3, O::Ready, 10), V::Available, V::InUse),
            (V::Unknown, seen(3, O::Ready, 10), V::Available, V::InUse),
            // It was told to another host, which has not said anything yet.
            (V::Available, nothing, V::Available, V::InUse),
            (
                V::Available,
                seen(3, O::Preparing, 5),
                V::Available,
                V::InUse,
            ),
            (V::Available, seen(3, O::Failed, 5), V::Error, V::Error),
        ] {
            let volume = volume(before);
            assert_eq!(state_of(&volume, &view), free, "{before} {view:?}");
            let volume = attached(volume, None);
            assert_eq!(state_of(&volume, &view), had, "{before} {view:?}");
            let volume = attached(volume, Some(at(0)));
            assert_eq!(state_of(&volume, &view), V::Detaching, "{before} {view:?}");
        }
        let silent = VolumeView::Silent { since: Some(at(0)) };
        assert_eq!(state_of(&volume(V::Available), &silent), V::Unknown);
    }

    #[test]
    fn what_is_never_made_is_an_error_and_truth_counts_more() {
        let limits = DeadlineConfig::default();
        let mut volume = volume(VolumeState::Creating);
        let waiting = seen(3, ObservedVolumeState::Preparing, 0);
        let found = look(&volume, &waiting, &limits, at(299));
        assert_eq!(found.status.state, VolumeState::Creating);
        assert_eq!(found.within, Some(Duration::from_secs(1)));
        volume.status = look(&volume, &waiting, &limits, at(300)).status;
        assert_eq!(volume.status.state, VolumeState::Error);
        assert_eq!(volume.status.reason, "it was not made within 300 s");
        // A host that has just come back gets its time.
        let back = VolumeView::Alive {
            since: at(1000),
            observed: None,
        };
        let found = look(&volume, &back, &limits, at(1001)).status;
        assert_eq!(found.state, VolumeState::Creating);
        let made = seen(3, ObservedVolumeState::Ready, 10);
        let found = look(&volume, &made, &limits, at(2000)).status;
        assert_eq!(found.state, VolumeState::Available);
    }

    #[test]
    fn it_is_said_what_is_waited_for() {
        let limits = DeadlineConfig::default();
        let growing = seen(3, ObservedVolumeState::Preparing, 5);
        let found = look(&volume(VolumeState::Available), &growing, &limits, at(9));
        assert_eq!(found.status.reason, "it grows from 5 to 10 GiB");
        let held = attached(volume(VolumeState::InUse), Some(at(5)));
        let found = look(&held, &growing, &limits, at(9)).status;
        assert!(found.reason.contains("not let it go"), "{}", found.reason);
        assert_eq!(found.since, at(9));
        let found = deleting(&held, "its host", at(9));
        assert_eq!(found.reason, "waiting for its host");
    }
}
