//! PlasmaVMC: how soon a VM runs and answers beside `qemu-img` and `virsh` by hand, many VMs, and memory.
//!
//! ```text
//! boot.rs     one VM: from the request to `Running` and to its first answered ping, beside the same domain by hand; in turns
//! many.rs     the same of several at once, beside a loop
//! list.rs     the records of many VMs: pages, single ones, the control plane's memory
//! memory.rs   the agent's, with VMs that run
//! cloud.rs    a host with both agents (or PlasmaVMC's alone), and the services that tell them
//! api.rs      VMs asked for over REST
//! peer.rs     what one does by hand, with virsh.rs, the network that it takes (bridge.rs) and its addresses (dhcp.rs)
//! model.rs    the definition of a VM that was made, and the same for another domain
//! sides.rs    both, with a guest of either kind
//! records.rs  what a VM leaves in the store, and the same many times
//! ping.rs     first answers
//! machines.rs processes of machines, and their end
//! ```
//!
//! All but `list` need root, libvirt and qemu. Guests are real; where KVM does not work they are emulated, on both sides. What was
//! made is removed, also after a failure and Ctrl-C: machines by their processes, networks with their namespaces, files with their
//! directory.

mod api;
mod boot;
mod bridge;
mod cloud;
mod dhcp;
mod list;
mod machines;
mod many;
mod memory;
mod model;
mod peer;
mod ping;
mod records;
mod sides;
mod virsh;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use crate::figures::{Report, Table};

/// The most VMs at once: a byte of their addresses by hand.
const MOST: usize = 200;

/// What `photon-bench vm` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The program of the control plane.
    #[arg(long, default_value = "target/release/plasmavmc")]
    plasmavmc: PathBuf,
    /// The program of the agent.
    #[arg(long, default_value = "target/release/plasmavmc-agent")]
    agent: PathBuf,
    /// The program of PrismNET's control plane.
    #[arg(long, default_value = "target/release/prismnet")]
    prismnet: PathBuf,
    /// The program of PrismNET's agent.
    #[arg(long, default_value = "target/release/prismnet-agent")]
    prismnet_agent: PathBuf,
    /// The program of the store.
    #[arg(long, default_value = "target/release/chainfire")]
    chainfire: PathBuf,
    /// photon-mini as deploy/guest/photon-mini/build makes it. Without it, it is built.
    #[arg(long)]
    guest: Option<PathBuf>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// boot: runs of each side; list: walks through the pages, and runs.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// many: runs of each side.
    #[arg(long, default_value_t = 5)]
    many_rounds: usize,
    /// many: VMs at once.
    #[arg(long, default_value_t = 8)]
    vms: usize,
    /// VMs without a network: nothing is pinged, and PrismNET is not needed.
    #[arg(long)]
    no_ping: bool,
    /// Does not try KVM: where it hangs, trying it takes a quarter of a minute.
    #[arg(long)]
    no_kvm: bool,
    /// list: VMs that there are.
    #[arg(long, default_value_t = 10_000)]
    listed: usize,
    /// list: requests in flight for single VMs.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64])]
    clients: Vec<usize>,
    /// list: measured time of such a run in seconds, after a warm-up of a tenth of it.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// memory: VMs that run.
    #[arg(long, default_value_t = 20)]
    running: usize,
    /// Where all data goes. Its path must be short: sockets are in it.
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
    /// One VM, from the request until it runs and answers.
    Boot,
    /// Several at once.
    Many,
    /// Pages, single VMs, and memory, with the records of many.
    List,
    /// The agent's memory.
    Memory,
}

impl Part {
    const ALL: [Self; 4] = [Self::Boot, Self::Many, Self::List, Self::Memory];

    fn needs_root(self) -> bool {
        self != Self::List
    }
}

impl Options {
    fn validate(&self) -> anyhow::Result<()> {
        let counts = [self.rounds, self.many_rounds, self.listed, self.running];
        ensure!(!counts.contains(&0), "a count must be at least 1");
        ensure!(self.listed >= 2, "--listed must be at least 2");
        ensure!(
            (1..=MOST).contains(&self.vms),
            "--vms must be from 1 to {MOST}"
        );
        ensure!(!self.clients.contains(&0), "--clients must be at least 1");
        ensure!(self.seconds > 0.0, "--seconds must be more than 0");
        let wants_root = self.only.iter().any(|part| part.needs_root());
        if wants_root && !nix::unistd::geteuid().is_root() {
            bail!("machines and network namespaces need root; without it: --only list");
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
        let tables: anyhow::Result<Vec<Table>> = match part {
            Part::Boot => Box::pin(boot::run(options)).await,
            Part::Many => Box::pin(many::run(options)).await,
            Part::List => Box::pin(list::run(options)).await,
            Part::Memory => Box::pin(memory::run(options)).await,
        };
        for table in tables.with_context(|| format!("{part:?}"))? {
            println!("\n{}", table.markdown());
            report.add(table);
        }
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
