//! `photonctl operation`.

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{cli::Operation, wait::Pauses};
use crate::{
    failure::Failure,
    output::{self, Format},
    rest::{
        client::{Call, Service},
        kind::Kind,
        things::of,
    },
};

const OPERATION: Kind = Kind {
    what: "operation",
    prefix: "op",
    path: "operations",
    plural: "operations",
    known_by: "id",
    is_asked_for: false,
    is_owned: true,
    columns: &[],
};

pub(super) async fn run(
    service: &Service,
    format: Format,
    command: Operation,
) -> Result<(), Failure> {
    let Operation::Get {
        id,
        follow,
        within,
        whose,
    } = command;
    let path = ["api", "v1", OPERATION.path, &id];
    let (patience, mut pauses) = (within.patience(), Pauses::new());
    let until = Instant::now() + patience;
    let mut told = Log::default();
    loop {
        let call = of(&OPERATION, &whose, Call::get(&path).repeatable(follow));
        let looked = match timeout_at(until, service.call(call)).await {
            // It may be back before we have to give up.
            Ok(Err(away)) if follow && away.is_unreachable() => None,
            Ok(looked) => Some(looked?),
            Err(_too_late) => None,
        };
        if let Some(operation) = looked {
            if follow {
                told.tell(&operation["log"]);
            }
            if !follow || is_over(&operation) {
                print(format, operation.clone(), follow)?;
                return ended_well(&operation, follow);
            }
        }
        if Instant::now() >= until {
            let seconds = patience.as_secs();
            return Err(Failure::unreachable(format!(
                "{id} has not ended after {seconds} s"
            )));
        }
        pauses.pause(until).await;
    }
}

fn is_over(operation: &Value) -> bool {
    !matches!(operation["state"].as_str(), Some("running" | "undoing"))
}

/// Of whoever waited for the end, it is a failure that it failed.
fn ended_well(operation: &Value, is_waited_for: bool) -> Result<(), Failure> {
    let text = |name: &str| operation[name].as_str().unwrap_or_default();
    if !is_waited_for || text("state") == "done" {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "{} {}: {}",
        text("kind"),
        text("state"),
        text("error")
    )))
}

/// Fields, and under them what happened; what was told while we followed it is not told again.
fn print(format: Format, mut operation: Value, is_told: bool) -> Result<(), Failure> {
    if let Format::Data(notation) = format {
        return output::data(notation, &operation);
    }
    let log = operation["log"].take();
    if let Some(fields) = operation.as_object_mut() {
        fields.remove("log");
    }
    if let Some(steps) = operation.get_mut("steps") {
        *steps = steps_shown(steps).into();
    }
    output::fields(&operation)?;
    match log {
        Value::Array(lines) if !is_told && !lines.is_empty() => {
            output::line("")?;
            output::records(&["at", "text"], &lines)
        }
        _ => Ok(()),
    }
}

/// `place done, prepare waiting`.
fn steps_shown(steps: &Value) -> String {
    let step = |step: &Value| {
        format!(
            "{} {}",
            output::cell(&step["name"]),
            output::cell(&step["state"])
        )
    };
    let all: Vec<String> = steps.as_array().into_iter().flatten().map(step).collect();
    all.join(", ")
}

/// What happened, as far as it was told.
#[derive(Default)]
struct Log {
    last: Option<Value>,
}

impl Log {
    /// Tells what is new on stderr. A log forgets its oldest lines.
    fn tell(&mut self, log: &Value) {
        for line in self.news(log) {
            let text = |name: &str| output::visible(line[name].as_str().unwrap_or_default());
            eprintln!("{}  {}", text("at"), text("text"));
        }
        self.last = log.as_array().and_then(|lines| lines.last()).cloned();
    }

    fn news<'a>(&self, log: &'a Value) -> &'a [Value] {
        let lines = log.as_array().map(Vec::as_slice).unwrap_or_default();
        let told = lines
            .iter()
            .rposition(|line| Some(line) == self.last.as_ref());
        told.map_or(lines, |told| &lines[told + 1..])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let line = |text: &str| json!({"at": "2026-01-01T00:00:00Z", "text": text});
        let mut told = Log::default();
        let log = json!([line("begun"), line("placed")]);
        assert_eq!(told.news(&log).len(), 2);
        told.tell(&log);
        assert!(told.news(&log).is_empty());
        let log = json!([line("placed"), line("prepared")]);
        assert_eq!(told.news(&log), [line("prepared")]);
        // What was told last is forgotten: better twice than never.
        let log = json!([line("undone"), line("failed")]);
        assert_eq!(told.news(&log).len(), 2);
        assert!(told.news(&Value::Null).is_empty());
    }

    #[test]
    fn an_end_is_good_or_a_failure() {
        let operation =
            |state: &str| json!({"kind": "vm.create", "state": state, "error": "no host"});
        for (state, over, exit) in [
            ("running", false, 6),
            ("undoing", false, 6),
            ("done", true, 0),
            ("failed", true, 6),
            ("cancelled", true, 6),
        ] {
            let operation = operation(state);
            assert_eq!(is_over(&operation), over, "{state}");
            let ended = ended_well(&operation, true);
            assert_eq!(
                ended.map_or_else(|failure| failure.exit_code(), |()| 0),
                exit
            );
            assert!(ended_well(&operation, false).is_ok());
        }
        let failed = ended_well(&operation("failed"), true).unwrap_err();
        assert_eq!(failed.to_string(), "vm.create failed: no host");
    }

    #[test]
    fn steps_are_shown_in_a_line() {
        let steps =
            json!([{"name": "place", "state": "done"}, {"name": "prepare", "state": "waiting"}]);
        assert_eq!(steps_shown(&steps), "place done, prepare waiting");
    }
}
