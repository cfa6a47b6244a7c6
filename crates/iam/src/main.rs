//! `iam`: the service, its first start, and the way back in.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use iam::{Config, Sockets, audit, init};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// IAM: who someone is, and what they may do. Without a command it serves.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Once(init::Command),
    /// Checks exported audit records: those of one trail, or of every trail in the directory.
    VerifyAudit {
        /// `audit.export_dir`, or a trail's directory in it.
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let command = match command {
        Some(Command::VerifyAudit { directory }) => return audit::command::verify(&directory),
        Some(Command::Once(command)) => Some(command),
        None => None,
    };
    main_with(&common, "IAM", async |config: Config, stop| match command {
        Some(command) => command.run(&config).await,
        None => {
            let running = iam::start(config, Sockets::default()).await?;
            running.run_until(stop).await;
            Ok(())
        }
    })
}
