//! A process of the service: takes a lease, owns the shard when it can, crashes and starts again.
//!
//! It stands in for `seat`, which knows feeds and other shards; the tenure is the real one.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use photon_store::Error;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    wire::Wire,
    world::{Broken, SHARD, World},
};
use crate::{
    clock::{LedgerClock, WallClock},
    shard::{
        claim::Candidate,
        layout,
        owner::Term,
        stored::{self, Epoch, Owner},
        tenure::{self, Terms},
    },
};

const TTL: Duration = Duration::from_secs(3);
/// Small, so that there are many.
const SNAPSHOT_ENTRIES: u64 = 40;
/// When all wall clocks were right: 2026-01-01.
const NEW_YEAR: Duration = Duration::from_secs(1_767_225_600);

/// A lease as its process knows it.
#[derive(Debug)]
struct Held {
    world: Arc<World>,
    until: Mutex<Instant>,
}

impl Term for Held {
    fn is_over(&self) -> bool {
        let is_blind = self.world.broken == Some(Broken::Lease);
        Instant::now() >= *self.until.lock() && !is_blind
    }
}

/// A wall clock that is wrong by some seconds, and is set now and then.
#[derive(Debug)]
struct SkewedClock {
    world: Arc<World>,
    ahead_ms: Mutex<u64>,
}

/// In the middle of the skews.
const NO_SKEW_MS: u64 = 60_000;

impl WallClock for SkewedClock {
    fn shows(&self) -> Duration {
        if self.world.broken == Some(Broken::Clock) {
            return NEW_YEAR;
        }
        let mut ahead = self.ahead_ms.lock();
        if self.world.chance(20) && self.world.fault("clock set", 4) {
            *ahead = self.world.roll(0..2 * NO_SKEW_MS);
        }
        NEW_YEAR + self.world.elapsed() + Duration::from_millis(*ahead)
            - Duration::from_millis(NO_SKEW_MS)
    }
}

/// Lives, dies and lives again until it is stopped.
pub(super) async fn run(world: Arc<World>, process: usize, stop: CancellationToken) {
    for life in 0.. {
        if stop.is_cancelled() {
            return;
        }
        let wire = Wire::new(&world);
        let polls = match world.chance(300) && !world.is_calm() {
            // In the middle of something.
            true => world.roll(1..3_000),
            false => u64::MAX,
        };
        let living = Mortal {
            polls,
            life: Box::pin(live(&world, process, life, &wire)),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = crash(&world) => world.count("crash by time"),
            () = living => world.count("crash by step"),
        }
        wire.cut();
        world.seated(process, None);
        sleep(world.millis(20..3_000)).await;
    }
}

/// Comes after a while; not when all is calm.
async fn crash(world: &World) {
    sleep(world.millis(2_000..60_000)).await;
    if world.is_calm() {
        std::future::pending::<()>().await;
    }
}

/// Something that may be polled so many times.
struct Mortal<'a> {
    polls: u64,
    life: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

impl Future for Mortal<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.polls.checked_sub(1) {
            Some(left) => {
                self.polls = left;
                self.life.as_mut().poll(context)
            }
            None => Poll::Ready(()),
        }
    }
}

/// One life: lease after lease.
async fn live(world: &Arc<World>, process: usize, life: u64, wire: &Wire) {
    let clock = Arc::new(LedgerClock::of(Arc::new(SkewedClock {
        world: Arc::clone(world),
        ahead_ms: Mutex::new(match world.is_calm() {
            true => NO_SKEW_MS,
            false => world.roll(0..2 * NO_SKEW_MS),
        }),
    })));
    loop {
        let asked = Instant::now();
        if let Ok(id) = wire.grant(TTL).await {
            let held = Arc::new(Held {
                world: Arc::clone(world),
                until: Mutex::new(asked + TTL),
            });
            let candidate = Candidate {
                instance: format!("process {process}, life {life}"),
                grpc: format!("http://{process}"),
                lease: id,
            };
            let seat = sit(world, process, wire, &clock, &held, candidate);
            tokio::select! {
                biased;
                () = lost(world, wire, id, &held) => {}
                () = seat => {}
            }
            world.seated(process, None);
        }
        sleep(world.millis(10..500)).await;
    }
}

/// Keeps a lease alive until it is lost, and the process notices.
async fn lost(world: &World, wire: &Wire, id: i64, held: &Held) {
    loop {
        sleep(TTL / 3).await;
        let asked = Instant::now();
        if asked >= *held.until.lock() {
            break;
        }
        match wire.renew(id, TTL).await {
            Ok(true) => *held.until.lock() = asked + TTL,
            Ok(false) => break,
            Err(_) => {}
        }
        if world.fault("renewals fail", 4) {
            let until = *held.until.lock();
            sleep_until(until).await;
        }
    }
    if world.weather.blind && !world.is_calm() {
        world.count("blind");
        sleep(world.millis(0..25_000)).await;
    }
}

/// Owns the shard whenever nobody else does.
async fn sit(
    world: &Arc<World>,
    process: usize,
    wire: &Wire,
    clock: &Arc<LedgerClock>,
    held: &Arc<Held>,
    candidate: Candidate,
) {
    let loads = Arc::new(Semaphore::new(1));
    loop {
        sleep(world.millis(10..400)).await;
        let found = world.disk.lock().read(&layout::owner(SHARD));
        let owner = found.as_ref().map(stored::read::<Owner>).transpose();
        let own = match (owner, found) {
            (Ok(None), _) => None,
            (Ok(Some(owner)), Some(entry)) if owner.instance == candidate.instance => {
                Some(entry.revision)
            }
            (Ok(_), _) => continue,
            (Err(error), _) => return world.complain(format!("an owner's key: {error}")),
        };
        let terms = Terms {
            store: wire.clone(),
            clock: Arc::clone(clock),
            lease: Arc::clone(held) as Arc<dyn Term>,
            candidate: candidate.clone(),
            loads: Arc::clone(&loads),
            snapshot_entries: SNAPSHOT_ENTRIES,
            exports: None,
        };
        let make_way = CancellationToken::new();
        let told = Arc::clone(world);
        let seated = move |inbox| told.seated(process, inbox);
        let tenure = Box::pin(tenure::hold(terms, SHARD, own, make_way.clone(), seated));
        let result = tokio::select! {
            biased;
            () = asked_to_make_way(world, &make_way) => Ok(()),
            result = tenure => result,
        };
        world.seated(process, None);
        match result {
            Ok(()) => world.count("tenure ends"),
            Err(error @ (Error::Corrupt { .. } | Error::TooNew { .. } | Error::Protocol(_))) => {
                let epoch = world.disk.lock().read(&layout::epoch(SHARD));
                let epoch = epoch.as_ref().map(stored::read::<Epoch>);
                match epoch {
                    // It could not find out that it was deposed while it read.
                    Some(Ok(epoch)) if epoch.instance != candidate.instance => {
                        world.count("deposed while it read");
                    }
                    _ => world.complain(format!("a tenure: {error}")),
                }
            }
            Err(_) => world.count("tenure fails"),
        }
    }
}

/// Another process wants the shard; never ends.
async fn asked_to_make_way(world: &World, make_way: &CancellationToken) {
    sleep(world.millis(1_000..30_000)).await;
    if !world.is_calm() {
        make_way.cancel();
    }
    std::future::pending::<()>().await;
}

/// The store's own clockwork: leases end, in some weathers before their time.
pub(super) async fn leases_end(world: Arc<World>) {
    loop {
        sleep(Duration::from_millis(100)).await;
        world.disk.lock().end_due();
        if world.weather.leases_end_early && !world.is_calm() && world.chance(12) {
            world.count("lease ends early");
            let mut disk = world.disk.lock();
            for id in disk.leases() {
                disk.end(id);
            }
        }
    }
}
