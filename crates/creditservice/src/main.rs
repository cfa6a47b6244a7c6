//! `creditservice`: the service.

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use creditservice::{Config, Sockets, export::command::verify_journal};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use photon_service::store_change::say_accepted;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// CreditService: what projects pay from, and how much of everything they may have. Without a command it serves.
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
    /// Checks the journals, from their first block to their head: every hash, every link, every entry. Reads the store and
    /// exported files; the service may run or not.
    VerifyJournal {
        /// With exported files, besides `export.directory`: those of other hosts.
        #[arg(long, value_name = "DIR")]
        directory: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    main_with(
        &common,
        "CREDITSERVICE",
        async |config: Config, stop| match command {
            Some(Command::AcceptStore) => {
                say_accepted(&creditservice::accept_store(&config).await?);
                Ok(())
            }
            Some(Command::VerifyJournal { directory }) => {
                verify_journal(&config, &directory, &mut io::stdout().lock()).await
            }
            None => {
                let running = creditservice::start(config, Sockets::default()).await?;
                running.run_until(stop).await;
                Ok(())
            }
        },
    )
}
