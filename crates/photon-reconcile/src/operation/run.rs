//! Does what an operation's record says is next.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use photon_core::Error;
use photon_store::{Fence, Store, Stored, Transaction};

use super::record::{Operation, OperationState, Operations, StepState};

/// What came of a step, or of undoing one.
#[derive(Debug)]
pub enum Acted {
    /// It is done; the transaction, empty or not, is committed together with that.
    Done(Transaction),
    /// It is under way; it is asked again when something is heard, and within that time anyway.
    Wait {
        /// What it waits for, for people.
        what: String,
        /// Not later than that.
        within: Duration,
    },
    /// It cannot be done, now or later. Not an answer of an undo.
    Failed(String),
}

/// What an operation is made of.
pub trait Steps<S: Operations>: Send + Sync {
    /// Does a step, or goes on with it. It may have been begun before, and even have been done but for its transaction. An error
    /// means that it is tried again.
    fn act(
        &self,
        operation: &Operation<S>,
        step: &str,
    ) -> impl Future<Output = Result<Acted, Error>> + Send;

    /// Undoes a step. It may be undone already, or never have been done.
    fn undo(
        &self,
        operation: &Operation<S>,
        step: &str,
    ) -> impl Future<Output = Result<Acted, Error>> + Send;

    /// How long a step may take before the operation has failed; for ever, if there is no limit.
    fn deadline(&self, step: &str) -> Option<Duration>;

    /// What is written with the operation's end, whichever it is; with the last step's own writes, if all are done: the two must not
    /// write the same record.
    fn end(
        &self,
        operation: &Operation<S>,
        transaction: &mut Transaction,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Where, as whom, and when.
#[derive(Clone, Debug)]
pub struct Driver {
    /// Where the records are.
    pub store: Store,
    /// What every write carries.
    pub fence: Fence,
}

/// How far an operation was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// It waits; to be driven again within that time.
    Waiting(Duration),
    /// It is over.
    Over,
}

/// Drives an operation as far as it goes now.
///
/// # Errors
/// Those of steps and of the store; it is to be driven again. [`photon_store::Error::Fenced`] becomes one of them, when somebody
/// else leads.
pub async fn drive<S: Operations>(
    driver: &Driver,
    mut operation: Stored<Operation<S>>,
    steps: &impl Steps<S>,
) -> Result<Driven, Error> {
    loop {
        let run = Run {
            driver,
            operation: &operation,
            steps,
            now: Timestamp::now(),
        };
        let next = match operation.value.state {
            OperationState::Running => run.forward().await?,
            OperationState::Undoing => run.back().await?,
            OperationState::Done | OperationState::Failed | OperationState::Cancelled => {
                return Ok(Driven::Over);
            }
        };
        match next {
            Next::Waiting(within) => return Ok(Driven::Waiting(within)),
            Next::Write(next) => {
                let (writes, value) = *next;
                operation.value = value;
                operation = write(driver, operation, writes).await?;
            }
        }
    }
}

enum Next<S: Operations> {
    Waiting(Duration),
    Write(Box<(Transaction, Operation<S>)>),
}

struct Run<'a, S: Operations, W> {
    driver: &'a Driver,
    operation: &'a Stored<Operation<S>>,
    steps: &'a W,
    now: Timestamp,
}

impl<S: Operations, W: Steps<S>> Run<'_, S, W> {
    fn nothing(&self) -> Transaction {
        self.driver.store.transaction()
    }

    async fn forward(&self) -> Result<Next<S>, Error> {
        let mut operation = self.operation.value.clone();
        let Some(present) = operation.present() else {
            return self.end(operation, OperationState::Done).await;
        };
        let step = operation.steps[present].name.clone();
        if operation.cancel {
            return Ok(self.turn_back(operation, "it was cancelled".to_owned()));
        }
        let left = match self.steps.deadline(&step) {
            Some(limit) => match left(operation.step_since, limit, self.now) {
                Some(left) => left,
                None => {
                    let why = late(&step, &operation.waiting_for, limit);
                    return Ok(self.turn_back(operation, why));
                }
            },
            None => Duration::MAX,
        };
        match self.steps.act(&operation, &step).await? {
            Acted::Done(mut writes) => {
                operation.steps[present].state = StepState::Done;
                operation.waiting_for.clear();
                operation.step_since = self.now;
                operation.say(&format!("{step}: done"), self.now);
                if operation.present().is_none() {
                    // With its last step it is over: what that step removed may be what leads to it.
                    operation.end(OperationState::Done, self.now);
                    self.steps.end(&operation, &mut writes).await?;
                }
                Ok(Next::Write(Box::new((writes, operation))))
            }
            Acted::Wait { what, within } => Ok(self.wait(operation, &step, what, within.min(left))),
            Acted::Failed(why) => Ok(self.turn_back(operation, format!("{step}: {why}"))),
        }
    }

    async fn back(&self) -> Result<Next<S>, Error> {
        let mut operation = self.operation.value.clone();
        // The last one that is not undone; the one that failed among them.
        let last = operation
            .steps
            .iter()
            .rposition(|step| step.state != StepState::Undone);
        let Some(last) = last else {
            let state = if operation.cancel {
                OperationState::Cancelled
            } else {
                OperationState::Failed
            };
            return self.end(operation, state).await;
        };
        let step = operation.steps[last].name.clone();
        match self.steps.undo(&operation, &step).await? {
            Acted::Done(writes) => {
                operation.steps[last].state = StepState::Undone;
                operation.waiting_for.clear();
                operation.step_since = self.now;
                operation.say(&format!("{step}: undone"), self.now);
                Ok(Next::Write(Box::new((writes, operation))))
            }
            Acted::Wait { what, within } => Ok(self.wait(operation, &step, what, within)),
            // There is no way on from here but to try again.
            Acted::Failed(why) => Err(Error::unavailable(format!(
                "{step} could not be undone: {why}"
            ))),
        }
    }

    /// Waiting is said once, not each time it is looked at.
    fn wait(
        &self,
        mut operation: Operation<S>,
        step: &str,
        what: String,
        within: Duration,
    ) -> Next<S> {
        if operation.waiting_for == what {
            return Next::Waiting(within);
        }
        operation.say(&format!("{step}: waiting for {what}"), self.now);
        operation.waiting_for = what;
        Next::Write(Box::new((self.nothing(), operation)))
    }

    fn turn_back(&self, mut operation: Operation<S>, why: String) -> Next<S> {
        operation.say(&why, self.now);
        operation.state = OperationState::Undoing;
        operation.error = why;
        operation.waiting_for.clear();
        // Steps behind the present one were never begun.
        let present = operation.present().unwrap_or(0);
        for step in operation.steps.iter_mut().skip(present + 1) {
            step.state = StepState::Undone;
        }
        Next::Write(Box::new((self.nothing(), operation)))
    }

    async fn end(
        &self,
        mut operation: Operation<S>,
        state: OperationState,
    ) -> Result<Next<S>, Error> {
        operation.end(state, self.now);
        let mut writes = self.nothing();
        self.steps.end(&operation, &mut writes).await?;
        Ok(Next::Write(Box::new((writes, operation))))
    }
}

/// What is left of a limit; nothing if it is over. A clock that went back is no reason to wait longer than the limit.
fn left(since: Timestamp, limit: Duration, now: Timestamp) -> Option<Duration> {
    let passed = now.duration_since(since).max(SignedDuration::ZERO);
    limit
        .checked_sub(passed.unsigned_abs())
        .filter(|left| !left.is_zero())
}

fn late(step: &str, waiting_for: &str, limit: Duration) -> String {
    let limit = limit.as_secs_f64();
    match waiting_for {
        "" => format!("{step}: it took longer than {limit} s"),
        what => format!("{step}: it took longer than {limit} s, waiting for {what}"),
    }
}

/// Writes the record as it is now, together with what a step writes.
async fn write<S: Operations>(
    driver: &Driver,
    operation: Stored<Operation<S>>,
    mut writes: Transaction,
) -> Result<Stored<Operation<S>>, Error> {
    let all = driver.store.collection::<Operation<S>>();
    writes.replace(&all, &operation)?.fenced(&driver.fence);
    writes.commit().await?;
    // As the store has it now: the next step compares with that.
    let key = operation.value.key();
    let read = all.get(&key).await?;
    read.ok_or_else(|| Error::conflict(format!("operation {} is gone", operation.value.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_over_when_its_time_has_passed() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let limit = Duration::from_secs(10);
        for (now, expected) in [
            (100, Some(10)),
            (105, Some(5)),
            (110, None),
            (500, None),
            (50, Some(10)),
        ] {
            assert_eq!(
                left(at(100), limit, at(now)),
                expected.map(Duration::from_secs),
                "{now}"
            );
        }
    }
}
