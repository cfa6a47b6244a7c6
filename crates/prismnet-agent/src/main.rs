//! `prismnet-agent`: tenant networks on this host.

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use prismnet_agent::{
    Config,
    config::ENVIRONMENT,
    local::{
        ask::{Decided, decide},
        verdicts::Verdict,
    },
    run,
    survey::{Survey, survey},
};
use prismnet_model::PortId;

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
    /// A port that the store does not know stays on this host, and is no longer listed.
    Adopt {
        /// port-…
        port: PortId,
    },
    /// A port that the store does not know is taken down on this host, and nothing else; or a floating IP that it does not know
    /// is answered for no longer.
    Purge {
        /// port-…, or the floating IP's address
        orphan: Decided,
    },
}

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which an agent fills few: a third of its memory would be empty. A kernel that does
    // not know how costs memory, and nothing else.
    let _ = nix::sys::prctl::set_thp_disable(true);
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
                print(&match seen {
                    Some(seen) => format!(
                        "accepted: cluster {:016x}, revision {}",
                        seen.cluster_id, seen.revision
                    ),
                    None => "accepted: nothing is known of it yet".to_owned(),
                });
                Ok(())
            }
            Some(Command::Adopt { port }) => {
                decide(&config.socket, Decided::Port(port), Verdict::Adopted).await?;
                print(&format!("{port} stays"));
                Ok(())
            }
            Some(Command::Purge { orphan }) => {
                decide(&config.socket, orphan, Verdict::Purged).await?;
                print(&format!("{orphan} is gone"));
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

/// A command's answer. Who reads no further has what it wanted.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
