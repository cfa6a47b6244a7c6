//! The commands that speak to IAM, over its REST API.
//!
//! ```text
//!   Session (crate::rest) ─> IAM
//!     │ login, whoami, token, check, …: login.rs, token.rs, check.rs, audit.rs, host.rs, join.rs, renew.rs, enforce.rs
//!     └ everything that is created, listed, changed, deleted: resource.rs, by the tables of kinds.rs
//! ```
//! Passwords and API keys are never arguments.

mod audit;
mod check;
mod enforce;
mod host;
mod join;
mod kinds;
mod login;
mod renew;
mod resource;
mod secret;
mod token;

pub(crate) mod cli;

use self::cli::Command;
pub(crate) use self::renew::renew_certificate;
use crate::{
    cli::Connection,
    failure::Failure,
    output::Format,
    rest::{Session, cli::Access},
};

/// Runs one command.
pub(crate) async fn run(
    connection: &Connection,
    access: &Access,
    format: Format,
    command: Command,
) -> Result<(), Failure> {
    let session = Session::open(connection, access)?;
    match command {
        Command::Login(options) => session.login(format, options).await,
        Command::Logout => session.logout(format).await,
        Command::Context(command) => session.context(format, command),
        Command::Whoami => session.whoami(format).await,
        Command::Token(command) => token::run(&session, format, command).await,
        Command::Check(options) => check::run(&session, format, options).await,
        Command::Audit(command) => audit::run(&session, format, command).await,
        Command::Host(command) => host::run(&session, format, command).await,
        Command::Enforce(options) => enforce::run(&session, format, options).await,
        Command::Org(command) => kinds::org(&session, format, command).await,
        Command::Project(command) => kinds::project(&session, format, command).await,
        Command::User(command) => kinds::user(&session, format, command).await,
        Command::Group(command) => kinds::group(&session, format, command).await,
        Command::Serviceaccount(command) => kinds::service_account(&session, format, command).await,
        Command::Credential(command) => kinds::credential(&session, format, command).await,
        Command::Role(command) => kinds::role(&session, format, command).await,
        Command::Binding(command) => kinds::binding(&session, format, command).await,
        Command::Deny(command) => kinds::deny(&session, format, command).await,
        Command::Key(command) => kinds::key(&session, format, command).await,
    }
}
