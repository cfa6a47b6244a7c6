//! `iam`: the service, its first start, and the way back in.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use iam::{Config, Sockets, audit, init};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use photon_service::store_change::say_accepted;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What settings in the environment begin with.
const PREFIX: &str = "IAM";

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
    /// Accepts the store as it is now, after it was restored or replaced: running processes then go on with what it says.
    AcceptStore,
    /// Checks exported audit records: those of one trail, or of every trail in the directory.
    VerifyAudit {
        /// `audit.export_dir`, or a trail's directory in it.
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    match command {
        Some(Command::VerifyAudit { directory }) => audit::command::verify(&directory),
        Some(Command::Once(once)) => main_with(&common, PREFIX, async |config: Config, _| {
            once.run(&config).await
        }),
        Some(Command::AcceptStore) => main_with(&common, PREFIX, async |config: Config, _| {
            say_accepted(&iam::accept_store(&config).await?);
            Ok(())
        }),
        None => main_with(&common, PREFIX, async |config: Config, stop| {
            let running = iam::start(config, Sockets::default()).await?;
            running.run_until(stop).await;
            Ok(())
        }),
    }
}
