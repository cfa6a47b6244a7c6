//! `chainfire`: one node of the store, and what is done to one that does not run.

mod commands;

use std::{path::PathBuf, process::ExitCode};

use chainfire::{
    config::{Cluster, Config},
    run::{self, Sockets},
};
use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};

use self::commands::{CheckArgs, RecoverArgs, SnapshotCommand, say};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// ChainFire, a Raft key-value store that speaks etcd v3.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a node (what happens without a subcommand).
    Run(RunArgs),
    /// Backups: save one from a running node, verify one, make a new cluster of one.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Makes the survivor of a lost quorum the only member of a new cluster.
    Recover(RecoverArgs),
    /// Reads everything in the data directory of a node that does not run.
    Check(CheckArgs),
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where everything is kept; overrides `data_dir`. With --check it is checked, too.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Waits until a cluster adds this node, if the data directory is empty; overrides `cluster`.
    #[arg(long)]
    join: bool,
}

impl RunArgs {
    fn over(&self, mut config: Config) -> Config {
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if self.join {
            config.cluster = Cluster::Join;
        }
        config
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Some(Command::Run(args)) => node(&args),
        None => node(&cli.run),
        Some(Command::Snapshot(command)) => say(command.run()),
        Some(Command::Recover(args)) => say(args.run()),
        Some(Command::Check(args)) => say(args.run()),
    }
}

fn node(args: &RunArgs) -> ExitCode {
    if let (true, Some(data_dir)) = (args.common.check, &args.data_dir) {
        let config = args.common.config.as_deref();
        return say(commands::check_both(config, data_dir));
    }
    main_with(&args.common, "CHAINFIRE", async |config, stop| {
        let running = run::open(args.over(config), Sockets::default()).await?;
        running.run_until(stop).await;
        Ok(())
    })
}
