//! What is due of a VM's bill, and what comes of telling it. Pure; the words are in `plasmavmc_model::account`.
//!
//! What runs is charged from when it was first seen running until it was not any more, by what its host says; not while its host
//! was silent, if it did not run through that.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plasmavmc_model::{
    Account, Bill, Due, Hold, NextPeriod, ObservedState, Power, State, Unpaid, Vm,
};

use crate::{config::BillingConfig, vm::state::HostView};

/// How often credit is asked for again during the grace.
const AGAIN: Duration = Duration::from_secs(30);

/// By which time is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What is held at a time.
    pub(crate) period: Duration,
    /// How long a VM runs on for which there is no credit.
    pub(crate) grace: Duration,
}

impl Terms {
    pub(crate) fn of(config: &BillingConfig) -> Self {
        Self {
            period: Duration::from_secs(config.period_seconds),
            grace: Duration::from_secs(config.grace_seconds),
        }
    }

    /// The period that begins then.
    pub(crate) fn period_from(&self, from: Timestamp) -> NextPeriod {
        NextPeriod {
            from,
            until: after(from, self.period),
        }
    }

    /// How often credit is asked for again: not so rarely that the grace would be over by then.
    fn again(&self) -> Duration {
        (self.grace / 4).clamp(Duration::from_secs(1), AGAIN)
    }
}

/// How a VM is seen, as far as it costs anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It runs, since then.
    Runs(Timestamp),
    /// It does not, since then.
    Still(Timestamp),
    /// Nobody knows yet.
    Unclear,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until something is heard; within that time anyway.
    Rest(Option<Duration>),
    /// So it stands from now on; what is due of it is told.
    Change(Box<Account>),
    /// It has run long enough without credit: it is stopped, for that reason.
    Stop(String),
}

/// What is due now of a VM that nothing is being done to.
pub(crate) fn plan(vm: &Vm, host: &HostView, terms: &Terms, now: Timestamp) -> Step {
    let seen = seen(vm, host, now);
    let account = &vm.account;
    let Some(bill) = &account.bill else {
        return match (seen, vm.wanted.power) {
            (Seen::Runs(_), power) if power.is_up() => {
                change(account, begun_unasked(vm, terms, now))
            }
            _ => Step::Rest(None),
        };
    };
    if bill.due.is_some() {
        return Step::Rest(None); // that comes first
    }
    // It could not be made: what was held for its start is given back.
    if vm.status.failed.is_some() {
        return Step::Change(Box::new(closed(account, bill, None)));
    }
    let Some(from) = bill.from else {
        return not_begun(vm, bill, seen, terms, now);
    };
    if let Some(end) = ended(vm, bill, seen, from, now) {
        return Step::Change(Box::new(closed(account, bill, Some(end))));
    }
    match (seen, vm.wanted.power) {
        // It is about to stop: what it uses until then is charged then.
        (Seen::Runs(_), Power::Stopped) => Step::Rest(None),
        // Also while it is being suspended: that may fail, and it runs on.
        (Seen::Runs(_), _) => runs(account, bill, terms, now),
        _ => Step::Rest(None),
    }
}

/// The number of a run: a boot, or what a boot does after it was suspended. It only ever grows.
pub(crate) fn run_of(vm: &Vm) -> u64 {
    vm.wanted.boot.saturating_add(vm.account.resumed)
}

fn change(account: &Account, bill: Bill) -> Step {
    Step::Change(Box::new(with_bill(account, bill)))
}

fn with_bill(account: &Account, bill: Bill) -> Account {
    Account {
        bill: Some(bill),
        ..account.clone()
    }
}

fn seen(vm: &Vm, host: &HostView, now: Timestamp) -> Seen {
    let HostView::Alive { observed, .. } = host else {
        return Seen::Unclear;
    };
    let Some(observed) = observed else {
        return match vm.wanted.power {
            Power::Stopped => Seen::Still(now),
            Power::Running | Power::Paused | Power::Suspended => Seen::Unclear,
        };
    };
    match observed.state {
        ObservedState::Running | ObservedState::Stopping | ObservedState::Paused => {
            Seen::Runs(whole(observed.since))
        }
        // Its boot is not over: whatever ended is another one.
        ObservedState::Suspended => Seen::Still(whole(observed.since)),
        ObservedState::Stopped | ObservedState::Failed => {
            let ended = observed.ended.as_ref().map(|ended| ended.at);
            Seen::Still(whole(ended.unwrap_or(observed.since)))
        }
        ObservedState::Preparing | ObservedState::Starting => Seen::Unclear,
    }
}

/// It runs, and nothing was held: it was there before CreditService was, or came up again by itself.
fn begun_unasked(vm: &Vm, terms: &Terms, now: Timestamp) -> Bill {
    Bill {
        boot: run_of(vm),
        hold: None,
        held_at: now,
        from: Some(now),
        until: Some(now),
        unpaid: None,
        due: Some(Due {
            end: None,
            next: Some(terms.period_from(now)),
            runs_on: true,
        }),
    }
}

fn not_begun(vm: &Vm, bill: &Bill, seen: Seen, terms: &Terms, now: Timestamp) -> Step {
    match (seen, vm.wanted.power) {
        (Seen::Runs(since), _) => {
            let period = terms.period_from(since.min(now).max(bill.held_at.min(now)));
            let bill = Bill {
                from: Some(period.from),
                until: Some(period.until),
                ..bill.clone()
            };
            change(&vm.account, bill)
        }
        (Seen::Still(_), power) if !power.is_up() => {
            Step::Change(Box::new(closed(&vm.account, bill, None)))
        }
        (Seen::Still(_) | Seen::Unclear, _) => Step::Rest(None),
    }
}

/// When it stopped running, if it did.
fn ended(vm: &Vm, bill: &Bill, seen: Seen, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let silent_since = (vm.status.state == State::Unknown).then_some(whole(vm.status.since));
    let end = match (seen, silent_since) {
        (Seen::Still(since), None) => since,
        (Seen::Still(since), Some(silent)) => since.min(silent),
        // It came up anew while nobody looked.
        (Seen::Runs(since), Some(silent)) if since > silent => silent,
        // It came up after its period was over, which nobody has charged: it did not run through.
        (Seen::Runs(since), _)
            if bill.unpaid.is_none() && bill.until.is_some_and(|until| since > until) =>
        {
            bill.until.unwrap_or(since)
        }
        (Seen::Runs(_) | Seen::Unclear, _) => return None,
    };
    Some(end.min(now).max(from))
}

/// With the last step of its bill.
pub(crate) fn closed(account: &Account, bill: &Bill, end: Option<Timestamp>) -> Account {
    let due = Due {
        end,
        next: None,
        runs_on: false,
    };
    let bill = Bill {
        due: Some(due),
        ..bill.clone()
    };
    with_bill(account, bill)
}

fn runs(account: &Account, bill: &Bill, terms: &Terms, now: Timestamp) -> Step {
    let next = || {
        let due = Due {
            end: Some(now),
            next: Some(terms.period_from(now)),
            runs_on: true,
        };
        let bill = Bill {
            due: Some(due),
            ..bill.clone()
        };
        change(account, bill)
    };
    let Some(unpaid) = &bill.unpaid else {
        return match left(now, bill.until.unwrap_or(now)) {
            Some(left) => Step::Rest(Some(left)),
            None => next(),
        };
    };
    let Some(grace) = left(now, after(unpaid.since, terms.grace)) else {
        return Step::Stop(format!("it was stopped: {}", unpaid.reason));
    };
    match left(now, after(unpaid.tried, terms.again())) {
        Some(again) => Step::Rest(Some(again.min(grace))),
        None => next(),
    }
}

/// What CreditService says to what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It is done, with the next hold.
    Settled(Option<Hold>),
    /// There is no credit, for that reason.
    NoCredit(String),
    /// The usage was counted already, in part, or cannot be counted any more.
    Uncountable(String),
    /// There is no price for it.
    NoPrice(String),
    /// The hold is none of the project's.
    NoHold,
    /// That number was given to something else.
    NumberTaken,
}

/// How the account stands after what was due of it was told.
pub(crate) fn settled(account: &Account, answered: Answered, now: Timestamp) -> Account {
    let mut account = account.clone();
    let Some(mut bill) = account.bill.clone() else {
        return account;
    };
    let Some(due) = bill.due.take() else {
        return account;
    };
    account.bill = match answered {
        Answered::Settled(next) => {
            account.settled += 1;
            after_settling(bill, &due, next, now)
        }
        // Nothing more can be had: it is over.
        Answered::NoCredit(_) if due.next.is_none() => {
            account.settled += 1;
            after_settling(bill, &due, None, now)
        }
        Answered::NoCredit(reason) => Some(without_credit(bill, due, reason, now)),
        Answered::Uncountable(_) => {
            bill.from = due.end.filter(|_| due.runs_on);
            bill.due = Some(Due { end: None, ..due });
            Some(bill)
        }
        // That nobody has said what it costs is no fault of whoever runs it.
        Answered::NoPrice(_) => {
            bill.until = due.next.map(|next| next.until).or(bill.until);
            bill.from = due.end.filter(|_| due.runs_on).or(bill.from);
            bill.due = Some(Due {
                end: None,
                next: None,
                ..due
            });
            Some(bill)
        }
        Answered::NoHold => {
            bill.hold = None;
            bill.due = Some(due);
            Some(bill)
        }
        Answered::NumberTaken => {
            account.settled += 1;
            bill.due = Some(due);
            Some(bill)
        }
    };
    account
}

fn after_settling(mut bill: Bill, due: &Due, next: Option<Hold>, now: Timestamp) -> Option<Bill> {
    if !due.runs_on {
        return None;
    }
    bill.from = due.end.or(bill.from);
    bill.hold = next;
    if let Some(period) = due.next {
        bill.until = Some(period.until);
        bill.held_at = now;
        bill.unpaid = None;
    }
    Some(bill)
}

/// The grace begins, or goes on. What was used so far is charged all the same, and the old hold given back.
fn without_credit(mut bill: Bill, due: Due, reason: String, now: Timestamp) -> Bill {
    if let Some(unpaid) = &mut bill.unpaid {
        unpaid.tried = now;
        unpaid.reason = reason;
        return bill;
    }
    bill.unpaid = Some(Unpaid {
        since: now,
        tried: now,
        reason,
    });
    let is_something_to_charge = due.end.is_some() && due.end > bill.from;
    if is_something_to_charge || bill.hold.is_some() {
        bill.due = Some(Due { next: None, ..due });
    }
    bill
}

/// What is to be said of a VM beside why it is so: that it will be stopped, or was.
pub(crate) fn remark(vm: &Vm, terms: &Terms) -> Option<String> {
    let unpaid = vm
        .account
        .bill
        .as_ref()
        .and_then(|bill| bill.unpaid.as_ref());
    match (vm.status.state, unpaid, &vm.account.stopped_for) {
        (State::Running | State::Paused, Some(unpaid), _) => Some(format!(
            "{}: it is stopped at {} unless there is credit by then",
            unpaid.reason,
            after(unpaid.since, terms.grace)
        )),
        (State::Stopping | State::Stopped, _, Some(why)) => Some(why.clone()),
        _ => None,
    }
}

/// A time without its fraction.
pub(crate) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn after(time: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    time.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

/// What is left until then.
fn left(now: Timestamp, until: Timestamp) -> Option<Duration> {
    let left = until.duration_since(now);
    left.is_positive().then(|| left.unsigned_abs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use plasmavmc_model::{End, EndedBy, ObservedVm};

    use super::*;
    use crate::vm::state::sample;

    const TERMS: Terms = Terms {
        period: Duration::from_secs(3600),
        grace: Duration::from_secs(900),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn vm(power: Power) -> Vm {
        let mut vm = sample();
        vm.wanted.power = power;
        vm.status.state = State::Running;
        vm
    }

    fn hold() -> Option<Hold> {
        Some(Hold {
            reservation: "rsv-1".to_owned(),
            amount: 60,
        })
    }

    /// As a start leaves it at second 0.
    fn held() -> Bill {
        Bill {
            boot: 1,
            hold: hold(),
            held_at: at(0),
            from: None,
            until: None,
            unpaid: None,
            due: None,
        }
    }

    fn begun() -> Bill {
        Bill {
            from: Some(at(5)),
            until: Some(at(3605)),
            ..held()
        }
    }

    fn seen(state: ObservedState, since: Timestamp) -> HostView {
        HostView::Alive {
            since: at(-1000),
            observed: Some(ObservedVm {
                volumes: Vec::new(),
                snapshots: Vec::new(),
                reverted: 0,
                generation: 3,
                state,
                boot: 1,
                ended: None,
                reason: String::new(),
                hypervisor: None,
                since,
            }),
        }
    }

    fn with(mut vm: Vm, bill: Bill) -> Vm {
        vm.account.bill = Some(bill);
        vm
    }

    #[track_caller]
    fn bill_of(step: Step) -> Bill {
        match step {
            Step::Change(account) => account.bill.expect("a bill"),
            other => panic!("{other:?}"),
        }
    }

    /// Tells what is due, and is answered so.
    fn tell(vm: &mut Vm, step: Step, answered: Answered, now: Timestamp) {
        let Step::Change(account) = step else {
            panic!("{step:?}");
        };
        vm.account = settled(&account, answered, now);
    }

    #[test]
    fn what_came_up_after_its_period_did_not_run_through() {
        let vm = with(vm(Power::Running), begun());
        let came_up = |since| seen(ObservedState::Running, at(since));
        let due = bill_of(plan(&vm, &came_up(9_000), &TERMS, at(9_010))).due;
        assert_eq!(due.unwrap().end, Some(at(3_605)));
        // Within it, it is one run: a reboot is none of its own.
        let step = plan(&vm, &came_up(600), &TERMS, at(700));
        assert!(matches!(step, Step::Rest(Some(_))), "{step:?}");
    }

    #[test]
    fn what_could_not_be_made_holds_nothing() {
        let mut vm = with(vm(Power::Running), held());
        vm.status.failed = Some("no host".to_owned());
        let silent = HostView::Alive {
            since: at(-1000),
            observed: None,
        };
        let due = bill_of(plan(&vm, &silent, &TERMS, at(2))).due.unwrap();
        assert_eq!((due.end, due.next, due.runs_on), (None, None, false));
    }

    #[test]
    fn a_period_begins_when_it_is_seen_running_and_is_followed_by_the_next() {
        let mut vm = with(vm(Power::Running), held());
        let runs = seen(ObservedState::Running, at(5));
        let step = plan(&vm, &seen(ObservedState::Starting, at(1)), &TERMS, at(2));
        assert_eq!(step, Step::Rest(None));
        let bill = bill_of(plan(&vm, &runs, &TERMS, at(9)));
        assert_eq!(bill, begun());
        vm.account.bill = Some(bill);
        let step = plan(&vm, &runs, &TERMS, at(3600));
        assert_eq!(step, Step::Rest(Some(Duration::from_secs(5))));
        // Late, because nobody looked: all of it is charged, and the next one begins now.
        let step = plan(&vm, &runs, &TERMS, at(4000));
        let due = bill_of(step.clone()).due.unwrap();
        assert_eq!(due.end, Some(at(4000)));
        assert_eq!(
            due.next,
            Some(NextPeriod {
                from: at(4000),
                until: at(7600)
            })
        );
        tell(&mut vm, step, Answered::Settled(hold()), at(4001));
        let bill = vm.account.bill.clone().unwrap();
        assert_eq!(
            (bill.from, bill.until, &bill.due, vm.account.settled),
            (Some(at(4000)), Some(at(7600)), &None, 1)
        );
    }

    #[test]
    fn what_a_host_says_of_other_times_is_held_to_those_that_can_be() {
        let vm = with(vm(Power::Running), held());
        for (since, expected) in [(-500, 0), (3, 3), (500, 10)] {
            let runs = seen(ObservedState::Running, at(since));
            let bill = bill_of(plan(&vm, &runs, &TERMS, at(10)));
            assert_eq!(bill.from, Some(at(expected)), "{since}");
        }
    }

    #[test]
    fn what_ends_is_charged_until_then_and_holds_nothing_more() {
        let mut vm = with(vm(Power::Running), begun());
        let mut over = seen(ObservedState::Stopped, at(70));
        if let HostView::Alive {
            observed: Some(observed),
            ..
        } = &mut over
        {
            observed.ended = Some(End {
                boot: 1,
                by: EndedBy::Guest,
                at: at(65),
            });
        }
        let step = plan(&vm, &over, &TERMS, at(90));
        let due = bill_of(step.clone()).due.unwrap();
        assert_eq!(
            (due.end, due.next, due.runs_on),
            (Some(at(65)), None, false)
        );
        tell(&mut vm, step, Answered::Settled(None), at(90));
        assert_eq!((&vm.account.bill, vm.account.settled), (&None, 1));
        // As long as it is about to stop, it runs.
        let stopping = with(self::vm(Power::Stopped), begun());
        let runs = seen(ObservedState::Stopping, at(60));
        assert_eq!(plan(&stopping, &runs, &TERMS, at(4000)), Step::Rest(None));
    }

    #[test]
    fn what_stands_still_is_paid_for_and_what_is_suspended_is_not() {
        let paused = seen(ObservedState::Paused, at(60));
        let mut vm = with(vm(Power::Paused), begun());
        vm.status.state = State::Paused;
        let step = plan(&vm, &paused, &TERMS, at(3600));
        assert_eq!(step, Step::Rest(Some(Duration::from_secs(5))));
        let due = bill_of(plan(&vm, &paused, &TERMS, at(3605))).due.unwrap();
        assert_eq!((due.end, due.runs_on), (Some(at(3605)), true));
        // As long as it is not on disk it is paid for: it may run on.
        vm.wanted.power = Power::Suspended;
        let due = bill_of(plan(&vm, &paused, &TERMS, at(3605))).due.unwrap();
        assert!(due.runs_on);
        let mut saved = seen(ObservedState::Suspended, at(100));
        if let HostView::Alive {
            observed: Some(observed),
            ..
        } = &mut saved
        {
            // That another boot ended before is no end of this one.
            observed.ended = Some(End {
                boot: 0,
                by: EndedBy::Asked,
                at: at(2),
            });
        }
        let due = bill_of(plan(&vm, &saved, &TERMS, at(110))).due.unwrap();
        assert_eq!(
            (due.end, due.next, due.runs_on),
            (Some(at(100)), None, false)
        );
        vm.account.bill = None;
        assert_eq!(plan(&vm, &saved, &TERMS, at(9_000)), Step::Rest(None));
    }

    #[test]
    fn without_credit_what_stands_still_is_stopped_too() {
        let mut bill = begun();
        bill.unpaid = Some(Unpaid {
            since: at(0),
            tried: at(890),
            reason: "there is no credit".to_owned(),
        });
        let mut vm = with(vm(Power::Paused), bill);
        vm.status.state = State::Paused;
        let paused = seen(ObservedState::Paused, at(60));
        assert!(remark(&vm, &TERMS).unwrap().contains("stopped at"));
        let step = plan(&vm, &paused, &TERMS, at(900));
        assert!(matches!(step, Step::Stop(_)), "{step:?}");
    }

    #[test]
    fn each_run_of_a_boot_has_a_number_of_its_own() {
        let mut vm = vm(Power::Running);
        let first = run_of(&vm);
        vm.account.resumed += 1;
        assert_eq!(run_of(&vm), first + 1);
        let runs = seen(ObservedState::Running, at(5));
        let bill = bill_of(plan(&vm, &runs, &TERMS, at(9)));
        assert_eq!(bill.boot, first + 1);
    }

    #[test]
    fn a_start_that_is_taken_back_gives_back_what_it_held() {
        let stopped = seen(ObservedState::Stopped, at(-100));
        let vm = with(vm(Power::Stopped), held());
        let due = bill_of(plan(&vm, &stopped, &TERMS, at(5))).due.unwrap();
        assert_eq!((due.end, due.next, due.runs_on), (None, None, false));
        // It is to start: what is seen is of before.
        let vm = with(self::vm(Power::Running), held());
        assert_eq!(plan(&vm, &stopped, &TERMS, at(5)), Step::Rest(None));
    }

    #[test]
    fn nothing_is_charged_for_a_silence_that_it_did_not_run_through() {
        let mut vm = with(vm(Power::Running), begun());
        vm.status.state = State::Unknown;
        vm.status.since = at(100);
        let silent = HostView::Silent { since: None };
        assert_eq!(plan(&vm, &silent, &TERMS, at(9000)), Step::Rest(None));
        let anew = seen(ObservedState::Running, at(500));
        let due = bill_of(plan(&vm, &anew, &TERMS, at(510))).due.unwrap();
        assert_eq!((due.end, due.runs_on), (Some(at(100)), false));
        let off = seen(ObservedState::Stopped, at(500));
        let due = bill_of(plan(&vm, &off, &TERMS, at(510))).due.unwrap();
        assert_eq!(due.end, Some(at(100)));
        // It ran all the time.
        let runs = seen(ObservedState::Running, at(5));
        let step = plan(&vm, &runs, &TERMS, at(605));
        assert_eq!(step, Step::Rest(Some(Duration::from_secs(3000))));
    }

    #[test]
    fn without_credit_it_runs_on_for_the_grace_and_is_stopped() {
        let mut vm = with(vm(Power::Running), begun());
        let runs = seen(ObservedState::Running, at(5));
        let step = plan(&vm, &runs, &TERMS, at(3605));
        let refused = || Answered::NoCredit("there is no credit: 20 are missing".to_owned());
        tell(&mut vm, step, refused(), at(3606));
        // What it used is charged first, and the hold given back.
        let due = vm.account.bill.as_ref().unwrap().due.clone().unwrap();
        assert_eq!(
            (due.end, due.next, due.runs_on),
            (Some(at(3605)), None, true)
        );
        assert_eq!(plan(&vm, &runs, &TERMS, at(3606)), Step::Rest(None));
        vm.account = settled(&vm.account, Answered::Settled(None), at(3606));
        let bill = vm.account.bill.clone().unwrap();
        assert_eq!((&bill.hold, bill.from), (&None, Some(at(3605))));
        let remark = remark(&vm, &TERMS).unwrap();
        assert!(remark.starts_with("there is no credit: 20"), "{remark}");
        // It is asked for again, with all that was used since.
        let step = plan(&vm, &runs, &TERMS, at(3607));
        assert_eq!(step, Step::Rest(Some(Duration::from_secs(29))));
        let step = plan(&vm, &runs, &TERMS, at(3640));
        tell(&mut vm, step, refused(), at(3640));
        assert_eq!(vm.account.bill.clone().unwrap().from, Some(at(3605)));
        let paid = plan(&vm, &runs, &TERMS, at(3670));
        let mut saved = vm.clone();
        tell(&mut saved, paid, Answered::Settled(hold()), at(3670));
        assert_eq!(saved.account.bill.unwrap().unpaid, None);
        // And if there is none until the end of the grace:
        let step = plan(&vm, &runs, &TERMS, at(3606 + 900));
        assert_eq!(
            step,
            Step::Stop("it was stopped: there is no credit: 20 are missing".to_owned())
        );
    }

    #[test]
    fn whatever_is_answered_a_bill_comes_to_its_end() {
        let why = || "why".to_owned();
        for answered in [
            Answered::NoCredit(why()),
            Answered::Uncountable(why()),
            Answered::NoPrice(why()),
            Answered::NoHold,
            Answered::NumberTaken,
        ] {
            let vm = with(vm(Power::Stopped), begun());
            let bill = vm.account.bill.as_ref().unwrap();
            let account = closed(&vm.account, bill, Some(at(60)));
            let next = settled(&account, answered.clone(), at(61));
            let Some(bill) = &next.bill else {
                continue;
            };
            assert_ne!(account, next, "{answered:?}");
            assert!(bill.due.is_some(), "{answered:?}");
            let end = settled(&next, Answered::Settled(None), at(62));
            assert_eq!(end.bill, None, "{answered:?}");
        }
    }

    #[test]
    fn what_has_no_price_is_asked_for_again_a_period_later() {
        let mut vm = with(vm(Power::Running), begun());
        let runs = seen(ObservedState::Running, at(5));
        let step = plan(&vm, &runs, &TERMS, at(3605));
        tell(&mut vm, step, Answered::NoPrice("no".to_owned()), at(3605));
        vm.account = settled(&vm.account, Answered::Settled(None), at(3605));
        let bill = vm.account.bill.clone().unwrap();
        assert_eq!(
            (&bill.hold, bill.from, bill.until, &bill.unpaid),
            (&None, Some(at(3605)), Some(at(7205)), &None)
        );
        let step = plan(&vm, &runs, &TERMS, at(3606));
        assert_eq!(step, Step::Rest(Some(Duration::from_secs(3599))));
    }

    #[test]
    fn what_ran_before_anybody_counted_is_paid_for_from_now_on() {
        let vm = vm(Power::Running);
        let runs = seen(ObservedState::Running, at(-9000));
        let bill = bill_of(plan(&vm, &runs, &TERMS, at(0)));
        assert_eq!(bill.from, Some(at(0)));
        assert_eq!(bill.due.unwrap().end, None);
        let stopped = seen(ObservedState::Stopped, at(-9000));
        assert_eq!(plan(&vm, &stopped, &TERMS, at(0)), Step::Rest(None));
    }
}
