//! CreditService beside the ledger that one would keep in PostgreSQL: reservations and their commits in turns; and a
//! ledger of many wallets and entries, its memory and the time to start.
//!
//! ```text
//! postgres.rs  Debian's PostgreSQL, durable, in a cluster of its own
//! rows.rs      the ledger in it: SELECT … FOR UPDATE, statement by statement, or in one function
//! doors.rs     the same reservations over its REST and its gRPC
//! pairs.rs     what one client does over and over, on any of them
//! sides.rs     all of them, started, and what each has used
//! rounds.rs    the runs in turns
//! table.rs     medians and ratios
//! grown.rs     many wallets with their history: start and memory
//! journal.rs   writes that history as the service would have
//! ```
//!
//! Servers are processes of their own; the load comes from this one. All share the machine's cores and the disk.

mod doors;
mod grown;
mod journal;
mod pairs;
mod postgres;
mod rounds;
mod rows;
mod sides;
mod table;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use self::sides::SideKind;

/// What `photon-bench credit` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The program of CreditService.
    #[arg(long, default_value = "target/release/creditservice")]
    creditservice: PathBuf,
    /// The program of the store.
    #[arg(long, default_value = "target/release/chainfire")]
    chainfire: PathBuf,
    /// Where PostgreSQL's programs are.
    #[arg(long, default_value = "/usr/lib/postgresql/15/bin")]
    postgres: PathBuf,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Hot, Part::Many, Part::Grown])]
    only: Vec<Part>,
    /// Who is measured. The first is what the others are compared with.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = SideKind::ALL)]
    sides: Vec<SideKind>,
    /// Requests in flight. One connection each, but for gRPC.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Connections that gRPC's requests share: a service has one for all its calls.
    #[arg(long, default_value_t = 4)]
    grpc_connections: usize,
    /// Into how many shards the service spreads projects, instead of as many as it would itself. For experiments; the grown
    /// ledger has the service's own.
    #[arg(long)]
    shards: Option<u16>,
    /// Wallets of the second measure.
    #[arg(long, default_value_t = 1_000)]
    wallets: u64,
    /// Measured time of a run in seconds, after a warm-up of a tenth of it.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Pause after a run, so that what it left to be done in the background burdens nobody else.
    #[arg(long, default_value_t = 2.0)]
    settle_seconds: f64,
    /// Runs of each measure on each side.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Wallets of the grown ledger, with ten entries each.
    #[arg(long, default_value_t = 100_000)]
    grown_wallets: u64,
    /// Restarts of the grown service, of which each is timed.
    #[arg(long, default_value_t = 3)]
    restarts: usize,
    /// Where all data goes. PostgreSQL's user must be able to enter it.
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Write the table here too.
    #[arg(long)]
    markdown: Option<PathBuf>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// All pairs on one wallet.
    Hot,
    /// Pairs on many wallets.
    Many,
    /// Memory and start with many wallets and entries.
    Grown,
}

impl Part {
    /// What it is called in tables.
    fn title(self, options: &Options) -> String {
        let clients = options.clients;
        match self {
            Self::Hot => format!("one wallet, {clients} in flight"),
            Self::Many => format!("{} wallets, {clients} in flight", options.wallets),
            Self::Grown => format!("{} wallets, ten entries each", options.grown_wallets),
        }
    }
}

/// Measures what is wanted, and prints it.
///
/// # Errors
/// What went wrong first. An answer that is not the expected one ends the run, and so does a balance that is not the sum
/// of what was acknowledged.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(
        options.rounds > 0 && options.clients > 0 && options.grpc_connections > 0,
        "--rounds, --clients and --grpc-connections must be at least 1"
    );
    ensure!(!options.sides.is_empty(), "--sides names nobody");
    let wants = |part| options.only.contains(&part);
    let mut report = String::new();
    if wants(Part::Hot) || wants(Part::Many) {
        let rows = Box::pin(rounds::run(&options)).await?;
        report.push_str(&table::markdown(&rows));
    }
    if wants(Part::Grown) {
        report.push_str(&Box::pin(grown::run(&options)).await?);
    }
    println!("\n{report}");
    if let Some(path) = &options.markdown {
        std::fs::write(path, &report).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A directory of its own that others may enter, as PostgreSQL's user has to.
fn scratch(options: &Options) -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::tempdir_in(&options.directory)
        .with_context(|| options.directory.display().to_string())?;
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o711))?;
    Ok(scratch)
}
