//! PrismNET: its API, how soon a port answers and a rule counts, what the data path costs beside a bare bridge and a bare
//! VXLAN, and the agent's memory.
//!
//! ```text
//! api.rs      ports made per second, over REST and gRPC, and as bare transactions straight in the store (bare.rs)
//! list.rs     many ports by pages
//! realise.rs  from the API's answer to the first answered ping of a port
//! rule.rs     from the API's answer until a rule counts on all ports of a group, and until it no longer does
//! path.rs     throughput and latency between two ports, and between two ends of a bare bridge (plain.rs)
//! memory.rs   the agent's, by the ports it knows
//! lab.rs      hosts as network namespaces with an agent in each, and the control plane beside them
//! control.rs  the few requests that all of it is made with
//! probe.rs    pings, sent and counted in a namespace (inside.rs)
//! ```
//!
//! Servers and agents are processes of their own; load and pings come from this one. All share the machine's cores. All but
//! `api` and `list` need root. Namespaces are made in a directory of their own, and removed.

mod api;
mod bare;
pub(crate) mod control;
pub(crate) mod inside;
pub(crate) mod lab;
mod list;
mod memory;
mod path;
pub(crate) mod plain;
pub(crate) mod probe;
mod realise;
mod rule;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use self::lab::Programs;
use crate::figures::Report;

/// What `photon-bench network` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The program of the control plane.
    #[arg(long, default_value = "target/release/prismnet")]
    prismnet: PathBuf,
    /// The program of the agent.
    #[arg(long, default_value = "target/release/prismnet-agent")]
    agent: PathBuf,
    /// The program of the store.
    #[arg(long, default_value = "target/release/chainfire")]
    chainfire: PathBuf,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// Runs of each side, where sides are measured in turns, and walks through the pages.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Measured time of a run in seconds, after a warm-up of a tenth of it where there is one.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// api: requests in flight.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64])]
    clients: Vec<usize>,
    /// api: connections that gRPC's requests share, and the bare transactions.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// api: projects that ports are spread over. What waits for the audit trail of one is written together.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    projects: Vec<usize>,
    /// list: ports that there are.
    #[arg(long, default_value_t = 10_000)]
    listed: usize,
    /// realise: ports made one after another, and as many again in tens.
    #[arg(long, default_value_t = 50)]
    ports: usize,
    /// realise: ports that are on the host before.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 200])]
    beside: Vec<usize>,
    /// rule: ports of the group on the host.
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// path: rules of the two ports' group.
    #[arg(long, default_value_t = 100)]
    rules: usize,
    /// memory: ports that the agent knows.
    #[arg(long, default_value_t = 1_000)]
    known: usize,
    /// memory: how many of them are on its host.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 200])]
    here: Vec<usize>,
    /// Where all data goes.
    #[arg(long, default_value = "/var/tmp")]
    directory: PathBuf,
    /// Write the tables here too.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write the figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Ports made per second.
    Api,
    /// Pages of many ports.
    List,
    /// From the API's answer to the first answered ping.
    Realise,
    /// From the API's answer until a rule counts.
    Rule,
    /// Throughput and latency.
    Path,
    /// The agent's memory.
    Memory,
}

impl Part {
    const ALL: [Self; 6] = [
        Self::Api,
        Self::List,
        Self::Realise,
        Self::Rule,
        Self::Path,
        Self::Memory,
    ];

    fn needs_root(self) -> bool {
        !matches!(self, Self::Api | Self::List)
    }
}

impl Options {
    fn programs(&self) -> Programs<'_> {
        Programs {
            chainfire: &self.chainfire,
            prismnet: &self.prismnet,
            agent: &self.agent,
            directory: &self.directory,
        }
    }

    fn validate(&self) -> anyhow::Result<()> {
        let counts = [
            self.rounds,
            self.connections,
            self.listed,
            self.ports,
            self.members,
            self.rules,
        ];
        ensure!(!counts.contains(&0), "a count must be at least 1");
        ensure!(
            !self.clients.contains(&0) && !self.projects.contains(&0),
            "--clients and --projects must be at least 1"
        );
        ensure!(self.seconds > 0.0, "--seconds must be more than 0");
        ensure!(self.rules >= 2, "--rules must be at least 2");
        ensure!(
            self.members <= probe::MOST && self.ports <= realise::MOST,
            "at most {} --members and {} --ports",
            probe::MOST,
            realise::MOST
        );
        ensure!(
            self.here.iter().all(|here| (1..=self.known).contains(here)),
            "--here must be at least 1 and at most --known"
        );
        let wants_root = self.only.iter().any(|part| part.needs_root());
        if wants_root && !nix::unistd::geteuid().is_root() {
            bail!("network namespaces need root; without it: --only api,list");
        }
        Ok(())
    }
}

/// Measures what is wanted, and prints it.
///
/// # Errors
/// What went wrong first. An answer that is not the expected one ends the run.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    options.validate()?;
    let mut report = Report::of_this_machine();
    tokio::select! {
        measured = Box::pin(measure(&options, &mut report)) => measured?,
        // What was started and made goes with what is dropped here.
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted");
        }
    }
    Ok(())
}

/// Each part is written down as soon as it is done: the next one may fail.
async fn measure(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    for part in Part::ALL {
        if !options.only.contains(&part) {
            continue;
        }
        let table = match part {
            Part::Api => Box::pin(api::run(options)).await,
            Part::List => Box::pin(list::run(options)).await,
            Part::Realise => Box::pin(realise::run(options)).await,
            Part::Rule => Box::pin(rule::run(options)).await,
            Part::Path => Box::pin(path::run(options)).await,
            Part::Memory => Box::pin(memory::run(options)).await,
        };
        let table = table.with_context(|| format!("{part:?}"))?;
        println!("\n{}", table.markdown());
        report.add(table);
        if let Some(path) = &options.markdown {
            std::fs::write(path, report.markdown()).with_context(|| path.display().to_string())?;
        }
        if let Some(path) = &options.json {
            std::fs::write(path, report.json()?).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// A directory of this run.
fn scratch(options: &Options) -> anyhow::Result<tempfile::TempDir> {
    tempfile::tempdir_in(&options.directory)
        .with_context(|| options.directory.display().to_string())
}
