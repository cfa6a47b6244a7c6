//! `plasmavmc-agent`: virtual machines on this host.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use photon_server::{CommonArgs, main_with};
use plasmavmc_agent::{
    Config,
    config::ENVIRONMENT,
    images::Images,
    orphans::decide,
    run,
    survey::{dry_run, survey},
    verdicts::Verdict,
};
use plasmavmc_model::VmId;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// PlasmaVMC on one host.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
    /// Prints what would be done, one line a step, and ends.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run, status and image: as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the agent; so it does without any command.
    Run,
    /// What is wanted here, and what the agent tells.
    Status,
    /// The images of this host.
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Accepts the store as it is now, after it was replaced or restored: the running agent then does what it says.
    AcceptStore,
    /// A VM that the store does not know stays on this host as it is, and is no longer listed.
    Adopt {
        /// vm-…
        vm: VmId,
    },
    /// A VM that the store does not know is taken down on this host, with its disks.
    Purge {
        /// vm-…
        vm: VmId,
    },
}

#[derive(Subcommand)]
enum ImageCommand {
    /// Takes in the image in a directory: its files and manifest.json, as deploy/guest/photon-mini/build makes them.
    Add {
        /// The directory.
        directory: PathBuf,
    },
    /// What is here.
    List,
}

fn main() -> ExitCode {
    // The allocator asks for huge pages, of which an agent fills few.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let Cli {
        common,
        dry_run: is_dry,
        json,
        command,
    } = Cli::parse();
    main_with(
        &common,
        ENVIRONMENT,
        async |config: Config, stop| match command {
            None | Some(Command::Run) if is_dry => show(&dry_run(&config).await?, json),
            None | Some(Command::Run) => run::run(config, stop).await,
            Some(Command::Status) => show(&survey(&config).await?, json),
            Some(Command::Image { command }) => image(&config, command, json),
            Some(Command::AcceptStore) => {
                run::accept_store(&config).await?;
                print("the store is accepted as it is");
                Ok(())
            }
            Some(Command::Adopt { vm }) => {
                decide(&config, vm, Verdict::Adopted).await?;
                print(&format!("{vm} stays"));
                Ok(())
            }
            Some(Command::Purge { vm }) => {
                decide(&config, vm, Verdict::Purged).await?;
                print(&format!("{vm} is gone"));
                Ok(())
            }
        },
    )
}

fn image(config: &Config, command: ImageCommand, json: bool) -> anyhow::Result<()> {
    let images = Images::new(&config.state_directory);
    match command {
        ImageCommand::Add { directory } => {
            let image = images.add(&directory)?;
            print(&format!("{} sha256:{}", image.name, image.digest()));
        }
        ImageCommand::List => {
            let held = images.list()?;
            if json {
                print(&serde_json::to_string_pretty(&held.images)?);
            } else {
                for image in &held.images {
                    let mebibytes = image.bytes >> 20;
                    print(&format!(
                        "{} sha256:{} {} {mebibytes} MiB",
                        image.name,
                        image.digest(),
                        image.arch
                    ));
                }
            }
            for problem in held.problems {
                tracing::warn!(problem, "an image cannot be used");
            }
        }
    }
    Ok(())
}

fn show<T: serde::Serialize + std::fmt::Display>(told: &T, json: bool) -> anyhow::Result<()> {
    if json {
        print(&serde_json::to_string_pretty(told)?);
    } else {
        print(told.to_string().trim_end());
    }
    Ok(())
}

/// A command's answer. Who reads no further has what it wanted.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
