//! `prismnet`: the control plane.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use prismnet::{Config, Sockets};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// PrismNET: tenant networks.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let Cli { common } = Cli::parse();
    main_with(&common, "PRISMNET", async |config: Config, stop| {
        let running = prismnet::start(config, Sockets::default()).await?;
        running.run_until(stop).await;
        Ok(())
    })
}
