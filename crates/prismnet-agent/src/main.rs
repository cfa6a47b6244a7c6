//! `prismnet-agent`: tenant networks on this host.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use prismnet_agent::{
    Config,
    config::ENVIRONMENT,
    run,
    survey::{Survey, survey},
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// PrismNET on one host.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    /// Prints what would be done, one line a step, and ends.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run and status: as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// What is wanted here, what is there, and the difference.
    Status,
    /// Accepts the store as it is now, after it was replaced or restored: the running agent then does what it says.
    AcceptStore,
}

fn main() -> ExitCode {
    let Cli {
        common,
        dry_run,
        json,
        command,
    } = Cli::parse();
    main_with(
        &common,
        ENVIRONMENT,
        async |config: Config, stop| match command {
            Some(Command::Status) => show(&survey(&config).await?, json, false),
            Some(Command::AcceptStore) => {
                let seen = run::accept_store(&config).await?;
                print(&format!("accepted: {seen:?}"));
                Ok(())
            }
            None if dry_run => show(&survey(&config).await?, json, true),
            None => run::run(config, stop).await,
        },
    )
}

fn show(survey: &Survey, json: bool, only_plan: bool) -> anyhow::Result<()> {
    if json {
        print(&serde_json::to_string_pretty(survey)?);
    } else if only_plan {
        survey.plan_lines().iter().for_each(|line| print(line));
    } else {
        print(survey.to_string().trim_end());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a command's answer")]
fn print(text: &str) {
    println!("{text}");
}
