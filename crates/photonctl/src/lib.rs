//! PhotonCloud's command line.
//!
//! ```text
//!   photonctl kv | watch | lease | member | status     over chainfire-client: photon.chainfire.v1
//!   photonctl store init | services                    over etcd-client: works on any etcd v3 store
//!   photonctl pki                                      files only, no network; renew --online over REST: IAM
//!   photonctl login | whoami | org | user | check ...  over REST: IAM
//!   photonctl wallet | reservation | quota | price ... over REST: CreditService
//!   photonctl vpc | subnet | port | securitygroup ...  over REST: PrismNET
//!   photonctl vm | image | volume | snapshot | pool    over REST: PlasmaVMC
//!   photonctl operation | host list                    over REST: PlasmaVMC
//! ```
//! Prints tables for people; `-o json` (or `--json`) and `-o yaml` print one document (of a watch, one per message).
//! Messages and errors go to stderr, so stdout can be piped. Exit codes are in [`failure`].

#![allow(
    clippy::print_stdout,
    reason = "a command line prints its results to stdout"
)]

pub mod cli;
pub mod failure;

mod compute;
mod connection;
mod credit;
mod iam;
mod kv;
mod lease;
mod member;
mod network;
mod output;
mod pki;
mod rest;
mod services;
mod status;
mod store;
mod watch;

use self::{
    cli::{Cli, Command},
    failure::Failure,
    output::Format,
};

/// Runs one command.
///
/// # Errors
/// What went wrong, with the exit code it stands for.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    let format = cli.format();
    if format == Format::CSV
        && !matches!(
            cli.command,
            Command::Credit(credit::cli::Command::Statement(_))
        )
    {
        return Err(Failure::usage("-o csv is for statements"));
    }
    let Cli {
        connection,
        access,
        command,
        ..
    } = cli;
    match command {
        Command::Kv(command) => kv::run(&connection, format, command).await,
        Command::Watch(options) => watch::run(&connection, format, options).await,
        Command::Lease(command) => lease::run(&connection, format, command).await,
        Command::Member(command) => member::run(&connection, format, command).await,
        Command::Status => status::run(&connection, format).await,
        Command::Services { service } => services::run(&connection, format, service).await,
        Command::Pki(cli::Pki::Renew(options)) if options.online => {
            iam::renew_certificate(&connection, &access, format, options.force).await
        }
        Command::Pki(command) => pki::run(format, command),
        Command::Store(command) => store::run(&connection, format, command).await,
        Command::Iam(command) => iam::run(&connection, &access, format, command).await,
        Command::Credit(command) => credit::run(&connection, &access, format, command).await,
        Command::Network(command) => network::run(&connection, &access, format, command).await,
        Command::Compute(command) => compute::run(&connection, &access, format, command).await,
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut grammar = <Cli as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut grammar, "photonctl", &mut script);
    output::bytes(&script)
}
