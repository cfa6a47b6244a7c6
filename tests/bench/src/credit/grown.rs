//! A ledger with many wallets and their history: how long the service takes to start, from the journal and from snapshots, and
//! what memory it takes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use etcd_client::{DeleteOptions, GetOptions};
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::doors::Rest;
use super::journal::{self, ENTRIES, INITIAL, Plan, ROOT};
use super::pairs::{Ledger, Pairs};
use super::{Options, Part};
use crate::compare::{number, spread};
use crate::keep_alive::{KeepAlive, call, request};
use crate::load::{connect_kv, drive};
use crate::server::{Daemon, Store};

/// How long it may take until every shard answers, and until every shard has its snapshot.
const PATIENCE: Duration = Duration::from_secs(600);
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// After how many entries the service writes a shard as a whole, unless it has fewer.
const SNAPSHOT_ENTRIES: u64 = 16_384;
/// Wallets whose figures and transactions are looked at.
const LOOKED_AT: usize = 50;
/// Wallets that the load afterwards is spread over: each has credit for a few dozen pairs.
const LOADED: u64 = 100_000;

/// Fills a ledger, starts the service over it several times, and says what that took.
///
/// # Errors
/// What went wrong first; figures that are not what was written.
pub(crate) async fn run(options: &Options) -> anyhow::Result<String> {
    let scratch = super::scratch(options)?;
    let mut grown = Grown::make(options, scratch.path()).await?;
    let mut text = format!(
        "{}: {:.0} MiB of journal and pages, written in {:.0} s\n",
        Part::Grown.title(options),
        grown.bytes as f64 / f64::from(1 << 20),
        grown.filled_in.as_secs_f64()
    );
    let from_journal = grown.start().await?;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "start from the journal: ready after {:.2} s, every shard answers after {:.2} s; resident {:.0} MiB",
        from_journal.ready.as_secs_f64(),
        from_journal.answers.as_secs_f64(),
        grown.service.process()?.resident_mib()?
    );
    grown.look(options).await?;
    grown.have_snapshots().await?;
    let _ = writeln!(
        text,
        "every shard has its snapshot: resident {:.0} MiB",
        grown.service.process()?.resident_mib()?
    );
    let mut starts = Vec::new();
    for _ in 0..options.restarts.max(1) {
        grown.service.stop_in_order().await?;
        let start = grown.start().await?;
        println!("Grown start: {start:?}");
        starts.push(start);
    }
    let of = |which: fn(&Start) -> Duration| {
        spread(starts.iter().map(|start| which(start).as_secs_f64())).map_or_else(
            || "-".to_owned(),
            |s| format!("{:.2} s ({:.2} - {:.2})", s.median, s.least, s.greatest),
        )
    };
    let _ = writeln!(
        text,
        "start from snapshots: ready after {}, every shard answers after {}; resident {:.0} MiB",
        of(|start| start.ready),
        of(|start| start.answers),
        grown.service.process()?.resident_mib()?
    );
    grown.look(options).await?;
    let pairs = grown.load(options).await?;
    let store = match &grown.service.store {
        Store::One(single) => single.process.resident_mib()?,
        Store::Three(_) | Store::Shared(_) => bail!("the grown ledger has a store of one member"),
    };
    let _ = writeln!(
        text,
        "{} pairs/s by REST over its wallets; resident {:.0} MiB after it, the store {store:.0} MiB",
        number(pairs),
        grown.service.process()?.resident_mib()?
    );
    Ok(text)
}

/// The service over a ledger that has a history.
struct Grown {
    service: Daemon,
    plan: Plan,
    bytes: u64,
    filled_in: Duration,
}

/// How long a start took.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Until `/readyz` was 200.
    ready: Duration,
    /// Until a wallet of every shard was answered.
    answers: Duration,
}

impl Grown {
    async fn make(options: &Options, directory: &std::path::Path) -> anyhow::Result<Self> {
        let store = Store::start(&options.chainfire, 1, directory).await?;
        let endpoint = store.endpoints().swap_remove(0);
        // Small ledgers have less than that in a shard, and would have no snapshots.
        let in_a_shard = options.grown_wallets * ENTRIES / 4;
        let settings = format!(
            "[shards]\nsnapshot_entries = {}\n",
            SNAPSHOT_ENTRIES.min((in_a_shard / 2).max(1))
        );
        let mut service = Daemon::over(store, &options.creditservice, directory, &settings)?;
        let (shards, published) = template(&mut service, &endpoint).await?;
        let plan = Plan {
            wallets: options.grown_wallets,
            shards,
            published,
            until: i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?,
        };
        let began = Instant::now();
        let bytes = journal::fill(&endpoint, &plan).await?;
        let filled_in = began.elapsed();
        println!("Grown: filled in {:.0} s", filled_in.as_secs_f64());
        Ok(Self {
            service,
            plan,
            bytes,
            filled_in,
        })
    }

    /// A wallet of each shard that has one.
    fn one_of_each(&self) -> Vec<String> {
        let mut found = vec![None; usize::from(self.plan.shards)];
        for index in 0..self.plan.wallets {
            let project = journal::project(index);
            let shard = usize::from(journal::shard_of(&project, self.plan.shards));
            found[shard].get_or_insert(project);
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        found.into_iter().flatten().collect()
    }

    async fn start(&mut self) -> anyhow::Result<Start> {
        let began = Instant::now();
        let ready = self.service.start().await?;
        let mut connection = KeepAlive::connect(&self.service.rest).await?;
        for project in self.one_of_each() {
            let line = format!("GET /api/v1/wallets/{project}");
            let bytes = request(&self.service.rest, &line, "", "");
            while connection.exchange(&bytes).await? != 200 {
                ensure!(began.elapsed() < PATIENCE, "{project} is not served");
                tokio::time::sleep(PROBE_EVERY).await;
            }
        }
        Ok(Start {
            ready,
            answers: began.elapsed(),
        })
    }

    /// Holds some wallets and their transactions against what was written.
    async fn look(&self, options: &Options) -> anyhow::Result<()> {
        let rest = &self.service.rest;
        let mut connection = KeepAlive::connect(rest).await?;
        for _ in 0..LOOKED_AT {
            let index = rand::rng().random_range(0..options.grown_wallets);
            let project = journal::project(index);
            let line = format!("GET /api/v1/wallets/{project}");
            let wallet = call(&mut connection, rest, &line, "").await?;
            let line = format!("GET /api/v1/wallets/{project}/transactions?limit=100");
            let listed = call(&mut connection, rest, &line, "").await?;
            let all = listed["transactions"]
                .as_array()
                .or_else(|| listed.as_array())
                .context("no transactions")?;
            let sum: i64 = all.iter().filter_map(|one| one["amount"].as_i64()).sum();
            let (mut balance, reserved) = journal::figures(index);
            // What was topped up to have snapshots written.
            if wallet["balance"] == json!(balance + 1) {
                balance += 1;
            }
            ensure!(
                wallet["balance"] == json!(balance)
                    && wallet["reserved"] == json!(reserved)
                    && sum == balance,
                "{project}: {wallet}, its transactions sum up to {sum}, and {balance} was written"
            );
        }
        Ok(())
    }

    /// Changes every shard, upon which the service writes those as a whole that it did not when it took them over, and waits
    /// until it has.
    async fn have_snapshots(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        let rest = &self.service.rest;
        let mut connection = KeepAlive::connect(rest).await?;
        let changed = self.one_of_each();
        for project in &changed {
            let line = format!("POST /api/v1/wallets/{project}/topup");
            call(&mut connection, rest, &line, r#"{"amount":1}"#).await?;
        }
        let mut kv = connect_kv(&self.service.store.endpoints()[0]).await?;
        loop {
            let options = GetOptions::new().with_prefix().with_keys_only();
            let answer = kv.get(format!("{ROOT}/snapshot/"), Some(options)).await?;
            let written = answer
                .kvs()
                .iter()
                .filter(|kv| kv.key().ends_with(b"/current"));
            if written.count() == changed.len() {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "not every shard has a snapshot");
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    /// Pairs over its wallets, per second.
    async fn load(&self, options: &Options) -> anyhow::Result<f64> {
        let count = options.grown_wallets.min(LOADED);
        let step = options.grown_wallets / count;
        let projects: Arc<[String]> = (0..count).map(|n| journal::project(n * step)).collect();
        let mut clients = Vec::new();
        for _ in 0..options.clients {
            let door = Ledger::Rest(Rest::connect(&self.service.rest).await?);
            clients.push(Pairs::new(door, Arc::clone(&projects), Arc::default()));
        }
        let duration = Duration::from_secs_f64(options.seconds);
        let outcome = drive(clients, duration / 10, duration).await?;
        Ok(outcome.rate() / 2.0)
    }
}

/// Has the service make a wallet, and returns into how many shards it spreads them and the public record that it wrote.
/// Then nothing of it is left in the store.
async fn template(service: &mut Daemon, endpoint: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    service.start().await?;
    let mut connection = KeepAlive::connect(&service.rest).await?;
    let body = json!({"project_id": "template", "org_id": "bench", "initial_balance": INITIAL});
    let line = "POST /api/v1/wallets";
    call(&mut connection, &service.rest, line, &body.to_string()).await?;
    service.stop()?;
    let mut kv = connect_kv(endpoint).await?;
    let spread = kv.get(format!("{ROOT}/shards"), None).await?;
    let spread = spread.kvs().first().context("no number of shards")?.value();
    let spread: Value = serde_json::from_slice(spread)?;
    let shards = spread["count"].as_u64().context("no number of shards")?;
    let key = format!("{ROOT}/public/wallets/template");
    let published = kv.get(key, None).await?;
    let published = published.kvs().first().context("no public record")?.value();
    let all = DeleteOptions::new().with_prefix();
    let root = format!("{ROOT}/");
    let (shards, published) = (u16::try_from(shards)?, published.to_vec());
    kv.delete(root, Some(all)).await?;
    Ok((shards, published))
}
