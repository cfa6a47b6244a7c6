//! `chainfire`: one node of the store.

use std::{path::PathBuf, process::ExitCode};

use chainfire::{
    config::{Cluster, Config},
    run::{self, Sockets},
};
use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};

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
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where everything is kept; overrides `data_dir`.
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
    let args = match cli.command {
        Some(Command::Run(args)) => args,
        None => cli.run,
    };
    main_with(&args.common, "CHAINFIRE", async |config, stop| {
        let running = run::start(args.over(config), Sockets::default()).await?;
        running.run_until(stop).await;
        Ok(())
    })
}
