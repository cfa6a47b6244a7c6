//! How a VM is, derived from what is wanted of it and what its host tells. Pure; the tables are in `docs/vm.md`.
//!
//! ```text
//!   Creating ──> Stopped <──> Starting ──> Running ──> Stopping ──> Stopped        any of them ──> Error, Unknown, Deleting
//!                                ^          │   ^ │
//!                                │          v   │ v
//!                                └──── Suspended<─Paused
//! ```

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plasmavmc_model::{EndedBy, ObservedState, ObservedVm, Power, State, Status, Vm};

use crate::config::DeadlineConfig;

/// What is known of a VM's host.
#[derive(Clone, Debug)]
pub(crate) enum HostView {
    /// It reports, since then; of the VM that, if anything.
    Alive {
        since: Timestamp,
        observed: Option<ObservedVm>,
    },
    /// It is silent, since then if anybody has seen it go.
    Silent { since: Option<Timestamp> },
}

/// What a look at a VM brings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look {
    /// What is to be stored of how it is.
    pub(crate) status: Status,
    /// What is to be wanted from now on, if that follows from how it is.
    pub(crate) then: Option<Then>,
    /// When time alone may change that.
    pub(crate) within: Option<Duration>,
}

/// What is said of a VM that is to stand still.
pub(crate) const PAUSING: &str = "it is being paused";
/// What is said of a VM whose memory is being written to disk.
pub(crate) const SUSPENDING: &str = "it is being suspended";

/// What follows from how a VM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The guest has powered itself off, or there is nothing that could be suspended: it is not wanted to run any more.
    LetItBe,
    /// It did not end in time: it is powered off.
    PowerOff,
}

/// How a VM is that is being made; `waiting_for` is what its operation says.
pub(crate) fn creating(vm: &Vm, waiting_for: &str, now: Timestamp) -> Status {
    found(vm, State::Creating, reason_of_waiting(waiting_for), now)
}

/// How a VM is that is being deleted.
pub(crate) fn deleting(vm: &Vm, waiting_for: &str, now: Timestamp) -> Status {
    found(vm, State::Deleting, reason_of_waiting(waiting_for), now)
}

fn reason_of_waiting(what: &str) -> String {
    match what {
        "" => String::new(),
        what => format!("waiting for {what}"),
    }
}

/// How a VM is that is made and not being deleted.
pub(crate) fn look(vm: &Vm, host: &HostView, limits: &DeadlineConfig, now: Timestamp) -> Look {
    let as_found = |state, reason: String| Look {
        status: found(vm, state, reason, now),
        then: None,
        within: None,
    };
    if let Some(why) = &vm.status.failed {
        return as_found(State::Error, why.clone());
    }
    let (alive_since, observed) = match host {
        HostView::Silent { since } => {
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            return as_found(State::Unknown, format!("its host is silent{since}"));
        }
        HostView::Alive { since, observed } => (*since, observed.as_ref()),
    };
    let is_current = observed.is_some_and(|seen| seen.generation >= vm.wanted.generation);
    let believed = observed.filter(|_| is_current);
    if let Some(seen) = believed
        && let Some(state) = stuck(vm, seen)
    {
        let mut stuck = as_found(state, or(&seen.reason, "its host does not say why"));
        stuck.status.hypervisor = seen.hypervisor;
        return stuck;
    }
    let since = vm.status.unsettled_since.unwrap_or(now);
    let seen = Seen {
        observed,
        is_current,
        is_reverting: is_reverting(vm, observed),
        since: since.max(vm.wanted.asked_at).max(alive_since),
    };
    let mut look = match vm.wanted.power {
        Power::Running => wanted_running(vm, &seen, limits, now),
        Power::Paused => wanted_paused(vm, &seen, limits, now),
        Power::Suspended => wanted_suspended(vm, &seen, limits, now),
        Power::Stopped => wanted_stopped(vm, &seen, limits, now),
    };
    look.status.hypervisor = observed.and_then(|seen| seen.hypervisor);
    look
}

/// What is seen of a VM whose host is not silent.
struct Seen<'a> {
    observed: Option<&'a ObservedVm>,
    /// Whether that is of what is wanted now.
    is_current: bool,
    /// Whether it is to be as it was in a snapshot, and is not yet.
    is_reverting: bool,
    /// From when on deadlines count.
    since: Timestamp,
}

impl Seen<'_> {
    fn reason(&self) -> String {
        self.observed
            .map_or_else(String::new, |seen| seen.reason.clone())
    }
}

/// Whether a revert was asked for that its host has not done yet.
pub(crate) fn is_reverting(vm: &Vm, observed: Option<&ObservedVm>) -> bool {
    let done = observed.map_or(0, |seen| seen.reverted);
    vm.revert.is_some_and(|revert| revert.number > done)
}

/// What is neither as it is wanted nor worked on: it cannot be made so, or it stands still though nobody wants that (a full disk).
fn stuck(vm: &Vm, seen: &ObservedVm) -> Option<State> {
    match (seen.state, vm.wanted.power) {
        (ObservedState::Failed, _) => Some(State::Error),
        // Without a reason it is about to go on.
        (ObservedState::Paused, Power::Running)
            if seen.boot >= vm.wanted.boot && !seen.reason.is_empty() =>
        {
            Some(State::Paused)
        }
        _ => None,
    }
}

/// Its guest has powered itself off: nothing of the boot that is wanted is to run any more.
fn let_it_be(vm: &Vm, seen: &ObservedVm, now: Timestamp) -> Option<Look> {
    let ended = seen.ended.as_ref();
    let is_over = seen.state == ObservedState::Stopped
        && ended.is_some_and(|ended| ended.boot >= vm.wanted.boot && ended.by == EndedBy::Guest);
    is_over.then(|| {
        let mut look = settled(vm, State::Stopped, how_ended(seen), now);
        look.then = Some(Then::LetItBe);
        look
    })
}

/// Not as it is wanted yet, and an error once the limit is over.
fn within(
    vm: &Vm,
    seen: &Seen<'_>,
    limit: Duration,
    state: State,
    reason: String,
    failure: &str,
    now: Timestamp,
) -> Look {
    match left(seen.since, limit, now) {
        Some(left) => unsettled(vm, state, reason, Some(left), now),
        None => {
            let why = format!("it {failure} within {} s", limit.as_secs());
            unsettled(vm, State::Error, with(why, &seen.reason()), None, now)
        }
    }
}

/// What is said of a VM that is being reverted.
pub(crate) fn reverting(vm: &Vm) -> String {
    let snapshot = vm.revert.map(|revert| revert.snapshot.to_string());
    format!("it is being reverted to {}", snapshot.unwrap_or_default())
}

fn wanted_running(vm: &Vm, seen: &Seen<'_>, limits: &DeadlineConfig, now: Timestamp) -> Look {
    if let Some(observed) = seen.observed.filter(|_| !seen.is_reverting) {
        if observed.state == ObservedState::Running && observed.boot >= vm.wanted.boot {
            return settled(vm, State::Running, observed.reason.clone(), now);
        }
        if let Some(look) = let_it_be(vm, observed, now) {
            return look;
        }
    }
    starting(vm, seen, limits, now)
}

fn starting(vm: &Vm, seen: &Seen<'_>, limits: &DeadlineConfig, now: Timestamp) -> Look {
    let (limit, reason) = if seen.is_reverting {
        // Its memory is read from disk, however much that is.
        (limits.starting().max(limits.snapshot()), reverting(vm))
    } else {
        (limits.starting(), seen.reason())
    };
    let failure = "did not start";
    within(vm, seen, limit, State::Starting, reason, failure, now)
}

fn wanted_paused(vm: &Vm, seen: &Seen<'_>, limits: &DeadlineConfig, now: Timestamp) -> Look {
    let Some(observed) = seen.observed.filter(|_| !seen.is_reverting) else {
        return starting(vm, seen, limits, now);
    };
    if let Some(look) = let_it_be(vm, observed, now) {
        return look;
    }
    if observed.boot < vm.wanted.boot {
        return starting(vm, seen, limits, now);
    }
    match observed.state {
        ObservedState::Paused => settled(vm, State::Paused, observed.reason.clone(), now),
        ObservedState::Running => {
            let failure = "was not paused";
            let reason = PAUSING.to_owned();
            let limit = limits.starting();
            within(vm, seen, limit, State::Running, reason, failure, now)
        }
        _ => starting(vm, seen, limits, now),
    }
}

fn wanted_suspended(vm: &Vm, seen: &Seen<'_>, limits: &DeadlineConfig, now: Timestamp) -> Look {
    let observed = seen.observed;
    if let Some(observed) = observed.filter(|seen| seen.boot >= vm.wanted.boot) {
        if observed.state == ObservedState::Suspended {
            return settled(vm, State::Suspended, observed.reason.clone(), now);
        }
        if let Some(look) = let_it_be(vm, observed, now) {
            return look;
        }
    }
    // It ended otherwise meanwhile: there is no memory, and nothing that could go on.
    if let Some(observed) = observed
        && seen.is_current
        && observed.state == ObservedState::Stopped
    {
        let why = with(
            "it had ended before it was suspended".to_owned(),
            &observed.reason,
        );
        let mut look = settled(vm, State::Stopped, why, now);
        look.then = Some(Then::LetItBe);
        return look;
    }
    let state = match observed.map(|seen| seen.state) {
        Some(ObservedState::Paused) => State::Paused,
        Some(ObservedState::Starting | ObservedState::Preparing) => State::Starting,
        _ => State::Running,
    };
    let (limit, failure) = (limits.suspending(), "was not suspended");
    within(vm, seen, limit, state, SUSPENDING.to_owned(), failure, now)
}

fn wanted_stopped(vm: &Vm, seen: &Seen<'_>, limits: &DeadlineConfig, now: Timestamp) -> Look {
    let (observed, since) = (seen.observed, seen.since);
    let runs = observed.filter(|seen| {
        matches!(
            seen.state,
            ObservedState::Starting
                | ObservedState::Running
                | ObservedState::Stopping
                | ObservedState::Paused
        )
    });
    if runs.is_none() && seen.is_reverting {
        let (limit, failure) = (limits.snapshot(), "was not reverted");
        return within(vm, seen, limit, State::Stopped, reverting(vm), failure, now);
    }
    let Some(seen) = runs else {
        let reason = observed.map_or_else(String::new, how_ended);
        return settled(vm, State::Stopped, reason, now);
    };
    let grace = Duration::from_secs(vm.wanted.grace_seconds.into());
    if let Some(left) = left(since, grace + limits.stopping(), now) {
        return unsettled(vm, State::Stopping, seen.reason.clone(), Some(left), now);
    }
    if vm.wanted.grace_seconds > 0 {
        let why = "the guest did not shut down in time: it is powered off";
        let mut look = unsettled(vm, State::Stopping, why.to_owned(), None, now);
        look.then = Some(Then::PowerOff);
        return look;
    }
    let why = "its host does not power it off".to_owned();
    unsettled(vm, State::Error, with(why, &seen.reason), None, now)
}

/// In words, where it is not what was asked for.
fn how_ended(seen: &ObservedVm) -> String {
    match seen.ended.as_ref().map(|ended| ended.by) {
        Some(EndedBy::Guest) => "the guest powered off".to_owned(),
        Some(EndedBy::PoweredOff | EndedBy::Crash) => seen.reason.clone(),
        Some(EndedBy::Asked) | None => String::new(),
    }
}

fn settled(vm: &Vm, state: State, reason: String, now: Timestamp) -> Look {
    Look {
        status: found(vm, state, reason, now),
        then: None,
        within: None,
    }
}

fn unsettled(
    vm: &Vm,
    state: State,
    reason: String,
    within: Option<Duration>,
    now: Timestamp,
) -> Look {
    let mut status = found(vm, state, reason, now);
    status.unsettled_since = vm.status.unsettled_since.or(Some(now));
    Look {
        status,
        then: None,
        within,
    }
}

/// A status as it is found now; since when, if it was so before.
fn found(vm: &Vm, state: State, reason: String, now: Timestamp) -> Status {
    let before = &vm.status;
    Status {
        state,
        reason,
        since: if before.state == state {
            before.since
        } else {
            now
        },
        hypervisor: None,
        unsettled_since: None,
        failed: before.failed.clone(),
    }
}

fn or(reason: &str, otherwise: &str) -> String {
    let reason = if reason.is_empty() { otherwise } else { reason };
    reason.to_owned()
}

fn with(why: String, reason: &str) -> String {
    if reason.is_empty() {
        why
    } else {
        format!("{why}: {reason}")
    }
}

/// What is left of a limit.
pub(crate) fn left(since: Timestamp, limit: Duration, now: Timestamp) -> Option<Duration> {
    let passed = now
        .duration_since(since)
        .max(SignedDuration::ZERO)
        .unsigned_abs();
    limit.checked_sub(passed).filter(|left| !left.is_zero())
}

/// A VM to try things on.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) fn sample() -> Vm {
    let id = "vm-019ac8e5-3c00-7001-8c00-000000000001";
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let at = "2026-11-23T00:00:00Z";
    serde_json::from_value(serde_json::json!({
        "id": id, "name": "web", "org": "acme", "project": "shop", "vcpus": 2, "memory_mib": 128,
        "image": { "name": "photon-mini", "digest": digest },
        "boots_from": { "kind": "kernel", "kernel": digest, "initramfs": digest, "cmdline": "" },
        "wanted": { "generation": 3, "power": "stopped", "boot": 1, "grace_seconds": 60, "asked_at": at },
        "host": "host-1",
        "status": { "state": "Stopped", "reason": "", "since": at },
        "created_at": at, "updated_at": at,
    }))
    .unwrap()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::{End, Hypervisor};

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn vm(power: Power) -> Vm {
        let mut vm = sample();
        vm.wanted.power = power;
        vm.wanted.asked_at = at(0);
        vm.status.since = at(0);
        vm
    }

    fn seen(generation: u64, state: ObservedState) -> ObservedVm {
        ObservedVm {
            volumes: Vec::new(),
            snapshots: Vec::new(),
            reverted: 0,
            generation,
            state,
            boot: 1,
            ended: None,
            reason: String::new(),
            hypervisor: Some(Hypervisor::Qemu),
            since: START,
        }
    }

    fn alive(observed: Option<ObservedVm>) -> HostView {
        HostView::Alive {
            since: START,
            observed,
        }
    }

    fn state_of(vm: &Vm, host: &HostView, now: Timestamp) -> State {
        look(vm, host, &DeadlineConfig::default(), now).status.state
    }

    #[test]
    fn what_the_host_says_counts() {
        use ObservedState as O;
        for (power, observed, expected) in [
            (Power::Stopped, None, State::Stopped),
            (Power::Stopped, Some((3, O::Stopped)), State::Stopped),
            (Power::Stopped, Some((3, O::Preparing)), State::Stopped),
            (Power::Stopped, Some((3, O::Running)), State::Stopping),
            (Power::Stopped, Some((2, O::Running)), State::Stopping),
            (Power::Stopped, Some((3, O::Stopping)), State::Stopping),
            (Power::Stopped, Some((3, O::Failed)), State::Error),
            // Of what was wanted before.
            (Power::Stopped, Some((2, O::Failed)), State::Stopped),
            (Power::Running, None, State::Starting),
            (Power::Running, Some((2, O::Stopped)), State::Starting),
            (Power::Running, Some((3, O::Starting)), State::Starting),
            (Power::Running, Some((3, O::Running)), State::Running),
            // Without a reason it is about to go on.
            (Power::Running, Some((3, O::Paused)), State::Starting),
            (Power::Running, Some((2, O::Paused)), State::Starting),
            (Power::Running, Some((2, O::Suspended)), State::Starting),
            (Power::Running, Some((3, O::Suspended)), State::Starting),
            (Power::Running, Some((3, O::Failed)), State::Error),
            (Power::Running, Some((2, O::Failed)), State::Starting),
            (Power::Stopped, Some((3, O::Paused)), State::Stopping),
            (Power::Stopped, Some((2, O::Suspended)), State::Stopped),
            (Power::Stopped, Some((3, O::Suspended)), State::Stopped),
            (Power::Paused, None, State::Starting),
            (Power::Paused, Some((3, O::Starting)), State::Starting),
            (Power::Paused, Some((2, O::Running)), State::Running),
            (Power::Paused, Some((3, O::Running)), State::Running),
            (Power::Paused, Some((3, O::Paused)), State::Paused),
            (Power::Paused, Some((2, O::Paused)), State::Paused),
            (Power::Paused, Some((3, O::Stopped)), State::Starting),
            (Power::Paused, Some((3, O::Failed)), State::Error),
            (Power::Suspended, None, State::Running),
            (Power::Suspended, Some((2, O::Running)), State::Running),
            (Power::Suspended, Some((3, O::Running)), State::Running),
            (Power::Suspended, Some((2, O::Paused)), State::Paused),
            (Power::Suspended, Some((3, O::Paused)), State::Paused),
            (Power::Suspended, Some((3, O::Suspended)), State::Suspended),
            (Power::Suspended, Some((2, O::Suspended)), State::Suspended),
            (Power::Suspended, Some((3, O::Stopped)), State::Stopped),
            (Power::Suspended, Some((2, O::Stopped)), State::Running),
            (Power::Suspended, Some((3, O::Failed)), State::Error),
        ] {
            let host = alive(observed.map(|(generation, state)| seen(generation, state)));
            assert_eq!(
                state_of(&vm(power), &host, at(1)),
                expected,
                "{power:?} {observed:?}"
            );
        }
    }

    #[test]
    fn a_full_disk_is_a_pause_with_a_reason() {
        let mut full = seen(3, ObservedState::Paused);
        full.reason = "its pool is full".to_owned();
        let limits = DeadlineConfig::default();
        let up = vm(Power::Running);
        let found = look(&up, &alive(Some(full.clone())), &limits, at(1)).status;
        assert_eq!(found.state, State::Paused);
        assert_eq!(found.reason, "its pool is full");
        assert_eq!(found.unsettled_since, None);
        // Of before a resume it says nothing.
        full.generation = 2;
        assert_eq!(state_of(&up, &alive(Some(full)), at(1)), State::Starting);
    }

    #[test]
    fn pausing_and_suspending_have_their_deadlines() {
        let limits = DeadlineConfig::default();
        let running = alive(Some(seen(3, ObservedState::Running)));
        for (power, said, limit, failure) in [
            (
                Power::Paused,
                PAUSING,
                180,
                "it was not paused within 180 s",
            ),
            (
                Power::Suspended,
                SUSPENDING,
                300,
                "it was not suspended within 300 s",
            ),
        ] {
            let mut vm = vm(power);
            vm.status.unsettled_since = Some(at(0));
            let found = look(&vm, &running, &limits, at(limit - 1));
            assert_eq!(found.status.state, State::Running);
            assert_eq!(found.status.reason, said);
            assert_eq!(found.within, Some(Duration::from_secs(1)));
            let found = look(&vm, &running, &limits, at(limit));
            assert_eq!(found.status.state, State::Error);
            assert_eq!(found.status.reason, failure);
        }
    }

    #[test]
    fn what_ended_before_it_was_suspended_is_stopped() {
        let limits = DeadlineConfig::default();
        let stopped = alive(Some(seen(3, ObservedState::Stopped)));
        let found = look(&vm(Power::Suspended), &stopped, &limits, at(1));
        assert_eq!(found.then, Some(Then::LetItBe));
        let reason = &found.status.reason;
        assert!(reason.contains("before it was suspended"), "{reason}");
        // A guest that powers itself off while it is to stand still does not come back.
        let mut over = seen(3, ObservedState::Stopped);
        over.ended = Some(End {
            boot: 1,
            by: EndedBy::Guest,
            at: START,
        });
        let found = look(&vm(Power::Paused), &alive(Some(over)), &limits, at(1));
        assert_eq!(found.then, Some(Then::LetItBe));
        assert_eq!(found.status.state, State::Stopped);
    }

    #[test]
    fn a_revert_is_shown_until_it_is_done_and_has_a_deadline() {
        let limits = DeadlineConfig::default();
        let revert = |power, memory| {
            let mut vm = vm(power);
            vm.revert = Some(plasmavmc_model::Revert {
                number: 2,
                snapshot: "snap-019ac8e5-3c00-7001-8c00-000000000001".parse().unwrap(),
                memory,
            });
            vm.status.unsettled_since = Some(at(0));
            vm
        };
        for (vm, observed, state) in [
            (
                revert(Power::Stopped, false),
                ObservedState::Stopped,
                State::Stopped,
            ),
            (
                revert(Power::Running, true),
                ObservedState::Running,
                State::Starting,
            ),
        ] {
            let mut seen = seen(3, observed);
            seen.reverted = 1;
            let found = look(&vm, &alive(Some(seen.clone())), &limits, at(599)).status;
            assert_eq!(found.state, state);
            assert!(found.reason.contains("reverted to snap-"), "{found:?}");
            let found = look(&vm, &alive(Some(seen.clone())), &limits, at(600)).status;
            assert_eq!(found.state, State::Error);
            seen.reverted = 2;
            let found = look(&vm, &alive(Some(seen)), &limits, at(600)).status;
            assert_ne!(found.state, State::Error);
            assert_eq!(found.reason, "");
        }
    }

    #[test]
    fn a_boot_that_is_over_does_not_count_as_the_one_that_is_wanted() {
        let mut vm = vm(Power::Running);
        vm.wanted.boot = 2;
        let host = alive(Some(seen(3, ObservedState::Running)));
        assert_eq!(state_of(&vm, &host, at(1)), State::Starting);
        vm.wanted.boot = 1;
        assert_eq!(state_of(&vm, &host, at(1)), State::Running);
    }

    #[test]
    fn a_guest_that_powers_itself_off_is_left_alone() {
        let mut over = seen(3, ObservedState::Stopped);
        over.ended = Some(End {
            boot: 1,
            by: EndedBy::Guest,
            at: START,
        });
        let limits = DeadlineConfig::default();
        let found = look(
            &vm(Power::Running),
            &alive(Some(over.clone())),
            &limits,
            at(1),
        );
        assert_eq!(found.status.state, State::Stopped);
        assert_eq!(found.then, Some(Then::LetItBe));
        // Somebody has asked for a boot more.
        let mut again = vm(Power::Running);
        again.wanted.boot = 2;
        let found = look(&again, &alive(Some(over.clone())), &limits, at(1));
        assert_eq!((found.status.state, found.then), (State::Starting, None));
        // It crashed: its host starts it again.
        over.ended.as_mut().unwrap().by = EndedBy::Crash;
        let found = look(&vm(Power::Running), &alive(Some(over)), &limits, at(1));
        assert_eq!((found.status.state, found.then), (State::Starting, None));
    }

    #[test]
    fn nothing_hangs() {
        let limits = DeadlineConfig::default();
        let running = alive(Some(seen(3, ObservedState::Running)));
        let stopped = alive(Some(seen(3, ObservedState::Stopped)));
        // Starting, until the deadline; truth counts more afterwards.
        let mut up = vm(Power::Running);
        up.status.unsettled_since = Some(at(0));
        let found = look(&up, &stopped, &limits, at(179));
        assert_eq!(found.status.state, State::Starting);
        assert_eq!(found.within, Some(Duration::from_secs(1)));
        let found = look(&up, &stopped, &limits, at(180));
        assert_eq!(found.status.state, State::Error);
        up.status = found.status;
        assert_eq!(state_of(&up, &stopped, at(1000)), State::Error);
        assert_eq!(state_of(&up, &running, at(1001)), State::Running);
        // Stopping: the grace and a while; then it is powered off; then it is an error.
        let mut down = vm(Power::Stopped);
        down.status.unsettled_since = Some(at(0));
        assert_eq!(state_of(&down, &running, at(89)), State::Stopping);
        let found = look(&down, &running, &limits, at(90));
        assert_eq!(
            (found.status.state, found.then),
            (State::Stopping, Some(Then::PowerOff))
        );
        down.wanted.grace_seconds = 0;
        down.wanted.asked_at = at(90);
        assert_eq!(state_of(&down, &running, at(119)), State::Stopping);
        let found = look(&down, &running, &limits, at(120));
        assert_eq!((found.status.state, found.then), (State::Error, None));
        assert_eq!(state_of(&down, &stopped, at(121)), State::Stopped);
    }

    #[test]
    fn a_silent_host_makes_it_unknown_and_its_return_gives_it_time() {
        let mut up = vm(Power::Running);
        up.status.unsettled_since = Some(at(0));
        let silent = HostView::Silent { since: Some(at(5)) };
        let found = look(&up, &silent, &DeadlineConfig::default(), at(1000)).status;
        assert_eq!(found.state, State::Unknown);
        assert!(found.reason.contains("silent since"), "{}", found.reason);
        assert_eq!(found.unsettled_since, None);
        let back = HostView::Alive {
            since: at(1000),
            observed: Some(seen(3, ObservedState::Stopped)),
        };
        up.status = found;
        assert_eq!(state_of(&up, &back, at(1001)), State::Starting);
    }

    #[test]
    fn it_is_said_since_when() {
        let mut up = vm(Power::Running);
        let running = alive(Some(seen(3, ObservedState::Running)));
        up.status = look(&up, &running, &DeadlineConfig::default(), at(10)).status;
        assert_eq!(up.status.since, at(10));
        up.status = look(&up, &running, &DeadlineConfig::default(), at(20)).status;
        assert_eq!(up.status.since, at(10));
    }

    #[test]
    fn what_could_not_be_made_says_why() {
        let mut bad = vm(Power::Stopped);
        bad.status.failed = Some("place: no host".to_owned());
        let silent = HostView::Silent { since: None };
        let found = look(&bad, &silent, &DeadlineConfig::default(), at(1)).status;
        assert_eq!(
            (found.state, found.reason.as_str()),
            (State::Error, "place: no host")
        );
    }
}
