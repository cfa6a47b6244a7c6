//! Operations over a real store: every step made to fail, run twice, and cut off, ends clean.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use jiff::Timestamp;
use photon_core::{Error, Id, Kind, Name};
use photon_reconcile::{
    Acted, Operation, OperationState, Operations, Steps, drive,
    operation::{Driven, Driver, StepState, StepStatus, sweep},
};
use photon_store::{Fence, Scan, Store, Stored, Transaction};
use photon_testkit::in_process_chainfire;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WorkKind;

impl Kind for WorkKind {
    const PREFIX: &'static str = "op";
}

#[derive(Clone, Debug, PartialEq)]
struct Ours;

impl Operations for Ours {
    type Kind = WorkKind;
    const ROOT: &'static str = "/photon/test/operation/";

    fn index(id: Id<WorkKind>) -> String {
        format!("/photon/test/id/operation/{id}")
    }
}

const STEPS: [&str; 3] = ["one", "two", "three"];

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is done.
    Good,
    /// It does what it does elsewhere, and its process dies before the store hears of it; so many times.
    CutOff(u32),
    /// It cannot be done.
    Bad,
    /// It never ends.
    Endless,
}

/// Steps with effects in two places: elsewhere, where they may be repeated, and in the store, where they happen once.
struct Fake {
    store: Store,
    fates: Mutex<[Fate; 3]>,
    /// Undos that fail, still to come.
    bad_undos: Mutex<u32>,
    deadline: Option<Duration>,
    elsewhere: Mutex<BTreeSet<String>>,
    calls: Mutex<Vec<String>>,
}

fn effect(step: &str) -> String {
    format!("/photon/test/effect/{step}")
}

impl Fake {
    fn new(store: &Store, fates: [Fate; 3]) -> Self {
        Self {
            store: store.clone(),
            fates: Mutex::new(fates),
            bad_undos: Mutex::new(0),
            deadline: None,
            elsewhere: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Steps<Ours> for Fake {
    async fn act(&self, _: &Operation<Ours>, step: &str) -> Result<Acted, Error> {
        self.calls.lock().unwrap().push(step.to_owned());
        let index = STEPS.iter().position(|one| *one == step).unwrap();
        self.elsewhere.lock().unwrap().insert(step.to_owned());
        let fate = &mut self.fates.lock().unwrap()[index];
        match fate {
            Fate::CutOff(0) | Fate::Good => {
                let mut writes = self.store.transaction();
                writes
                    .absent(&effect(step))?
                    .put_raw(&effect(step), "done", 0)?;
                Ok(Acted::Done(writes))
            }
            Fate::CutOff(times) => {
                *times -= 1;
                Err(Error::unavailable("its process died"))
            }
            Fate::Bad => Ok(Acted::Failed("it is broken".to_owned())),
            Fate::Endless => Ok(Acted::Wait {
                what: "nothing".to_owned(),
                within: Duration::from_secs(3600),
            }),
        }
    }

    async fn undo(&self, _: &Operation<Ours>, step: &str) -> Result<Acted, Error> {
        self.calls.lock().unwrap().push(format!("-{step}"));
        self.elsewhere.lock().unwrap().remove(step);
        {
            let mut bad = self.bad_undos.lock().unwrap();
            if *bad > 0 {
                *bad -= 1;
                return Err(Error::unavailable("its process died"));
            }
        }
        let mut writes = self.store.transaction();
        writes.delete_raw(&effect(step))?;
        Ok(Acted::Done(writes))
    }

    fn deadline(&self, _: &str) -> Option<Duration> {
        self.deadline
    }

    async fn end(
        &self,
        operation: &Operation<Ours>,
        writes: &mut Transaction,
    ) -> Result<(), Error> {
        let key = format!("/photon/test/ended/{}", operation.id);
        writes
            .absent(&key)?
            .put_raw(&key, operation.state.as_str(), 0)?;
        Ok(())
    }
}

fn operation() -> Operation<Ours> {
    let now = Timestamp::now();
    Operation {
        id: Id::generate(),
        kind: "test".to_owned(),
        target: "it".to_owned(),
        org: Name::new("acme").unwrap(),
        project: Name::new("shop").unwrap(),
        by: "user:eve".to_owned(),
        state: OperationState::Running,
        steps: STEPS
            .iter()
            .map(|name| StepStatus {
                name: (*name).to_owned(),
                state: StepState::Waiting,
            })
            .collect(),
        step_since: now,
        waiting_for: String::new(),
        error: String::new(),
        cancel: false,
        log: Vec::new(),
        created_at: now,
        updated_at: now,
        ended_at: None,
    }
}

/// A store, and who leads in it.
struct Lab {
    store: Store,
    driver: Driver,
    _leadership: photon_store::Leadership,
}

impl Lab {
    async fn new(endpoint: &str) -> Self {
        let options = photon_store::Options::new([endpoint]);
        let store = Store::connect(options).await.unwrap();
        let second = Duration::from_secs(10);
        let leadership = store
            .campaign("/photon/test/leader", "us", second, second)
            .await
            .unwrap();
        let driver = Driver {
            store: store.clone(),
            fence: leadership.fence().clone(),
        };
        Self {
            store,
            driver,
            _leadership: leadership,
        }
    }

    async fn begin(&self) -> String {
        let operation = operation();
        let key = operation.key();
        self.store
            .collection()
            .create(&key, operation)
            .await
            .unwrap();
        key
    }

    async fn read(&self, key: &str) -> Stored<Operation<Ours>> {
        self.store.collection().get(key).await.unwrap().unwrap()
    }

    /// Drives it as a new process would, as it is stored, until it is over or waits; through all errors.
    async fn drive(&self, key: &str, steps: &Fake) -> Driven {
        for _ in 0..20 {
            let operation = self.read(key).await;
            if let Ok(driven) = drive(&self.driver, operation, steps).await {
                return driven;
            }
        }
        panic!("it fails for ever: {:?}", steps.calls());
    }

    /// The effects that are in the store.
    async fn effects(&self) -> Vec<String> {
        let scan = Scan::below("/photon/test/effect/", 100);
        let found = self.store.scan(&scan).await.unwrap().entries;
        let name = |key: String| key.rsplit_once('/').unwrap().1.to_owned();
        found.into_iter().map(|entry| name(entry.key)).collect()
    }

    /// How an operation was said to have ended.
    async fn ended(&self, key: &str) -> Vec<u8> {
        let id = key.rsplit_once('/').unwrap().1;
        let scan = Scan::below(format!("/photon/test/ended/{id}"), 2);
        let found = self.store.scan(&scan).await.unwrap().entries;
        assert_eq!(found.len(), 1);
        found[0].value.to_vec()
    }

    /// For the next one.
    async fn clean(&self) {
        for effect in self.effects().await {
            let mut writes = self.store.transaction();
            writes.delete_raw(&self::effect(&effect)).unwrap();
            writes.commit().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_that_fails_is_cut_off_or_never_ends_leaves_nothing() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let lab = Lab::new(&chainfire.endpoint()).await;
    for at in 0..STEPS.len() {
        // Cut off: done again, and once in the store.
        let mut fates = [Fate::Good; 3];
        fates[at] = Fate::CutOff(2);
        let steps = Fake::new(&lab.store, fates);
        let key = lab.begin().await;
        assert_eq!(lab.drive(&key, &steps).await, Driven::Over);
        let done = lab.read(&key).await.value;
        assert_eq!((done.state, done.percent()), (OperationState::Done, 100));
        assert_eq!(steps.calls().len(), 5, "{:?}", steps.calls());
        assert_eq!(lab.effects().await.len(), 3);
        assert_eq!(lab.ended(&key).await, b"done");
        lab.clean().await;

        // Failed, and undone, though undoing is cut off.
        fates[at] = Fate::Bad;
        let steps = Fake::new(&lab.store, fates);
        *steps.bad_undos.lock().unwrap() = 2;
        let key = lab.begin().await;
        assert_eq!(lab.drive(&key, &steps).await, Driven::Over);
        let failed = lab.read(&key).await.value;
        assert_eq!(failed.state, OperationState::Failed);
        assert_eq!(failed.error, format!("{}: it is broken", STEPS[at]));
        assert!(failed.ended_at.is_some());
        let undone: Vec<String> = steps
            .calls()
            .into_iter()
            .filter(|call| call.starts_with('-'))
            .collect();
        let mut expected: Vec<String> = STEPS[..=at]
            .iter()
            .rev()
            .map(|step| format!("-{step}"))
            .collect();
        // The first one was asked for three times.
        expected.splice(0..0, [expected[0].clone(), expected[0].clone()]);
        assert_eq!(undone, expected);
        assert!(lab.effects().await.is_empty() && steps.elsewhere.lock().unwrap().is_empty());
        assert_eq!(lab.ended(&key).await, b"failed");

        // It never ends: at its deadline it has failed.
        fates[at] = Fate::Endless;
        let mut steps = Fake::new(&lab.store, fates);
        let key = lab.begin().await;
        assert!(matches!(lab.drive(&key, &steps).await, Driven::Waiting(_)));
        assert_eq!(lab.read(&key).await.value.waiting_for, "nothing");
        steps.deadline = Some(Duration::from_nanos(1));
        assert_eq!(lab.drive(&key, &steps).await, Driven::Over);
        let late = lab.read(&key).await.value;
        assert_eq!(late.state, OperationState::Failed);
        assert!(late.error.contains("waiting for nothing"), "{}", late.error);
        assert!(lab.effects().await.is_empty());

        // Somebody does not want it any more.
        let steps = Fake::new(&lab.store, fates);
        let key = lab.begin().await;
        assert!(matches!(lab.drive(&key, &steps).await, Driven::Waiting(_)));
        let mut unwanted = lab.read(&key).await;
        unwanted.value.cancel = true;
        lab.store.collection().replace(unwanted).await.unwrap();
        assert_eq!(lab.drive(&key, &steps).await, Driven::Over);
        assert_eq!(lab.read(&key).await.value.state, OperationState::Cancelled);
        assert!(lab.effects().await.is_empty());
        assert_eq!(lab.ended(&key).await, b"cancelled");
    }
    chainfire.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leads_no_more_writes_nothing() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let lab = Lab::new(&chainfire.endpoint()).await;
    let steps = Fake::new(&lab.store, [Fate::Good; 3]);
    let key = lab.begin().await;
    let old = Driver {
        store: lab.store.clone(),
        fence: Fence {
            revision: lab.driver.fence.revision - 1,
            ..lab.driver.fence.clone()
        },
    };
    let before = lab.read(&key).await;
    drive(&old, before.clone(), &steps).await.unwrap_err();
    assert_eq!(lab.read(&key).await.revision, before.revision);
    assert!(lab.effects().await.is_empty());
    // And what somebody else has changed meanwhile is not written over.
    let mut changed = before.clone();
    changed.value.cancel = true;
    lab.store.collection().replace(changed).await.unwrap();
    let error = drive(&lab.driver, before, &steps).await.unwrap_err();
    assert_eq!(error.code(), photon_core::Code::CONFLICT);
    assert!(lab.effects().await.is_empty());
    assert_eq!(lab.drive(&key, &steps).await, Driven::Over);
    assert_eq!(lab.read(&key).await.value.state, OperationState::Cancelled);
    chainfire.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_ago_is_swept_and_nothing_else() {
    let mut chainfire = Box::pin(in_process_chainfire()).await.unwrap();
    let lab = Lab::new(&chainfire.endpoint()).await;
    let steps = Fake::new(&lab.store, [Fate::Good; 3]);
    let over = lab.begin().await;
    lab.drive(&over, &steps).await;
    let running = lab.begin().await;
    let now = Timestamp::now();
    let day = jiff::SignedDuration::from_hours(24);
    assert_eq!(sweep::<Ours>(&lab.store, now - day).await.unwrap(), 0);
    assert_eq!(sweep::<Ours>(&lab.store, now + day).await.unwrap(), 1);
    lab.read(&running).await;
    let all = lab.store.collection::<Operation<Ours>>();
    assert!(all.get(&over).await.unwrap().is_none());
    chainfire.stop().await;
}
