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
    let is_running = wanted.power == Power::Running;
    let next = |power, boot, grace_seconds| Wanted {
        generation: wanted.generation + 1,
        power,
        boot,
        grace_seconds,
        asked_at: now,
    };
    let boot_more = |grace| next(Power::Running, wanted.boot + 1, grace);
    Ok(match request {
        Request::Start if vm.status.failed.is_some() => {
            Change::MakeAnew(boot_more(wanted.grace_seconds))
        }
        Request::Start if is_running && vm.status.state != State::Error => Change::Nothing,
        Request::Start => Change::Want(boot_more(wanted.grace_seconds)),
        Request::Stop { grace_seconds } => {
            let is_soon_enough = !is_running && wanted.grace_seconds <= grace_seconds;
            // What does not run needs no haste.
            let is_over = !is_running && vm.status.state == State::Stopped;
            if is_soon_enough || is_over {
                Change::Nothing
            } else {
                Change::Want(next(Power::Stopped, wanted.boot, grace_seconds))
            }
        }
        Request::Reboot { .. } if !is_running || vm.status.failed.is_some() => {
            return Err(Error::failed_precondition(format!(
                "vm {} is not running",
                vm.id
            )));
        }
        Request::Reboot { .. } if vm.status.state == State::Creating => {
            return Err(Error::failed_precondition(format!(
                "vm {} is being made",
                vm.id
            )));
        }
        Request::Reboot { grace_seconds } => Change::Want(boot_more(grace_seconds)),
    })
}

/// Shows what was just asked for: soon the controller says the same, and nobody is to think that it was not heard.
pub(crate) fn show(vm: &mut Vm, now: Timestamp) {
    let before = vm.status.state;
    let state = match (before, vm.wanted.power) {
        (State::Stopped | State::Running | State::Stopping | State::Error, Power::Running)
            if vm.status.failed.is_none() =>
        {
            State::Starting
        }
        (State::Running, Power::Stopped) => State::Stopping,
        _ => return,
    };
    vm.status.state = state;
    vm.status.reason.clear();
    vm.status.since = now;
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
        use Power::{Running as Up, Stopped as Down};
        use State::{Creating, Error, Running, Starting, Stopped, Stopping, Unknown};
        let requests = [
            Request::Start,
            Request::Stop {
                grace_seconds: GRACE,
            },
            Request::Stop { grace_seconds: 0 },
            Request::Reboot {
                grace_seconds: GRACE,
            },
        ];
        let table = [
            (Creating, Down, ["run+1 60", "-", "stop+0 0", "409"]),
            (Creating, Up, ["-", "stop+0 60", "stop+0 0", "409"]),
            (Stopped, Down, ["run+1 60", "-", "-", "409"]),
            (Starting, Up, ["-", "stop+0 60", "stop+0 0", "run+1 60"]),
            (Running, Up, ["-", "stop+0 60", "stop+0 0", "run+1 60"]),
            (Stopping, Down, ["run+1 60", "-", "stop+0 0", "409"]),
            (Error, Up, ["run+1 60", "stop+0 60", "stop+0 0", "run+1 60"]),
            (Error, Down, ["run+1 60", "-", "stop+0 0", "409"]),
            (Unknown, Up, ["-", "stop+0 60", "stop+0 0", "run+1 60"]),
            (Unknown, Down, ["run+1 60", "-", "stop+0 0", "409"]),
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
        let mut failed = vm(Error, Down);
        failed.status.failed = Some("no host".to_owned());
        let found = requests.map(|request| of(&failed, request));
        assert_eq!(found, ["anew run+1 60", "-", "stop+0 0", "409"]);
    }
}
