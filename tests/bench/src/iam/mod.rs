//! IAM under load, and grown: checks and verifications over REST, memory, and the time to start.
//!
//! ```text
//! service.rs     IAM as a process over a ChainFire of its own, in enforce mode; its first admin
//! grow.rs        makes users and bindings by the thousand
//! ask.rs         what one client asks over and over
//! ```
//!
//! Servers are processes of their own; the load comes from this one. All share the machine's cores.

mod ask;
mod grow;
mod service;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use self::ask::{Ask, Question};
use self::service::Iam;
use crate::load::{Outcome, drive};

/// Users whose tokens are verified, and who are asked about before the service has grown.
const FEW: u64 = 64;

/// What `photon-bench iam` takes.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The program of IAM.
    #[arg(long, default_value = "target/release/iam")]
    iam: PathBuf,
    /// The program of the store.
    #[arg(long, default_value = "target/release/chainfire")]
    chainfire: PathBuf,
    /// Users that it grows to; each has one binding.
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Requests in flight, one connection each.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// Measured time of a run in seconds, after a warm-up of a tenth of it.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Runs of each measure; the one with the median rate counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Restarts of the grown service, of which each is timed.
    #[arg(long, default_value_t = 3)]
    restarts: usize,
    /// Where data goes.
    #[arg(long, default_value = "target")]
    directory: PathBuf,
}

/// One line of the table.
struct Row {
    title: String,
    outcome: Outcome,
    /// The service's CPU time for a request, in microseconds.
    cpu_us: f64,
}

/// Measures everything and prints it.
///
/// # Errors
/// What went wrong first. An answer that is not the expected one ends the run.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(options.runs > 0, "--runs must be at least 1");
    ensure!(options.users >= FEW, "--users must be at least {FEW}");
    let scratch = tempfile::tempdir_in(&options.directory)?;
    let mut iam = Iam::first_start(&options.iam, &options.chainfire, scratch.path()).await?;
    let template = grow::furnish(&mut iam).await?;
    iam.stop()?;
    println!("making {} users and bindings", options.users);
    let first = grow::add(&iam, &template, 0..FEW).await?;
    iam.start().await?;
    let mut rows = Vec::new();
    for question in [Question::Alive, Question::Check, Question::Verify] {
        rows.push(measure(&options, &iam, question, FEW).await?);
    }
    let empty_mib = iam.process()?.resident_mib()?;

    iam.stop()?;
    let took = grow::add(&iam, &template, FEW..options.users).await?;
    println!("filled the store in {:.1} s", (first + took).as_secs_f64());
    let mut starts = Vec::new();
    for _ in 0..options.restarts.max(1) {
        iam.stop()?;
        starts.push(iam.start().await?);
    }
    starts.sort_unstable();
    let at_start_mib = iam.process()?.resident_mib()?;
    for question in [Question::Check, Question::Verify] {
        rows.push(measure(&options, &iam, question, options.users).await?);
    }
    let used_mib = iam.process()?.resident_mib()?;

    print_table(&rows, options.clients);
    let start = starts[starts.len() / 2];
    println!(
        "start to ready with {} users and bindings: {:.2} s ({:.2} - {:.2})",
        options.users,
        start.as_secs_f64(),
        starts[0].as_secs_f64(),
        starts[starts.len() - 1].as_secs_f64()
    );
    println!(
        "resident memory: {empty_mib:.0} MiB with {FEW} users after load; with {} {at_start_mib:.0} MiB after the \
         start, {used_mib:.0} MiB after load",
        options.users
    );
    Ok(())
}

async fn measure(
    options: &Options,
    iam: &Iam,
    question: Question,
    users: u64,
) -> anyhow::Result<Row> {
    let title = format!("{}, {users} users and bindings", question.title());
    let tokens = ask::tokens(iam, FEW).await?;
    let duration = Duration::from_secs_f64(options.seconds);
    let mut rows = Vec::new();
    for _ in 0..options.runs {
        let mut workers = Vec::new();
        for _ in 0..options.clients {
            workers.push(Ask::connect(iam, question, users, &tokens).await?);
        }
        let before = iam.process()?.cpu_s()?;
        let outcome = drive(workers, duration / 10, duration).await?;
        let cpu_s = iam.process()?.cpu_s()? - before;
        println!("{title}: {:.0} /s", outcome.rate());
        rows.push(Row {
            title: title.clone(),
            cpu_us: cpu_s * 1e6 / outcome.operations_with_warm_up as f64,
            outcome,
        });
    }
    rows.sort_by(|a, b| a.outcome.rate().total_cmp(&b.outcome.rate()));
    Ok(rows.swap_remove(rows.len() / 2))
}

fn print_table(rows: &[Row], clients: u64) {
    println!();
    println!("| REST, {clients} in flight | per second | p50 ms | p99 ms | IAM's CPU µs each |");
    println!("|---|---|---|---|---|");
    for row in rows {
        let ms = |quantile| row.outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.0} |",
            row.title,
            row.outcome.rate(),
            ms(0.5),
            ms(0.99),
            row.cpu_us
        );
    }
    println!();
}
