//! `creditservice`: the service.

use std::process::ExitCode;

use clap::Parser;
use creditservice::{Config, Sockets};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// CreditService: what projects pay from, and how much of everything they may have.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let Cli { common } = Cli::parse();
    main_with(&common, "CREDITSERVICE", async |config: Config, stop| {
        let running = creditservice::start(config, Sockets::default()).await?;
        running.run_until(stop).await;
        Ok(())
    })
}
