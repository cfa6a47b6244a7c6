//! Clients: ask for random things, repeat what they may, and write down what they were told.

use std::{sync::Arc, time::Duration};

use creditservice_ledger::{
    Actor, Amount, Answer, Charge, Command, Commit, CreateWallet, Currency, Digest, DirectCharge,
    Extend, Figures, Hold, Key, Payer, Place, Release, Request, ReservationId, Reserve, Resource,
    Settings, Text, TopUp, Ttl, Units,
};
use photon_core::{Error, Name};
use sha2::Digest as _;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    wire::Wire,
    world::{SHARD, World},
};
use crate::{
    history::page,
    shard::ask::{Ask, Outcome, Reply},
};

/// The kind of units that reservations hold.
pub(super) const KIND: &str = "vcpu";

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    Create(i64),
    TopUp(i64),
    Charge(i64),
    Reserve {
        amount: i64,
        units: i64,
        ttl: i64,
    },
    /// All of it, or so much.
    Commit(ReservationId, Option<i64>),
    Release(ReservationId),
    Extend(ReservationId, i64),
}

/// What a client was told in the end.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Done(Box<Answer>),
    /// By the ledger, for this reason.
    #[expect(dead_code, reason = "said when something is wrong")]
    Refused(&'static str),
    /// Certainly not done.
    NotDone,
    Unknown,
}

/// A command and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Stands in its entry.
    pub(super) marker: String,
    pub(super) project: Name,
    pub(super) intent: Intent,
    pub(super) verdict: Verdict,
}

/// What a client read.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// A wallet.
    Figures(Option<Figures>),
    /// The numbers of a project's entries.
    History(Vec<u64>),
}

/// A reading, and what was known before and after it.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) project: Name,
    /// The newest entry that somebody had been told of before.
    pub(super) after: u64,
    /// The newest entry there was when it was over.
    pub(super) before: u64,
    pub(super) seen: Seen,
}

/// What a client wrote down.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pub(super) told: Vec<Told>,
    pub(super) readings: Vec<Reading>,
}

/// The projects; the first is asked about most.
pub(super) fn projects() -> [Name; 3] {
    ["busy", "quiet", "rare"].map(|name| Name::new(name).unwrap())
}

/// A client.
pub(super) struct Client {
    world: Arc<World>,
    name: String,
    number: u64,
    diary: Diary,
}

impl Client {
    pub(super) fn new(world: &Arc<World>, name: impl Into<String>) -> Self {
        Self {
            world: Arc::clone(world),
            name: name.into(),
            number: 0,
            diary: Diary::default(),
        }
    }

    pub(super) fn diary(self) -> Diary {
        self.diary
    }

    /// Makes the wallets.
    pub(super) async fn open_wallets(&mut self) {
        for project in projects() {
            self.pursue(project, Intent::Create(5_000), true).await;
        }
    }

    /// Asks for random things until it is stopped; what it repeats it repeats until it knows.
    pub(super) async fn work(mut self, stop: CancellationToken) -> Diary {
        while !stop.is_cancelled() {
            sleep(self.world.lull()).await;
            // In bursts: groups have more than one command then.
            if self.world.chance(60) {
                sleep(self.world.millis(100..4_000)).await;
            } else {
                sleep(self.world.millis(0..40)).await;
            }
            let [busy, quiet, rare] = projects();
            let project = match self.world.roll(0..20) {
                0 => rare,
                1..5 => quiet,
                _ => busy,
            };
            match self.world.roll(0..20) {
                0..5 => self.read_figures(project).await,
                5 => self.read_history(project).await,
                _ => {
                    let (project, intent) = self.intent(project);
                    let keyed = self.world.chance(600);
                    self.pursue(project, intent, keyed).await;
                }
            }
        }
        self.diary
    }

    /// Tops up, once.
    pub(super) async fn top_up(&mut self) {
        let [busy, ..] = projects();
        self.pursue(busy, Intent::TopUp(1), false).await;
    }

    fn intent(&self, project: Name) -> (Name, Intent) {
        let world = &self.world;
        let amount = |below| i64::try_from(world.roll(1..below)).unwrap();
        let intent = match world.roll(0..12) {
            0 => Intent::TopUp(amount(400)),
            1 | 2 => Intent::Charge(amount(300)),
            3..6 => Intent::Reserve {
                amount: amount(600),
                units: amount(4) - 1,
                ttl: amount(60),
            },
            choice => {
                let Some((project, id)) = world.some_reservation() else {
                    return (project, Intent::TopUp(amount(400)));
                };
                let intent = match choice {
                    6..9 => Intent::Commit(id, world.chance(500).then(|| amount(600))),
                    9 | 10 => Intent::Release(id),
                    _ => Intent::Extend(id, amount(90)),
                };
                return (project, intent);
            }
        };
        (project, intent)
    }

    async fn pursue(&mut self, project: Name, intent: Intent, keyed: bool) {
        self.number += 1;
        let marker = format!("{}-{}", self.name, self.number);
        let request = request(&project, &intent, &marker, keyed);
        let verdict = self.insist(&request).await;
        if let Verdict::Done(answer) = &verdict {
            self.note(&project, &intent, answer);
            // What changed nothing is not remembered.
            let is_remembered = !matches!(intent, Intent::Extend(..));
            if keyed && is_remembered && self.world.chance(150) {
                self.repeat(&marker, &request, answer).await;
            }
        }
        self.world.count(match verdict {
            Verdict::Done(_) => "done",
            Verdict::Refused(_) => "refused by the ledger",
            Verdict::NotDone => "not done",
            Verdict::Unknown => "unknown",
        });
        self.diary.told.push(Told {
            marker,
            project,
            intent,
            verdict,
        });
    }

    /// Asks until it is known what came of it, if that can be done without doing it twice.
    async fn insist(&self, request: &Request) -> Verdict {
        loop {
            // Two at once must be one.
            let outcome = if request.key.is_some() && self.world.chance(80) {
                let (one, other) = tokio::join!(self.ask(request), self.ask(request));
                self.agree(request, &one, &other);
                joined(one, other)
            } else {
                self.ask(request).await
            };
            match outcome {
                Outcome::Answered(reply) => return self.verdict(*reply),
                Outcome::Unknown { .. } if request.key.is_none() => return Verdict::Unknown,
                Outcome::NotDone { .. } if request.key.is_none() && self.world.chance(300) => {
                    return Verdict::NotDone;
                }
                Outcome::Unknown { .. } | Outcome::NotDone { .. } => {}
            }
            sleep(self.world.millis(5..300)).await;
        }
    }

    fn verdict(&self, reply: Reply) -> Verdict {
        match reply {
            Reply::Applied { answer, .. } => Verdict::Done(Box::new(answer)),
            Reply::Refused(said) => {
                let code = Error::from(said).code().name;
                let is_expected = matches!(
                    code,
                    "INSUFFICIENT_CREDIT" | "QUOTA_EXCEEDED" | "EXCEEDS_RESERVATION"
                ) || code.starts_with("RESERVATION_");
                if !is_expected {
                    self.world
                        .complain(format!("{} is refused: {code}", self.name));
                }
                Verdict::Refused(code)
            }
            other => {
                self.world.complain(format!("an odd answer: {other:?}"));
                Verdict::Unknown
            }
        }
    }

    /// Two answers to one key are the same.
    fn agree(&self, request: &Request, one: &Outcome, other: &Outcome) {
        if let (Outcome::Answered(one), Outcome::Answered(other)) = (one, other)
            && let (Reply::Applied { answer: one, .. }, Reply::Applied { answer: other, .. }) =
                (&**one, &**other)
            && one != other
            && !matches!(request.command, Command::Extend(_))
        {
            self.world
                .complain(format!("one key, two answers: {one:?}, {other:?}"));
        }
    }

    /// What was answered under a key is answered again.
    async fn repeat(&self, marker: &str, request: &Request, first: &Answer) {
        sleep(self.world.millis(0..5_000)).await;
        match self.insist(request).await {
            Verdict::Done(answer) if *answer == *first => self.world.count("replayed"),
            other => self
                .world
                .complain(format!("{marker}: {first:?} became {other:?}")),
        }
    }

    fn note(&self, project: &Name, intent: &Intent, answer: &Answer) {
        match (intent, answer) {
            (_, Answer::Transaction { id, .. }) => {
                self.world.tell(Place::of(*id).map_or(0, |place| place.seq));
            }
            (Intent::Reserve { .. }, Answer::Reservation(view)) => {
                self.world.remember(project, view.id);
                self.world
                    .tell(Place::of(view.id).map_or(0, |place| place.seq));
            }
            _ => {}
        }
    }

    async fn ask(&self, request: &Request) -> Outcome {
        self.send(Ask::Apply(Box::new(request.clone()))).await
    }

    /// Over a network that loses things, too, to whoever believes to be the owner.
    async fn send(&self, ask: Ask) -> Outcome {
        sleep(self.world.millis(0..3)).await;
        let Some(inbox) = self.world.somebody() else {
            return Outcome::not_done("nobody owns it now");
        };
        // Whoever goes away leaves his question behind.
        let patience = if self.world.fault("client goes away", 1) {
            self.world.millis(1..50)
        } else {
            Duration::from_secs(10)
        };
        let outcome = timeout(patience, inbox.ask(ask)).await;
        sleep(self.world.millis(0..3)).await;
        if self.world.fault("client does not hear", 1) {
            return Outcome::unknown("simulated");
        }
        outcome.unwrap_or_else(|_| Outcome::unknown("no answer in time"))
    }

    async fn read_figures(&mut self, project: Name) {
        let after = self.world.told();
        let ask = Ask::Wallets {
            projects: vec![project.clone()],
        };
        let Outcome::Answered(reply) = self.send(ask).await else {
            return;
        };
        let Reply::Wallets(wallets) = *reply else {
            return self.world.complain(format!("an odd answer: {reply:?}"));
        };
        let figures = wallets.first().map(|wallet| wallet.figures);
        self.read(project, after, Seen::Figures(figures));
    }

    /// As a project's transactions are read: the owner's memory first, then the pages.
    async fn read_history(&mut self, project: Name) {
        let after = self.world.told();
        let ask = Ask::Unpaged {
            project: project.clone(),
        };
        let Outcome::Answered(reply) = self.send(ask).await else {
            return;
        };
        let Reply::Unpaged { entries } = *reply else {
            return self.world.complain(format!("an odd answer: {reply:?}"));
        };
        let mut seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        sleep(self.world.millis(0..2_000)).await;
        let Ok(pages) = page::from(&Wire::new(&self.world), &project, 0, 1_000).await else {
            return;
        };
        let paged = pages.iter().flat_map(|page| &page.entries);
        seqs.extend(paged.map(|entry| entry.seq));
        seqs.sort_unstable();
        seqs.dedup();
        self.read(project, after, Seen::History(seqs));
    }

    fn read(&mut self, project: Name, after: u64, seen: Seen) {
        self.world.count("readings");
        self.diary.readings.push(Reading {
            project,
            after,
            before: self.world.written(),
            seen,
        });
    }
}

/// What is known after two answers. A refusal is not remembered, so of two at once one may be refused and the other done.
fn joined(one: Outcome, other: Outcome) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Answered(reply) if matches!(**reply, Reply::Applied { .. }) => 3,
        Outcome::Unknown { .. } => 2,
        Outcome::Answered(_) => 1,
        Outcome::NotDone { .. } => 0,
    };
    if rank(&one) >= rank(&other) {
        one
    } else {
        other
    }
}

fn request(project: &Name, intent: &Intent, marker: &str, keyed: bool) -> Request {
    let project = project.clone();
    let command = match *intent {
        Intent::Create(initial) => Command::CreateWallet(CreateWallet {
            project,
            org: Name::new("acme").unwrap(),
            currency: Currency::Jpy,
            initial_balance: Charge::new(initial).unwrap(),
            settings: Settings::default(),
        }),
        Intent::TopUp(amount) => Command::TopUp(TopUp {
            project,
            amount: Amount::new(amount).unwrap(),
            source: Name::new("bank").unwrap(),
            description: None,
        }),
        Intent::Charge(amount) => Command::Charge(DirectCharge {
            project,
            amount: Amount::new(amount).unwrap(),
            sku: None,
            resource: Resource::default(),
            description: None,
        }),
        Intent::Reserve { amount, units, ttl } => Command::Reserve(Reserve {
            project,
            hold: Some(Hold::Amount(Amount::new(amount).unwrap())),
            units: match units {
                0 => Units::none(),
                units => Units::new([(Name::new(KIND).unwrap(), units)].into()).unwrap(),
            },
            ttl: Ttl::new(ttl).unwrap(),
            payer: Payer::Caller,
            resource: Resource {
                kind: None,
                id: Some(Text::new(format!("vm-{marker}")).unwrap()),
            },
            description: None,
        }),
        Intent::Commit(reservation, actual) => Command::Commit(Commit {
            reservation,
            caller: None,
            actual: actual.map(|actual| Charge::new(actual).unwrap()),
            units: None,
            resource_id: None,
            description: None,
        }),
        Intent::Release(reservation) => Command::Release(Release {
            reservation,
            caller: None,
            reason: None,
        }),
        Intent::Extend(reservation, ttl) => Command::Extend(Extend {
            reservation,
            caller: None,
            ttl: Ttl::new(ttl).unwrap(),
        }),
    };
    let digest = |of: &str| Digest(sha2::Sha256::digest(of).into());
    Request {
        command,
        key: keyed.then(|| Key {
            digest: digest(marker),
            fingerprint: digest(&format!("body of {marker}")),
        }),
        by: Some(Actor::new(marker).unwrap()),
    }
}

/// Whether an id is of this run's shard; all are.
pub(super) fn seq_of(id: ReservationId) -> u64 {
    Place::of(id)
        .filter(|place| place.shard == SHARD)
        .map_or(0, |place| place.seq)
}
