//! A ledger under watch: after every command the invariants are checked, and a second state follows by the journal.

use creditservice_ledger::*;

use super::build::{NOON, name};

pub(crate) struct Ledger {
    pub(crate) state: State,
    /// Knows only what the journal says.
    follower: State,
    pub(crate) journal: Vec<Entry>,
    /// In microseconds.
    now: i64,
}

impl Ledger {
    /// At noon.
    pub(crate) fn new() -> Self {
        Self::with_bounds(Bounds::default())
    }

    pub(crate) fn with_bounds(bounds: Bounds) -> Self {
        let state = || State::with_bounds(Shard::new(7).unwrap(), bounds);
        Self {
            state: state(),
            follower: state(),
            journal: Vec::new(),
            now: NOON * 1_000_000,
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_micros(self.now)
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.now / 1_000_000
    }

    /// The clock goes on, or back.
    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += seconds * 1_000_000;
    }

    pub(crate) fn run(&mut self, request: impl Into<Request>) -> Result<Applied, Refusal> {
        let request = request.into();
        // As it crosses from process to process.
        let json = serde_json::to_string(&request).unwrap();
        let read: Request = serde_json::from_str(&json).unwrap();
        assert_eq!(read, request, "{json}");
        let before = bytes(&self.state);
        let result = self.state.apply(&request, self.now());
        match &result {
            Ok(applied) => {
                if applied.entries.is_empty() {
                    assert_eq!(bytes(&self.state), before, "changed without an entry");
                }
                self.written(&applied.entries);
            }
            Err(refusal) => {
                assert_eq!(bytes(&self.state), before, "changed by a refused command");
                assert!(
                    !matches!(refusal, Refusal::Defect(_)),
                    "{request:?}: {refusal:?}"
                );
            }
        }
        result
    }

    #[track_caller]
    pub(crate) fn done(&mut self, request: impl Into<Request>) -> Applied {
        self.run(request)
            .unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, request: impl Into<Request>) -> Refusal {
        match self.run(request) {
            Ok(applied) => panic!("was done: {applied:?}"),
            Err(refusal) => refusal,
        }
    }

    pub(crate) fn expire(&mut self, at_most: usize) -> usize {
        let entries = self.state.expire_due(self.now(), at_most).unwrap();
        self.written(&entries);
        entries.len()
    }

    fn written(&mut self, entries: &[Entry]) {
        for entry in entries {
            assert!(balanced(&entry.postings), "{entry:?}");
            let json = serde_json::to_string(entry).unwrap();
            let read: Entry = serde_json::from_str(&json).unwrap();
            assert_eq!(read, *entry, "{json}");
            self.follower.replay(&read).unwrap();
        }
        self.journal.extend_from_slice(entries);
        self.state.check().unwrap();
        assert_eq!(
            text(&self.state),
            text(&self.follower),
            "the journal says otherwise"
        );
    }

    #[track_caller]
    pub(crate) fn reserved(&mut self, command: Command) -> ReservationId {
        reservation(&self.done(command).answer).id
    }

    #[track_caller]
    pub(crate) fn figures(&self, project: &str) -> (i64, i64, i64) {
        let figures = self.state.wallet(&name(project)).unwrap().figures;
        (figures.balance, figures.reserved, figures.available)
    }

    #[track_caller]
    pub(crate) fn owed(&self, project: &str) -> i64 {
        self.state.wallet(&name(project)).unwrap().figures.owed
    }

    /// Used and reserved.
    #[track_caller]
    pub(crate) fn units(&self, project: &str, kind: &str) -> (i64, i64) {
        let view = self
            .state
            .quotas(&name(project))
            .find(|view| view.kind == name(kind))
            .unwrap();
        (view.used, view.reserved)
    }

    pub(crate) fn status(&self, id: ReservationId) -> Option<ReservationStatus> {
        self.state.reservation(id).map(|view| view.status)
    }
}

#[track_caller]
pub(crate) fn reservation(answer: &Answer) -> &ReservationView {
    match answer {
        Answer::Reservation(view) => view,
        Answer::Usage {
            next: Some(view), ..
        } => view,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn charged(applied: &Applied) -> (i64, bool) {
    match applied.answer {
        Answer::Usage {
            charged, billed, ..
        } => (charged, billed),
        ref other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn transaction(applied: &Applied) -> EntryId {
    match applied.answer {
        Answer::Transaction { id, .. } => id,
        ref other => panic!("{other:?}"),
    }
}

/// The whole state: equal states have equal bytes.
pub(crate) fn bytes(state: &State) -> Vec<u8> {
    snapshot::encode(state, 1 << 20).flatten().collect()
}

pub(crate) fn text(state: &State) -> String {
    String::from_utf8(bytes(state)).unwrap()
}

pub(crate) fn restored(state: &State, chunk_bytes: usize, bounds: Bounds) -> State {
    let mut decoder = snapshot::Decoder::new(bounds);
    for chunk in snapshot::encode(state, chunk_bytes) {
        decoder.push(&chunk).unwrap();
    }
    decoder.finish().unwrap()
}
