//! Whole lives of a shard in simulated time, over a store whose answers get lost, are late or arrive twice.
//!
//! ```text
//!   clients ──> tenure, Owner, Group, pager, snapshots: the real ones ──> Wire: faults ──> Disk
//!      └── what they were told ───────> verify <─────── what is there ──────────────────────┘
//! ```
//! Three processes take turns in owning one shard; they crash between any two steps, lose their leases, do not notice it,
//! and go on as if they were owners. One seed is one run, to the bit.
//!
//! `PHOTON_SEED=… cargo test -p creditservice --lib simulation` repeats one run, `PHOTON_LONG=1` does thousands.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod client;
mod disk;
mod likeness;
mod process;
mod reference;
mod verify;
mod wire;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use creditservice_ledger::Limit;
use photon_core::Name;
use photon_testkit::{Seed, seed::SEED};
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    client::{Client, Diary},
    wire::Wire,
    world::{Broken, World},
};
use super::{raw::Changes, stored};

const PROCESSES: usize = 3;
const CLIENTS: usize = 5;
/// How long everything goes wrong, in simulated time.
const TROUBLE: Duration = Duration::from_secs(150);
/// When nothing goes wrong any more, everybody who insists has his answer after so long.
const HEALED: Duration = Duration::from_secs(30);
/// Longer than any hold, any clock is wrong, and until what is old is in pages.
const QUIET: Duration = Duration::from_secs(400);

/// How a run ended.
struct Report {
    counts: BTreeMap<&'static str, u64>,
    fingerprint: Vec<u8>,
    wrong: Vec<String>,
}

fn run(seed: u64, broken: Option<Broken>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new(seed, broken);
        let result = play(&world).await;
        let mut wrong = world.complaints();
        wrong.extend(result.err());
        let fingerprint = world.disk.lock().fingerprint();
        Report {
            counts: world.counts(),
            fingerprint,
            wrong,
        }
    })
}

async fn play(world: &Arc<World>) -> Result<(), String> {
    register_a_limit(world);
    tokio::spawn(process::leases_end(Arc::clone(world)));
    let stop = CancellationToken::new();
    let mut processes = JoinSet::new();
    for process in 0..PROCESSES {
        let lives = process::run(Arc::clone(world), process, stop.clone());
        processes.spawn(lives);
    }

    let mut first = Client::new(world, "first");
    first.open_wallets().await;
    let enough = CancellationToken::new();
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let client = Client::new(world, format!("client{n}"));
        clients.spawn(client.work(enough.clone()));
    }
    sleep(TROUBLE).await;
    enough.cancel();
    world.becomes_calm();
    let mut diaries: Vec<Diary> = timeout(HEALED, clients.join_all())
        .await
        .map_err(|_| "not everybody has an answer".to_owned())?;

    // The last owner takes over from nobody, and nobody asks it: holds have to expire by themselves.
    stop.cancel();
    processes.join_all().await;
    let last = tokio::spawn(process::run(
        Arc::clone(world),
        PROCESSES,
        CancellationToken::new(),
    ));
    sleep(QUIET).await;
    let wire = Wire::new(world);
    diaries.push(first.diary());
    verify::quiet(&wire).await?;
    // Enough for another snapshot, and for it to be paged.
    let mut late = Client::new(world, "late");
    for _ in 0..60 {
        late.top_up().await;
    }
    sleep(QUIET).await;
    diaries.push(late.diary());
    last.abort();
    verify::all(world, &wire, &diaries).await
}

fn register_a_limit(world: &World) {
    let kind = Name::new(client::KIND).unwrap();
    let row = json!({ "limit": { "kind": kind, "default": Limit::at_most(60).unwrap() } });
    let mut changes = Changes::default();
    changes.put(
        format!("{}{kind}", crate::catalog::LIMITS),
        stored::encode(&json!({ "row": row })).unwrap(),
    );
    world.disk.lock().commit(&changes).unwrap();
}

/// Says the seed of a run that panics.
struct Running(u64);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{SEED}={}", self.0);
        }
    }
}

/// What has to happen in some run: a simulation in which nothing goes wrong proves nothing.
const TROUBLES: [&str; 6] = [
    "late",
    "copied",
    "answer lost",
    "two believe to be owners",
    "crash by step",
    "readings",
];

/// So many runs at most until all of [`TROUBLES`] were met; most are met by the first.
const RUNS_OF_TROUBLE: u64 = 200;

#[test]
fn nothing_is_lost_and_nothing_is_done_twice() {
    let (least, most) = match (std::env::var_os(SEED), std::env::var_os("PHOTON_LONG")) {
        (Some(_), _) => (1, 1),
        (None, Some(_)) => (2_000, 2_000),
        (None, None) => (8, RUNS_OF_TROUBLE),
    };
    let first = Seed::for_test("nothing_is_lost_and_nothing_is_done_twice").0;
    let mut sums = BTreeMap::<&str, u64>::new();
    let mut runs = 0;
    let missing = |sums: &BTreeMap<&str, u64>| {
        let unmet = |what: &&str| sums.get(what).is_none_or(|count| *count == 0);
        TROUBLES.into_iter().find(unmet)
    };
    while runs < least || (runs < most && missing(&sums).is_some()) {
        let seed = first.wrapping_add(runs);
        let _running = Running(seed);
        let report = run(seed, None);
        for (what, count) in report.counts {
            *sums.entry(what).or_default() += count;
        }
        assert!(
            report.wrong.is_empty(),
            "{SEED}={seed}: {:#?}",
            report.wrong
        );
        runs += 1;
    }
    eprintln!("{runs} runs: {sums:#?}");
    if runs > 1 {
        assert_eq!(missing(&sums), None);
    }
}

/// Most are noticed by the first few.
const RUNS_OF_BROKEN: u64 = 60;

#[test]
fn what_is_broken_is_noticed() {
    let first = Seed::for_test("what_is_broken_is_noticed").0;
    let mut all = vec![
        Broken::Epoch,
        Broken::Head,
        Broken::Acknowledgement,
        Broken::Unknown,
        Broken::Clock,
    ];
    let mut runs = RUNS_OF_BROKEN;
    if std::env::var_os("PHOTON_LONG").is_some() {
        // These take a rare coincidence.
        all.extend([Broken::Paged, Broken::Lease]);
        runs = 2_000;
    }
    for broken in all {
        let seeds = (0..runs).map(|n| first.wrapping_add(n));
        let noticed = seeds
            .map(|seed| (seed, run(seed, Some(broken)).wrong))
            .find(|(_, wrong)| !wrong.is_empty());
        let Some((seed, wrong)) = noticed else {
            panic!("{broken:?} is not noticed");
        };
        eprintln!("{broken:?} is noticed by {SEED}={seed}: {}", wrong[0]);
    }
}

#[test]
fn a_seed_is_a_run_to_the_bit() {
    let seed = Seed::for_test("a_seed_is_a_run_to_the_bit").0;
    let (one, other) = (run(seed, None), run(seed, None));
    assert_eq!(one.fingerprint, other.fingerprint);
    assert_eq!(one.counts, other.counts);
}
