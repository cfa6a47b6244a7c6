//! The commands that speak to PrismNET, over its REST API.
//!
//! ```text
//!   Session, Things (crate::rest) ─> vpc.rs, subnet.rs, port.rs, group.rs, route.rs, external.rs, floating.rs
//!                                     └ kind.rs: how each kind is called, listed and found by its name
//! ```
//! Everything is known by its id, and by its name where only one thing has it. What makes something carries an
//! `Idempotency-Key`, so that a lost answer is asked for again without making it twice.

pub(crate) mod cli;

mod external;
mod floating;
mod group;
mod kind;
mod port;
mod route;
mod shown;
mod subnet;
mod vpc;

use self::cli::Command;
use crate::{
    cli::Connection,
    failure::Failure,
    output::Format,
    rest::{Session, cli::Access, things::Things},
};

/// Runs one command.
pub(crate) async fn run(
    connection: &Connection,
    access: &Access,
    format: Format,
    command: Command,
) -> Result<(), Failure> {
    let session = Session::open(connection, access)?;
    let network = Things::new(&session, session.network()?, format, shown::for_people);
    match command {
        Command::Vpc(command) => vpc::run(&network, command).await,
        Command::Subnet(command) => subnet::run(&network, command).await,
        Command::Port(command) => port::run(&network, command).await,
        Command::Securitygroup(command) => group::run(&network, command).await,
        Command::Route(command) => route::run(&network, command).await,
        Command::Externalnetwork(command) => external::run(&network, command).await,
        Command::Floatingip(command) => floating::run(&network, command).await,
    }
}
