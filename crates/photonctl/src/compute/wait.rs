//! Until a VM, a volume or a snapshot is as it should be.
//!
//! It is looked at again and again, and what changes is said on stderr. What cannot be reached for a while is asked on; what will
//! not be reached any more ends the wait with the reason.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::{cli::Goal, vm::VM};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        cli::Whose,
        client::Call,
        kind::Kind,
        things::{Things, of},
    },
};

/// How long it takes until something is looked at again: the first time, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Pauses between looks, each longer than the one before.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// Waits; not beyond the end.
    pub(super) async fn pause(&mut self, until: Instant) {
        sleep(self.0.min(until.saturating_duration_since(Instant::now()))).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

/// What was answered when we asked for something, before we wait for it.
pub(super) struct Asked {
    /// Since when it was in `Error` then: that error is the old one.
    old_error: Option<Value>,
}

impl Asked {
    pub(super) fn of(vm: &Value) -> Self {
        let is_error = vm["state"] == "Error";
        Self {
            old_error: is_error.then(|| vm["state_since"].clone()),
        }
    }
}

/// What a VM says of what is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It is so.
    Reached,
    /// It may become so.
    NotYet,
    /// It will not: why.
    Never(String),
}

/// Waits until a VM is as it should be, and returns it as it is then; nothing, if it is gone as it should be. Without a goal it
/// should be as it was last asked to be. `asked` is of whoever waits for what they asked for themselves.
///
/// # Errors
/// It will not be so, or it took too long.
pub(super) async fn until(
    vms: &Things<'_>,
    id: &str,
    whose: &Whose,
    goal: Option<Goal>,
    asked: Option<Asked>,
    patience: Duration,
) -> Result<Option<Value>, Failure> {
    let may_go = matches!(goal, Some(Goal::Gone) | None);
    let judge = |vm: &Value| found(vm, goal, asked.as_ref());
    look(vms, &VM, id, whose, may_go, judge, patience).await
}

/// Waits until a volume or a snapshot is in one of these states, and returns it as it is then; without any, until it is gone. `asked` is
/// what was answered when that was asked for.
///
/// # Errors
/// It will not be so, or it took too long.
pub(super) async fn until_in(
    things: &Things<'_>,
    kind: &Kind,
    asked: &Value,
    whose: &Whose,
    words: &[&str],
    patience: Duration,
) -> Result<Option<Value>, Failure> {
    let before = Asked::of(asked);
    let judge = |thing: &Value| found_in(thing, words, &before);
    let id = id(things, asked)?;
    look(things, kind, id, whose, words.is_empty(), judge, patience).await
}

fn found_in(thing: &Value, words: &[&str], asked: &Asked) -> Found {
    let state = thing["state"].as_str().unwrap_or_default();
    match state {
        state if words.contains(&state) => Found::Reached,
        // It may go on being so until it is gone.
        _ if words.is_empty() => Found::NotYet,
        "Deleting" => Found::Never(described(thing)),
        "Error" if asked.old_error.as_ref() != Some(&thing["state_since"]) => {
            Found::Never(described(thing))
        }
        _ => Found::NotYet,
    }
}

/// Waits until something that was made as it was is so: its host says so no more, and it is as it is wanted.
///
/// # Errors
/// It will not be so, or it took too long.
pub(super) async fn until_reverted(
    things: &Things<'_>,
    kind: &Kind,
    id: &str,
    whose: &Whose,
    patience: Duration,
) -> Result<Option<Value>, Failure> {
    look(things, kind, id, whose, false, reverted, patience).await
}

/// The word by which a reason tells of it.
const REVERTING: &str = "revert";

fn reverted(thing: &Value) -> Found {
    let text = |name: &str| thing[name].as_str().unwrap_or_default();
    let state = text("state");
    let is_settled = match text("wanted_state") {
        // A volume is not wanted in a state.
        "" => matches!(state, "Available" | "InUse"),
        wanted => state == wanted,
    };
    match state {
        "Error" | "Deleting" => Found::Never(described(thing)),
        _ if is_settled && !text("state_reason").contains(REVERTING) => Found::Reached,
        _ => Found::NotYet,
    }
}

/// Looks at something until that is judged to be the end.
async fn look(
    things: &Things<'_>,
    kind: &Kind,
    id: &str,
    whose: &Whose,
    may_go: bool,
    judge: impl Fn(&Value) -> Found,
    patience: Duration,
) -> Result<Option<Value>, Failure> {
    let until = Instant::now() + patience;
    let path = ["api", "v1", kind.path, id];
    let mut pauses = Pauses::new();
    let mut last = format!("{id} has not been seen");
    loop {
        let call = of(kind, whose, Call::get(&path).repeatable(true));
        let looked = timeout_at(until, things.service.call(call)).await;
        match looked {
            Ok(Ok(thing)) => match judge(&thing) {
                Found::Reached => return Ok(Some(thing)),
                Found::Never(why) => return Err(Failure::refused(why)),
                Found::NotYet => say(&mut last, described(&thing)),
            },
            Ok(Err(missing)) if missing.is_not_found() && may_go => return Ok(None),
            Ok(Err(missing)) if missing.is_not_found() => {
                return Err(Failure::not_found(format!("{id} is gone")));
            }
            // It may be back before we have to give up.
            Ok(Err(away)) if away.is_unreachable() => say(&mut last, away.to_string()),
            Ok(Err(failure)) => return Err(failure),
            Err(_too_late) => {}
        }
        if Instant::now() >= until {
            let seconds = patience.as_secs();
            return Err(Failure::unreachable(format!("after {seconds} s: {last}")));
        }
        pauses.pause(until).await;
    }
}

/// The id of what was answered.
pub(super) fn id<'a>(things: &Things<'_>, thing: &'a Value) -> Result<&'a str, Failure> {
    let id = thing["id"].as_str();
    id.ok_or_else(|| things.service.not_understood("it has no id"))
}

/// Says that something goes; or, if that was waited for, that it is gone.
pub(super) fn say_deleted(
    things: &Things<'_>,
    id: &str,
    asked: &Value,
    is_gone: bool,
) -> Result<(), Failure> {
    match things.format {
        Format::Human if is_gone => output::line(&format!("{id} deleted")),
        Format::Human => output::line(&format!("{id} is being deleted")),
        Format::Data(notation) => output::data(notation, asked),
    }
}

/// Says what is new.
fn say(last: &mut String, now: String) {
    if *last != now {
        eprintln!("{}", output::visible(&now));
        *last = now;
    }
}

/// `web is Creating: place`.
fn described(vm: &Value) -> String {
    let text = |name: &str| vm[name].as_str().unwrap_or_default();
    let name = match text("name") {
        "" => text("id"),
        name => name,
    };
    match text("state_reason") {
        "" => format!("{name} is {}", text("state")),
        reason => format!("{name} is {}: {reason}", text("state")),
    }
}

fn found(vm: &Value, goal: Option<Goal>, asked: Option<&Asked>) -> Found {
    let state = vm["state"].as_str().unwrap_or_default();
    let wanted = vm["wanted_state"].as_str().unwrap_or_default();
    let never = || Found::Never(described(vm));
    let word = match goal {
        Some(Goal::Running) => "Running",
        Some(Goal::Stopped) => "Stopped",
        Some(Goal::Paused) => "Paused",
        Some(Goal::Suspended) => "Suspended",
        Some(Goal::Error) => "Error",
        Some(Goal::Unknown) => "Unknown",
        // It is there: so it is not gone yet.
        Some(Goal::Gone) => "",
        None => wanted,
    };
    if state == word {
        return Found::Reached;
    }
    match (goal, state) {
        // What is deleted is gone some day, and nothing else any more.
        (Some(Goal::Gone) | None, "Deleting") => Found::NotYet,
        (_, "Deleting") => never(),
        (Some(Goal::Gone | Goal::Error | Goal::Unknown), _) => Found::NotYet,
        (_, "Error") => {
            let old = asked.and_then(|asked| asked.old_error.as_ref());
            if old == Some(&vm["state_since"]) {
                Found::NotYet
            } else {
                never()
            }
        }
        // Whoever asked for it waits for what somebody else has undone: its guest shut down, or another person.
        _ if asked.is_some() && wanted != word && !wanted.is_empty() => Found::Never(format!(
            "{}, and is wanted {wanted} meanwhile",
            described(vm)
        )),
        _ => Found::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vm(state: &str, wanted: &str) -> Value {
        json!({
            "id": "vm-1", "name": "web", "state": state, "wanted_state": wanted, "state_reason": "because",
            "state_since": "2026-01-01T00:00:00Z",
        })
    }

    /// What is found, in a word.
    fn of(state: &str, wanted: &str, goal: Option<Goal>, asked: Option<&Asked>) -> &'static str {
        match found(&vm(state, wanted), goal, asked) {
            Found::Reached => "reached",
            Found::NotYet => "not yet",
            Found::Never(why) => {
                assert!(
                    why.starts_with(&format!("web is {state}: because")),
                    "{why}"
                );
                "never"
            }
        }
    }

    #[test]
    fn a_vm_is_waited_for_as_long_as_it_may_become_so() {
        use Goal::{Error, Gone, Running, Stopped, Unknown};
        for (state, wanted, goal, expected) in [
            ("Running", "Running", Some(Running), "reached"),
            ("Starting", "Running", Some(Running), "not yet"),
            ("Creating", "Running", Some(Running), "not yet"),
            ("Unknown", "Running", Some(Running), "not yet"),
            ("Error", "Running", Some(Running), "never"),
            ("Deleting", "Running", Some(Running), "never"),
            // Somebody may start it yet.
            ("Stopped", "Stopped", Some(Running), "not yet"),
            ("Stopped", "Stopped", Some(Stopped), "reached"),
            ("Stopping", "Stopped", Some(Stopped), "not yet"),
            ("Error", "Stopped", Some(Stopped), "never"),
            ("Error", "Stopped", Some(Error), "reached"),
            ("Running", "Running", Some(Error), "not yet"),
            ("Unknown", "Running", Some(Unknown), "reached"),
            ("Error", "Stopped", Some(Gone), "not yet"),
            ("Deleting", "Stopped", Some(Gone), "not yet"),
            // As it was asked to be.
            ("Starting", "Running", None, "not yet"),
            ("Running", "Running", None, "reached"),
            ("Stopped", "Stopped", None, "reached"),
            ("Error", "Running", None, "never"),
            ("Deleting", "Running", None, "not yet"),
        ] {
            assert_eq!(of(state, wanted, goal, None), expected, "{state} {goal:?}");
        }
    }

    #[test]
    fn a_disk_is_waited_for_as_long_as_it_may_become_so() {
        let before = Asked::of(&vm("Error", ""));
        for (state, words, old_error, expected) in [
            ("Creating", &["Available"][..], false, "not yet"),
            ("Available", &["Available"], false, "reached"),
            ("InUse", &["Available", "InUse"], false, "reached"),
            ("Unknown", &["Available"], false, "not yet"),
            ("Error", &["Available"], false, "never"),
            ("Error", &["Available"], true, "not yet"),
            ("Deleting", &["Available"], false, "never"),
            ("Deleting", &[], false, "not yet"),
            ("Error", &[], false, "not yet"),
        ] {
            let asked = if old_error {
                &before
            } else {
                &Asked { old_error: None }
            };
            let found = match found_in(&vm(state, ""), words, asked) {
                Found::Reached => "reached",
                Found::NotYet => "not yet",
                Found::Never(_) => "never",
            };
            assert_eq!(found, expected, "{state} {words:?}");
        }
    }

    #[test]
    fn what_is_made_as_it_was_is_waited_for() {
        for (state, wanted, reason, expected) in [
            ("Stopped", "Stopped", "", Found::Reached),
            ("Running", "Running", "it is emulated", Found::Reached),
            ("Starting", "Running", "", Found::NotYet),
            ("Stopped", "Stopped", "it is being reverted", Found::NotYet),
            ("Available", "", "", Found::Reached),
            ("Unknown", "", "", Found::NotYet),
        ] {
            let mut thing = vm(state, wanted);
            thing["state_reason"] = reason.into();
            assert_eq!(reverted(&thing), expected, "{state} {reason}");
        }
        assert!(matches!(reverted(&vm("Error", "Running")), Found::Never(_)));
    }

    #[test]
    fn who_asked_for_it_hears_when_it_is_undone_and_no_old_error() {
        let before = Asked::of(&vm("Stopped", "Running"));
        let goal = Some(Goal::Running);
        assert_eq!(of("Stopped", "Stopped", goal, Some(&before)), "never");
        assert_eq!(of("Starting", "Running", goal, Some(&before)), "not yet");
        assert_eq!(of("Error", "Running", goal, Some(&before)), "never");
        let failed = Asked::of(&vm("Error", "Running"));
        assert_eq!(of("Error", "Running", goal, Some(&failed)), "not yet");
        let mut again = vm("Error", "Running");
        again["state_since"] = "2026-01-01T00:00:01Z".into();
        assert!(matches!(
            found(&again, goal, Some(&failed)),
            Found::Never(_)
        ));
    }
}
