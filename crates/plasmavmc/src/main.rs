//! `plasmavmc`: the control plane.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use plasmavmc::{Config, Sockets};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// PlasmaVMC: virtual machines.
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
    /// Accepts the store as it is now, after it was restored or replaced: running processes then go on with what it says.
    AcceptStore,
}

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    main_with(&common, "PLASMAVMC", async |config: Config, stop| {
        if let Some(Command::AcceptStore) = command {
            let seen = plasmavmc::accept_store(&config).await?;
            let (cluster, revision) = (seen.cluster_id, seen.revision);
            // Who reads no further has what it wanted.
            let _ = writeln!(
                std::io::stdout(),
                "accepted: cluster {cluster:x} at revision {revision}"
            );
            return Ok(());
        }
        let running = plasmavmc::start(config, Sockets::default()).await?;
        running.run_until(stop).await;
        Ok(())
    })
}
