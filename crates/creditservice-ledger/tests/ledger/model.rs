//! Random steps on the ledger and on the reference: both must do the same, or refuse it by the same code.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use creditservice_ledger::*;
use proptest::test_runner::TestCaseError;

use super::{
    build::*,
    harness::{Ledger, restored, text},
    reference::{Did, MAX_OPEN, Resolution, World},
    seed::check,
    steps::{Asks, Counts, Forecasts, KINDS, PROJECTS, RESOURCES, Step, Used, some_steps},
};

/// Of every wallet.
const THRESHOLDS: [i64; 2] = [10, 100];

/// Both worlds, and what connects them.
struct Run {
    ledger: Ledger,
    world: World,
    /// The ledger's ids of the reference's holds and charges.
    holds: Vec<ReservationId>,
    charges: Vec<EntryId>,
    keys: u8,
    /// Codes of refusals, and how often each command was done.
    seen: BTreeMap<String, u32>,
}

fn bounds() -> Bounds {
    Bounds {
        max_open: MAX_OPEN,
        ..Bounds::default()
    }
}

fn counts(all: Counts) -> Units {
    let all = KINDS.iter().copied().zip(all).filter(|(_, n)| *n > 0);
    units(&all.collect::<Vec<_>>())
}

impl Run {
    fn new() -> Self {
        Self {
            ledger: Ledger::with_bounds(bounds()),
            world: World::default(),
            holds: Vec::new(),
            charges: Vec::new(),
            keys: 0,
            seen: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.world.begin(self.ledger.seconds());
        let before = PROJECTS
            .iter()
            .map(|project| self.available(project))
            .collect::<Vec<_>>();
        match step {
            Step::Wait(seconds) => self.ledger.wait(*seconds),
            Step::ExpireDue(at_most) => {
                let expired = self.ledger.expire(*at_most);
                let expected = self.world.expire_due(*at_most);
                self.same(expired, expected, "expired")?;
            }
            step => {
                let Some((command, expected)) = self.both(step) else {
                    return Ok(());
                };
                if let Some(applied) = self.compare(step, command, expected)? {
                    self.same_signals(&applied, &before)?;
                }
            }
        }
        self.look()
    }

    /// The command for the ledger, and what the reference does. None where there is nothing to pick.
    fn both(&mut self, step: &Step) -> Option<(Command, Result<Did, &'static str>)> {
        let now = self.ledger.seconds();
        let world = &mut self.world;
        Some(match step {
            Step::Wait(_) | Step::ExpireDue(_) => return None,
            Step::Create {
                project,
                initial,
                metered,
                overdraft,
                overage,
            } => {
                let settings = Settings {
                    mode: mode(*metered),
                    overdraft: Charge::new(*overdraft).unwrap(),
                    allow_overage: *overage,
                    low_balance: Thresholds::new(THRESHOLDS.to_vec()).unwrap(),
                };
                let did = world.create(project, *initial, *metered, *overdraft, *overage);
                (create(project, *initial, settings), did)
            }
            Step::Update {
                project,
                status,
                metered,
                overdraft,
                overage,
            } => {
                let changes = WalletChanges {
                    status: status.map(status_of),
                    mode: metered.map(mode),
                    overdraft: overdraft.map(|minor| Charge::new(minor).unwrap()),
                    allow_overage: *overage,
                    low_balance: None,
                };
                let did = world.update(project, *status, *metered, *overdraft, *overage);
                (update(project, changes), did)
            }
            Step::Drain(project) => {
                let balance = world.balance(project);
                if balance == 0 {
                    let closed = Some(2);
                    let did = world.update(project, closed, None, None, None);
                    (set_status(project, Status::Closed), did)
                } else {
                    (adjust(project, -balance), world.adjust(project, -balance))
                }
            }
            Step::TopUp(project, minor) => (top_up(project, *minor), world.top_up(project, *minor)),
            Step::Adjust(project, minor) => {
                let minor = if *minor == 0 { 1 } else { *minor };
                (adjust(project, minor), world.adjust(project, minor))
            }
            Step::Charge(project, minor) => {
                (charge(project, *minor), world.charge(project, *minor))
            }
            Step::Refund { pick, amount } => {
                let (at, project, charged) = world.charge_at(*pick)?;
                let command = refund(project, self.charges[at], charged, *amount);
                (command, world.refund(at, *amount))
            }
            Step::Reserve { .. } => self.both_reserve(step)?,
            Step::Commit { .. } => self.both_commit(step)?,
            Step::Release { pick, caller } => {
                let at = pick.checked_rem(self.holds.len())?;
                let command = Command::Release(Release {
                    reservation: self.holds[at],
                    caller: caller.map(name),
                    reason: None,
                });
                (command, world.release(at, *caller))
            }
            Step::Extend { pick, ttl } => {
                let at = pick.checked_rem(self.holds.len())?;
                (extend(self.holds[at], *ttl), world.extend(at, *ttl))
            }
            Step::Record {
                project,
                required,
                usage,
            } => {
                let command = Command::RecordUsage(RecordUsage {
                    project: name(project),
                    billing: billing(*required),
                    usage: usages(now, usage),
                });
                (
                    command,
                    world.record(project, *required, &dated(now, usage)),
                )
            }
            Step::Settle { .. } => self.both_settle(step)?,
            Step::Register(kind, default) => {
                (register(kind, *default), world.register(kind, *default))
            }
            Step::SetLimit(project, kind, own) => (
                set_limit(project, kind, *own),
                world.set_limit(project, kind, *own),
            ),
            Step::Free {
                project,
                resource,
                units,
            } => {
                let command = Command::FreeUnits(FreeUnits {
                    project: name(project),
                    claimant: id(resource),
                    units: units.map(counts),
                });
                (command, world.free(project, resource, *units))
            }
            Step::Recount {
                project,
                resource,
                units,
            } => {
                let command = Command::Recount(Recount {
                    project: name(project),
                    claimant: id(resource),
                    units: counts(*units),
                });
                (command, world.recount(project, resource, *units))
            }
            Step::Price {
                sku,
                ago,
                nanos,
                per_quantity,
                per_seconds,
            } => {
                // What is traffic is never by time.
                let by_time = (*sku != "traffic").then_some(*per_seconds);
                let rate = Rate::new(*nanos, *per_quantity, by_time).unwrap();
                let from = now - ago;
                let did = world.publish(sku, from, *nanos, *per_quantity, by_time);
                (publish(sku, from, rate), did)
            }
        })
    }

    fn both_reserve(&mut self, step: &Step) -> Option<(Command, Result<Did, &'static str>)> {
        let Step::Reserve {
            project,
            amount: minor,
            forecast,
            units,
            ttl: seconds,
            asks,
            resource,
        } = step
        else {
            return None;
        };
        let now = self.ledger.seconds();
        let hold = match forecast {
            Some(forecast) => Some(Hold::Priced(forecasted(now, forecast))),
            None => (*minor > 0).then(|| Hold::Amount(amount(*minor))),
        };
        let command = Command::Reserve(Reserve {
            project: name(project),
            hold,
            units: counts(*units),
            ttl: ttl(*seconds),
            payer: payer(*asks),
            resource: resource.map(vm).unwrap_or_default(),
            description: None,
        });
        let forecast = forecast.as_ref().map(|forecast| (now, forecast));
        let did = self.world.reserve(
            project, *minor, forecast, *units, *seconds, *asks, *resource,
        );
        Some((command, did))
    }

    fn both_commit(&mut self, step: &Step) -> Option<(Command, Result<Did, &'static str>)> {
        let Step::Commit {
            pick,
            percent,
            units,
            caller,
            resource,
        } = step
        else {
            return None;
        };
        let at = pick.checked_rem(self.holds.len())?;
        let actual = percent.map(|percent| self.world.holds[at].amount * percent / 100);
        let command = Command::Commit(Commit {
            reservation: self.holds[at],
            caller: caller.map(name),
            actual: actual.map(|minor| Charge::new(minor).unwrap()),
            units: units.map(counts),
            resource_id: resource.map(id),
            description: None,
        });
        let text = self.holds[at].to_string();
        let did = self
            .world
            .commit(at, &text, actual, *units, *caller, *resource);
        Some((command, did))
    }

    fn both_settle(&mut self, step: &Step) -> Option<(Command, Result<Did, &'static str>)> {
        let Step::Settle {
            project,
            required,
            pick,
            usage,
            next,
            resource,
        } = step
        else {
            return None;
        };
        let now = self.ledger.seconds();
        let at = pick.and_then(|pick| pick.checked_rem(self.holds.len()));
        let command = Command::Settle(Settle {
            project: name(project),
            billing: billing(*required),
            reservation: at.map(|at| self.holds[at]),
            usage: usages(now, usage),
            next: next.as_ref().map(|(forecast, seconds)| NextHold {
                forecast: forecasted(now, forecast),
                ttl: ttl(*seconds),
            }),
            resource: vm(resource),
        });
        let text = at.map(|at| self.holds[at].to_string());
        let did = self.world.settle(
            project,
            *required,
            at.zip(text.as_deref()),
            &dated(now, usage),
            next.as_ref()
                .map(|(forecast, seconds)| (now, forecast, *seconds)),
            resource,
        );
        Some((command, did))
    }

    fn compare(
        &mut self,
        step: &Step,
        command: Command,
        expected: Result<Did, &'static str>,
    ) -> Result<Option<Applied>, TestCaseError> {
        // Every third with a key, under which it is then tried again.
        let key = (self.seen.values().sum::<u32>() % 3 == 0).then(|| {
            self.keys = self.keys.wrapping_add(1);
            key(self.keys, 0)
        });
        let request = Request {
            command,
            key,
            by: None,
        };
        let result = self.ledger.run(request.clone());
        let outcome = match &result {
            Ok(applied) if applied.replayed => "replayed".to_owned(),
            Ok(applied) if applied.entries.is_empty() => "unchanged".to_owned(),
            Ok(_) => "changed".to_owned(),
            Err(refusal) => refusal.code().to_owned(),
        };
        let wanted = match expected {
            Ok(Did::Nothing) => "unchanged",
            Ok(Did::Change) => "changed",
            Err(code) => code,
        };
        self.same(outcome.as_str(), wanted, &format!("{step:?}"))?;
        let done = if result.is_ok() { done(step) } else { wanted };
        *self.seen.entry(done.to_owned()).or_default() += 1;
        if let Ok(applied) = &result {
            self.learn(applied);
            if !applied.entries.is_empty() && key.is_some() {
                self.again(request, applied)?;
            }
        }
        Ok(result.ok())
    }

    /// As it is written.
    fn available(&self, project: &str) -> Option<i64> {
        let (balance, reserved) = (self.world.balance(project), self.world.reserved(project));
        self.world.wallet(project).map(|_| balance - reserved)
    }

    /// Events are raised by the last entry, for what the whole command crossed.
    fn same_signals(&self, applied: &Applied, before: &[Option<i64>]) -> Result<(), TestCaseError> {
        let mut expected = Vec::new();
        for (project, before) in PROJECTS.iter().zip(before) {
            let Some(available) = self.available(project) else {
                continue;
            };
            for threshold in THRESHOLDS {
                let was_low = before.is_some_and(|before| before <= threshold);
                match (was_low, available <= threshold) {
                    (false, true) => expected.push(Signal::LowBalance {
                        threshold,
                        available,
                    }),
                    (true, false) => expected.push(Signal::BalanceRestored {
                        threshold,
                        available,
                    }),
                    _ => {}
                }
            }
        }
        let found: Vec<Signal> = match applied.entries.split_last() {
            Some((last, others)) => {
                self.same(
                    others.iter().all(|one| one.signals.is_empty()),
                    true,
                    "signals",
                )?;
                last.signals.clone()
            }
            None => Vec::new(),
        };
        self.same(found, expected, "signals")
    }

    /// Ids that the ledger gave.
    fn learn(&mut self, applied: &Applied) {
        let shard = self.ledger.state.shard();
        for entry in &applied.entries {
            match &entry.what {
                What::Reserved(_) | What::Settled { next: Some(_), .. } => {
                    self.holds.push(entry.reservation_id(shard));
                }
                What::Charge { .. } => self.charges.push(entry.id(shard)),
                _ => {}
            }
        }
    }

    fn again(&mut self, request: Request, first: &Applied) -> Result<(), TestCaseError> {
        let again = self.ledger.done(request.clone());
        self.same(again.replayed, true, "replayed")?;
        self.same(&again.answer, &first.answer, "the first answer")?;
        let other = Request {
            key: Some(key(self.keys, 1)),
            ..request
        };
        let refusal = self.ledger.refused(other);
        self.same(refusal, Refusal::KeyReused, "another request")
    }

    fn same<T: PartialEq + std::fmt::Debug>(
        &self,
        found: T,
        expected: T,
        what: &str,
    ) -> Result<(), TestCaseError> {
        if found == expected {
            return Ok(());
        }
        let text = format!("{what}: {found:?}, the reference says {expected:?}");
        Err(TestCaseError::fail(text))
    }

    /// Everything that can be seen is as the reference says.
    fn look(&self) -> Result<(), TestCaseError> {
        for project in PROJECTS {
            self.look_at_wallet(project)?;
            for view in self.ledger.state.quotas(&name(project)) {
                let kind = KINDS
                    .iter()
                    .position(|kind| *kind == view.kind.as_str())
                    .unwrap();
                let found = (view.used, view.reserved, view.limit.count());
                let expected = (
                    self.world.units_used(project, kind),
                    self.world.units_reserved(project, kind),
                    self.world.limit(project, KINDS[kind]).unwrap(),
                );
                self.same(found, expected, KINDS[kind])?;
            }
            for resource in RESOURCES {
                let claim = self.ledger.state.claim(&name(project), &id(resource));
                let expected = counts(self.world.claim(project, resource));
                self.same(claim.cloned().unwrap_or_default(), expected, resource)?;
            }
        }
        for (id, hold) in self.holds.iter().zip(&self.world.holds) {
            let found = self.ledger.status(*id).map(|status| match status {
                ReservationStatus::Active => Resolution::Open,
                ReservationStatus::Committed { .. } => Resolution::Committed,
                ReservationStatus::Released { .. } => Resolution::Released,
                ReservationStatus::Expired { .. } => Resolution::Expired,
            });
            let expected = self.world.is_remembered(hold).then_some(hold.resolution);
            self.same(found, expected, &id.to_string())?;
        }
        let next = self.ledger.state.next_expiry().map(Time::seconds);
        self.same(next, self.world.next_expiry(), "next expiry")
    }

    fn look_at_wallet(&self, project: &str) -> Result<(), TestCaseError> {
        let wallet = self.ledger.state.wallet(&name(project));
        let found = wallet.map(|wallet| {
            let figures = wallet.figures;
            (
                figures.balance,
                figures.reserved,
                figures.available,
                figures.owed,
                figures.status,
            )
        });
        let expected = self.world.wallet(project).map(|wallet| {
            let (balance, reserved) = (self.world.balance(project), self.world.reserved(project));
            let owed = self.world.owed(project);
            (
                balance,
                reserved,
                balance - reserved,
                owed,
                status_of(wallet.status),
            )
        });
        self.same(found, expected, project)?;
        let amounts = self
            .ledger
            .journal
            .iter()
            .filter(|entry| {
                entry
                    .project
                    .as_ref()
                    .is_some_and(|whose| whose.as_str() == project)
            })
            .map(Entry::amount);
        self.same(
            amounts.sum(),
            self.world.balance(project),
            "the sum of entries",
        )
    }
}

fn mode(metered: bool) -> Mode {
    if metered { Mode::Metered } else { Mode::Manual }
}

fn status_of(status: u8) -> Status {
    [Status::Active, Status::Suspended, Status::Closed][usize::from(status)]
}

fn billing(required: bool) -> Billing {
    if required {
        Billing::Required
    } else {
        Billing::Optional
    }
}

fn payer(asks: Asks) -> Payer {
    match asks {
        Asks::Caller => Payer::Caller,
        Asks::Service => Payer::Service(Billing::Optional),
        Asks::ServiceRequired => Payer::Service(Billing::Required),
    }
}

fn forecasted(start: i64, forecast: &Forecasts) -> Forecast {
    let line = |(sku, quantity): &(&str, u64)| ForecastLine {
        sku: name(sku),
        quantity: Quantity::new(*quantity).unwrap(),
    };
    Forecast {
        interval: Interval::new(start, start + forecast.seconds).unwrap(),
        lines: forecast.lines.iter().map(line).collect(),
    }
}

fn usages(now: i64, all: &[Used]) -> Vec<Usage> {
    let one = |used: &Used| {
        let start = now - used.ago;
        usage(
            used.resource,
            used.sku,
            start,
            start + used.seconds,
            used.quantity,
        )
    };
    all.iter().map(one).collect()
}

/// With the second at which each begins.
fn dated(now: i64, all: &[Used]) -> Vec<(i64, Used)> {
    all.iter()
        .map(|used| (now - used.ago, used.clone()))
        .collect()
}

fn done(step: &Step) -> &'static str {
    match step {
        Step::Wait(_) | Step::ExpireDue(_) => "time",
        Step::Create { .. } => "create",
        Step::Update { .. } => "update",
        Step::Drain(_) => "drain",
        Step::TopUp(..) => "top up",
        Step::Adjust(..) => "adjust",
        Step::Charge(..) => "charge",
        Step::Refund { .. } => "refund",
        Step::Reserve { .. } => "reserve",
        Step::Commit { .. } => "commit",
        Step::Release { .. } => "release",
        Step::Extend { .. } => "extend",
        Step::Record { .. } => "record",
        Step::Settle { .. } => "settle",
        Step::Register(..) => "register",
        Step::SetLimit(..) => "set limit",
        Step::Free { .. } => "free",
        Step::Recount { .. } => "recount",
        Step::Price { .. } => "price",
    }
}

#[test]
fn the_ledger_does_what_the_reference_does() {
    let seen = RefCell::new(BTreeMap::<String, u32>::new());
    let strategy = (some_steps(60), proptest::arbitrary::any::<usize>());
    check("model", 200, &strategy, |(steps, snapshot_at)| {
        let mut run = Run::new();
        // A snapshot somewhere, and only the journal after it.
        let snapshot_at = snapshot_at % steps.len();
        let mut follower = None;
        for (number, step) in steps.iter().enumerate() {
            if number == snapshot_at {
                let state = restored(&run.ledger.state, 500, bounds());
                follower = Some((state, run.ledger.journal.len()));
            }
            run.step(step).map_err(|error| {
                TestCaseError::fail(format!("step {number}, {step:?}: {error}"))
            })?;
        }
        let (mut follower, from) = follower.unwrap();
        for entry in &run.ledger.journal[from..] {
            follower.replay(entry).unwrap();
        }
        run.same(
            text(&follower),
            text(&run.ledger.state),
            "snapshot and tail",
        )?;
        for (what, times) in run.seen {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    // Comparing refusals with refusals would compare little.
    let seen = seen.into_inner();
    eprintln!("{seen:?}");
    let usual = [
        "create",
        "update",
        "top up",
        "adjust",
        "charge",
        "refund",
        "reserve",
        "commit",
        "release",
        "extend",
        "record",
        "settle",
        "register",
        "set limit",
        "recount",
        "price",
        "INSUFFICIENT_CREDIT",
        "QUOTA_EXCEEDED",
        "RESERVATION_EXPIRED",
        "WALLET_NOT_FOUND",
    ];
    let missing: BTreeSet<_> = usual
        .iter()
        .filter(|what| !seen.contains_key(**what))
        .collect();
    assert!(missing.is_empty(), "never: {missing:?} of {seen:?}");
}
