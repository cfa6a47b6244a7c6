//! What a request makes of what is wanted of a VM. Pure; the table is in `docs/vm.md`.

use jiff::Timestamp;
use photon_core::Error;
use plasmavmc_model::{Power, State, Vm, Wanted};

use crate::refusal;

/// What somebody asks of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// To run.
    Start,
    /// Not to run; after so many seconds without the guest's consent.
    Stop { grace_seconds: u32 },
    /// To begin again.
    Reboot { grace_seconds: u32 },
    /// To stand still.
    Pause,
    /// Not to run, and to go on later where it was.
    Suspend,
    /// To go on where it was.
    Resume,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is wanted so already.
    Nothing,
    /// That is wanted from now on.
    Want(Wanted),
    /// The same, of a VM that has to be made first.
    MakeAnew(Wanted),
}

/// What a request changes.
///
/// # Errors
/// `DELETING`, `FAILED_PRECONDITION`.
pub(crate) fn change(vm: &Vm, request: Request, now: Timestamp) -> Result<Change, Error> {
    if vm.deleting.is_some() {
        return Err(refusal::deleting(vm.id));
    }
    let wanted = vm.wanted;
    let (power, state) = (wanted.power, vm.status.state);
    let next = |power, boot, grace_seconds| Wanted {
        generation: wanted.generation + 1,
        power,
        boot,
        grace_seconds,
        asked_at: now,
    };
    let boot_more = |grace| next(Power::Running, wanted.boot + 1, grace);
    let same_boot = |power| Change::Want(next(power, wanted.boot, wanted.grace_seconds));
    let refuse = |why: &str| {
        let message = format!("vm {} {why}", vm.id);
        Err(Error::failed_precondition(message))
    };
    let is_made = vm.status.failed.is_none();
    Ok(match request {
        Request::Start if !is_made => Change::MakeAnew(boot_more(wanted.grace_seconds)),
        // What stands still, or is on disk, goes on: it is no other boot.
        Request::Start | Request::Resume
            if is_made && matches!(power, Power::Paused | Power::Suspended) =>
        {
            same_boot(Power::Running)
        }
        Request::Start if power == Power::Running && state != State::Error => Change::Nothing,
        Request::Start => Change::Want(boot_more(wanted.grace_seconds)),
        Request::Resume if power == Power::Running && is_made => Change::Nothing,
        Request::Resume => return refuse("is neither paused nor suspended"),
        Request::Stop { grace_seconds } => {
            let is_stopped = power == Power::Stopped;
            let is_soon_enough = is_stopped && wanted.grace_seconds <= grace_seconds;
            // What does not run needs no haste.
            let is_over = is_stopped && state == State::Stopped;
            if is_soon_enough || is_over {
                Change::Nothing
            } else {
                Change::Want(next(Power::Stopped, wanted.boot, grace_seconds))
            }
        }
        Request::Pause if power == Power::Paused => Change::Nothing,
        Request::Suspend if power == Power::Suspended => Change::Nothing,
        Request::Reboot { .. } | Request::Pause | Request::Suspend
            if !power.is_up() || !is_made =>
        {
            return refuse("is not running");
        }
        Request::Reboot { .. } | Request::Pause | Request::Suspend if state == State::Creating => {
            return refuse("is being made");
        }
        Request::Reboot { grace_seconds } => Change::Want(boot_more(grace_seconds)),
        Request::Pause | Request::Suspend if state == State::Error => {
            return refuse("is not as it is wanted: start or stop it first");
        }
        Request::Pause => same_boot(Power::Paused),
        Request::Suspend if state == State::Starting => return refuse("is not running yet"),
        Request::Suspend => same_boot(Power::Suspended),
    })
}

/// Shows what was just asked for: soon the controller says the same, and nobody is to think that it was not heard. `before` is what
/// was wanted before.
pub(crate) fn show(vm: &mut Vm, before: Wanted, now: Timestamp) {
    use State::{Error, Paused, Running, Starting, Stopped, Stopping, Suspended};
    let is_same_boot = vm.wanted.boot == before.boot;
    let is_made = vm.status.failed.is_none();
    let mut reason = "";
    let state = match (vm.status.state, vm.wanted.power) {
        // It was to stand still, and does not yet.
        (Running, Power::Running) if is_same_boot => Running,
        (Stopped | Running | Stopping | Paused | Suspended | Error, Power::Running) if is_made => {
            Starting
        }
        (Running | Starting | Paused, Power::Stopped) => Stopping,
        // Its memory is thrown away.
        (Suspended, Power::Stopped) => Stopped,
        (shown @ (Running | Paused), Power::Paused) => {
            reason = super::state::PAUSING;
            shown
        }
        (shown @ (Running | Paused), Power::Suspended) => {
            reason = super::state::SUSPENDING;
            shown
        }
        _ => return,
    };
    if vm.status.state != state {
        vm.status.state = state;
        vm.status.since = now;
    }
    reason.clone_into(&mut vm.status.reason);
    vm.status.unsettled_since = Some(now);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_core::Code;

    use super::*;
    use crate::vm::state::sample;

    const GRACE: u32 = 60;

    fn vm(state: State, power: Power) -> Vm {
        let mut vm = sample();
        vm.status.state = state;
        vm.wanted.power = power;
        vm.wanted.boot = 7;
        vm.wanted.grace_seconds = GRACE;
        vm
    }

    /// What comes of it, in a word: the power, how many boots more, the grace.
    fn of(vm: &Vm, request: Request) -> String {
        let word = |wanted: Wanted| {
            assert_eq!(wanted.generation, vm.wanted.generation + 1);
            let power = match wanted.power {
                Power::Running => "run",
                Power::Stopped => "stop",
                Power::Paused => "pause",
                Power::Suspended => "suspend",
            };
            format!(
                "{power}+{} {}",
                wanted.boot - vm.wanted.boot,
                wanted.grace_seconds
            )
        };
        match change(vm, request, Timestamp::UNIX_EPOCH) {
            Ok(Change::Nothing) => "-".to_owned(),
            Ok(Change::Want(wanted)) => word(wanted),
            Ok(Change::MakeAnew(wanted)) => format!("anew {}", word(wanted)),
            Err(error) if error.code() == Code::DELETING => "deleting".to_owned(),
            Err(error) if error.code() == Code::FAILED_PRECONDITION => "409".to_owned(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn every_state_has_an_answer_to_every_request() {
        use Power::{Paused as Still, Running as Up, Stopped as Down, Suspended as Saved};
        use State::{
            Creating, Error, Paused, Running, Starting, Stopped, Stopping, Suspended, Unknown,
        };
        let requests = [
            Request::Start,
            Request::Stop {
                grace_seconds: GRACE,
            },
            Request::Stop { grace_seconds: 0 },
            Request::Reboot {
                grace_seconds: GRACE,
            },
            Request::Pause,
            Request::Suspend,
            Request::Resume,
        ];
        let (up, on) = ("run+1 60", "run+0 60");
        let (ask, off) = ("stop+0 60", "stop+0 0");
        let (pause, save) = ("pause+0 60", "suspend+0 60");
        let no = "409";
        let table = [
            (Creating, Down, [up, "-", off, no, no, no, no]),
            (Creating, Up, ["-", ask, off, no, no, no, "-"]),
            (Stopped, Down, [up, "-", "-", no, no, no, no]),
            (Starting, Up, ["-", ask, off, up, pause, no, "-"]),
            (Starting, Still, [on, ask, off, up, "-", no, on]),
            (Running, Up, ["-", ask, off, up, pause, save, "-"]),
            (Running, Still, [on, ask, off, up, "-", save, on]),
            (Running, Saved, [on, ask, off, no, no, "-", on]),
            // By a full disk.
            (Paused, Up, ["-", ask, off, up, pause, save, "-"]),
            (Paused, Still, [on, ask, off, up, "-", save, on]),
            (Paused, Saved, [on, ask, off, no, no, "-", on]),
            (Suspended, Saved, [on, ask, off, no, no, "-", on]),
            (Stopping, Down, [up, "-", off, no, no, no, no]),
            (Error, Up, [up, ask, off, up, no, no, "-"]),
            (Error, Still, [on, ask, off, up, "-", no, on]),
            (Error, Saved, [on, ask, off, no, no, "-", on]),
            (Error, Down, [up, "-", off, no, no, no, no]),
            (Unknown, Up, ["-", ask, off, up, pause, save, "-"]),
            (Unknown, Still, [on, ask, off, up, "-", save, on]),
            (Unknown, Saved, [on, ask, off, no, no, "-", on]),
            (Unknown, Down, [up, "-", off, no, no, no, no]),
        ];
        for (state, power, expected) in table {
            let vm = vm(state, power);
            let found = requests.map(|request| of(&vm, request));
            assert_eq!(found, expected, "{state} {power:?}");
        }
        for state in State::ALL {
            let mut vm = vm(state, Up);
            vm.deleting = Some(Timestamp::UNIX_EPOCH);
            for request in requests {
                assert_eq!(of(&vm, request), "deleting", "{state}");
            }
        }
        for power in [Up, Down] {
            let mut failed = vm(Error, power);
            failed.status.failed = Some("no host".to_owned());
            let found = requests.map(|request| of(&failed, request));
            let stop = if power == Up { ask } else { "-" };
            assert_eq!(found, ["anew run+1 60", stop, off, no, no, no, no]);
        }
    }

    #[test]
    fn what_was_asked_is_shown_at_once() {
        use State::{Error, Paused, Running, Starting, Stopped, Stopping, Suspended};
        for (state, power, request, expected, reason) in [
            (Stopped, Power::Stopped, Request::Start, Starting, ""),
            (Error, Power::Running, Request::Start, Starting, ""),
            (
                Running,
                Power::Running,
                Request::Pause,
                Running,
                "it is being paused",
            ),
            (
                Running,
                Power::Running,
                Request::Suspend,
                Running,
                "it is being suspended",
            ),
            (
                Paused,
                Power::Paused,
                Request::Suspend,
                Paused,
                "it is being suspended",
            ),
            (Paused, Power::Paused, Request::Resume, Starting, ""),
            (Suspended, Power::Suspended, Request::Resume, Starting, ""),
            (Running, Power::Paused, Request::Resume, Running, ""),
            (
                Paused,
                Power::Paused,
                Request::Stop { grace_seconds: 1 },
                Stopping,
                "",
            ),
            (
                Suspended,
                Power::Suspended,
                Request::Stop { grace_seconds: 1 },
                Stopped,
                "",
            ),
            (
                Running,
                Power::Running,
                Request::Reboot { grace_seconds: 1 },
                Starting,
                "",
            ),
            // Nobody is to read that it starts after asking it to stop.
            (
                Starting,
                Power::Running,
                Request::Stop { grace_seconds: 1 },
                Stopping,
                "",
            ),
        ] {
            let mut vm = vm(state, power);
            let before = vm.wanted;
            let Ok(Change::Want(wanted)) = change(&vm, request, Timestamp::UNIX_EPOCH) else {
                panic!("{state} {request:?}");
            };
            vm.wanted = wanted;
            show(&mut vm, before, Timestamp::UNIX_EPOCH);
            assert_eq!(vm.status.state, expected, "{state} {request:?}");
            assert_eq!(vm.status.reason, reason, "{state} {request:?}");
        }
    }
}
