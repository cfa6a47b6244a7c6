//! What all of a run share: the store, the dice, who can be asked, and what was found wrong.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use creditservice_ledger::{ReservationId, Shard};
use parking_lot::Mutex;
use photon_core::Name;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

use super::disk::Disk;
use crate::shard::{
    layout,
    owner::Inbox,
    stored::{self, Head},
};

/// The shard of all runs.
pub(super) const SHARD: Shard = Shard::FIRST;

/// What kind of a run it is; drawn from its seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// In a thousand requests to the store, how many meet each kind of fault.
    pub(super) faults: u32,
    /// The store ends leases before their time, as one whose clock runs fast: then reads may be old, and writes may not.
    pub(super) leases_end_early: bool,
    /// Processes do not notice at once that their lease is over.
    pub(super) blind: bool,
}

/// What does not do what it should, to see that a run notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The store does not compare owners' epochs.
    Epoch,
    /// It does not compare the head, nor whether the block is there.
    Head,
    /// It does not compare up to where entries are in pages.
    Paged,
    /// It says that a block is written before it is.
    Acknowledgement,
    /// It says that what may happen later does not.
    Unknown,
    /// Owners do not look whether their lease is over.
    Lease,
    /// Clocks stand still, so that no hold is ever over.
    Clock,
}

/// A run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) disk: Mutex<Disk>,
    pub(super) weather: Weather,
    pub(super) broken: Option<Broken>,
    dice: Mutex<StdRng>,
    /// Nothing goes wrong any more.
    calm: AtomicBool,
    inboxes: Mutex<BTreeMap<usize, Inbox>>,
    complaints: Mutex<Vec<String>>,
    /// The newest entry that somebody was told of.
    told: AtomicU64,
    /// Reservations that clients know of.
    reservations: Mutex<Vec<(Name, ReservationId)>>,
    /// What happened how often, to see that faults do happen.
    counts: Mutex<BTreeMap<&'static str, u64>>,
    began: Instant,
}

impl World {
    pub(super) fn new(seed: u64, broken: Option<Broken>) -> Arc<Self> {
        let mut dice = StdRng::seed_from_u64(seed);
        let weather = Weather {
            faults: dice.random_range(0..25),
            leases_end_early: dice.random_bool(0.25),
            blind: dice.random_bool(0.6),
        };
        Arc::new(Self {
            disk: Mutex::default(),
            weather,
            broken,
            dice: Mutex::new(dice),
            calm: AtomicBool::new(false),
            inboxes: Mutex::default(),
            complaints: Mutex::default(),
            told: AtomicU64::new(0),
            reservations: Mutex::default(),
            counts: Mutex::default(),
            began: Instant::now(),
        })
    }

    /// A number of a range.
    pub(super) fn roll(&self, range: std::ops::Range<u64>) -> u64 {
        self.dice.lock().random_range(range)
    }

    /// So many in a thousand times.
    pub(super) fn chance(&self, in_a_thousand: u32) -> bool {
        self.dice
            .lock()
            .random_ratio(in_a_thousand.min(1_000), 1_000)
    }

    /// Milliseconds of a range.
    pub(super) fn millis(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.roll(range))
    }

    /// Whether a fault comes now, of those that come `weight` times as often as others.
    pub(super) fn fault(&self, what: &'static str, weight: u32) -> bool {
        let comes = !self.is_calm() && self.chance(self.weather.faults * weight);
        if comes {
            self.count(what);
        }
        comes
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub(super) fn becomes_calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// How long nobody asks anything now: a deposed owner that is asked finds out at once.
    pub(super) fn lull(&self) -> Duration {
        const EVERY: u64 = 13_000;
        const LONG: u64 = 5_000;
        let now = u64::try_from(self.elapsed().as_millis()).unwrap_or(0) % EVERY;
        Duration::from_millis(LONG.saturating_sub(now))
    }

    /// The time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn count(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().clone()
    }

    /// Something is wrong; the run ends with it.
    pub(super) fn complain(&self, what: String) {
        let at = self.elapsed();
        self.complaints.lock().push(format!("at {at:?}: {what}"));
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().clone()
    }

    /// Whom to ask in a process, or that nobody is there.
    pub(super) fn seated(&self, process: usize, inbox: Option<Inbox>) {
        let mut inboxes = self.inboxes.lock();
        match inbox {
            Some(inbox) => drop(inboxes.insert(process, inbox)),
            None => drop(inboxes.remove(&process)),
        }
        if inboxes.len() > 1 {
            self.count("two believe to be owners");
        }
    }

    /// Some process that believes to be the owner.
    pub(super) fn somebody(&self) -> Option<Inbox> {
        let inboxes = self.inboxes.lock();
        let some = u64::try_from(inboxes.len()).unwrap_or(0);
        if some == 0 {
            return None;
        }
        let chosen = usize::try_from(self.roll(0..some)).unwrap_or(0);
        inboxes.values().nth(chosen).cloned()
    }

    /// Somebody was told of an entry.
    pub(super) fn tell(&self, seq: u64) {
        self.told.fetch_max(seq, Ordering::Relaxed);
    }

    /// The newest entry that somebody was told of.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// The newest entry that is written.
    pub(super) fn written(&self) -> u64 {
        let head = self.disk.lock().read(&layout::head(SHARD));
        head.and_then(|entry| stored::read::<Head>(&entry).ok())
            .map_or(0, |head| head.seq)
    }

    pub(super) fn remember(&self, project: &Name, id: ReservationId) {
        self.reservations.lock().push((project.clone(), id));
    }

    /// One of the reservations made lately, resolved or not.
    pub(super) fn some_reservation(&self) -> Option<(Name, ReservationId)> {
        const LATELY: usize = 12;
        let reservations = self.reservations.lock();
        let lately = reservations.len().saturating_sub(LATELY);
        let some = &reservations[lately..];
        if some.is_empty() {
            return None;
        }
        let many = u64::try_from(some.len()).unwrap_or(1);
        some.get(usize::try_from(self.roll(0..many)).unwrap_or(0))
            .cloned()
    }
}
