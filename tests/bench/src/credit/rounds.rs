//! The runs: in each round every side gets the same load for the same time, and who begins changes with the round.

use std::sync::Arc;
use std::time::Duration;

use super::pairs::Tally;
use super::sides::{self, SideKind, Sides};
use super::table::{self, Row, Sample};
use super::{Options, Part};
use crate::load::drive;
use crate::server::own_cpu_s;

/// A side within a part.
struct Runner {
    side: SideKind,
    wallets: Arc<[String]>,
    /// What the wallets' names begin with.
    prefix: String,
    tally: Arc<Tally>,
    samples: Vec<Sample>,
}

/// Measures every side in turns.
///
/// # Errors
/// What went wrong first.
pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let scratch = super::scratch(options)?;
    let sides = Sides::start(options, scratch.path()).await?;
    let mut rows = Vec::new();
    for part in [Part::Hot, Part::Many] {
        if options.only.contains(&part) {
            rows.extend(measure(options, &sides, part).await?);
        }
    }
    Ok(rows)
}

async fn measure(options: &Options, sides: &Sides, part: Part) -> anyhow::Result<Vec<Row>> {
    let mut runners = Vec::new();
    for &side in &options.sides {
        let (wallets, prefix) = sides::wallets(side, part, options.wallets);
        sides.furnish(side, &wallets).await?;
        runners.push(Runner {
            side,
            wallets,
            prefix,
            tally: Arc::default(),
            samples: Vec::new(),
        });
    }
    for round in 0..options.rounds {
        for turn in 0..runners.len() {
            let index = (round + turn) % runners.len();
            let runner = &mut runners[index];
            let sample = one_run(options, sides, runner).await?;
            println!("{part:?} {}: {sample}", runner.side.tag());
            runner.samples.push(sample);
        }
    }
    for runner in &runners {
        let Runner {
            side,
            wallets,
            prefix,
            tally,
            ..
        } = runner;
        sides.check(*side, wallets, prefix, tally).await?;
    }
    let samples = runners.into_iter().map(|one| (one.side, one.samples));
    Ok(table::rows(part.title(options), samples.collect()))
}

async fn one_run(options: &Options, sides: &Sides, runner: &Runner) -> anyhow::Result<Sample> {
    let Runner {
        side,
        wallets,
        tally,
        ..
    } = runner;
    let duration = Duration::from_secs_f64(options.seconds);
    let clients = sides.clients(*side, options, wallets, tally).await?;
    // Not what a connection costs: PostgreSQL starts a process for each.
    let before = sides.usage(*side).await?;
    let own_before = own_cpu_s()?;
    let outcome = drive(clients, duration / 10, duration).await?;
    let own_cpu_s = own_cpu_s()? - own_before;
    // What is put off costs too.
    tokio::time::sleep(Duration::from_secs_f64(options.settle_seconds)).await;
    let used = sides.usage(*side).await?.since(before);
    Ok(Sample::new(&outcome, used, own_cpu_s))
}
