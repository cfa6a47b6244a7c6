//! The commands that speak to CreditService, over its REST API.
//!
//! ```text
//!   Session (crate::rest) ─> Credit ─> wallet.rs, reservation.rs, transaction.rs, quota.rs, price.rs
//! ```
//! Every change carries an `Idempotency-Key`, so that a lost answer is asked for again without making the change twice. People
//! see amounts with their currency; programs see the service's own numbers.

pub(crate) mod cli;

mod connection;
mod money;
mod price;
mod quota;
mod record;
mod reservation;
mod transaction;
mod wallet;

use self::{cli::Command, connection::Credit};
use crate::{
    cli::Connection,
    failure::Failure,
    output::Format,
    rest::{
        Session,
        cli::{Access, Once},
    },
};

/// Runs one command.
pub(crate) async fn run(
    connection: &Connection,
    access: &Access,
    format: Format,
    command: Command,
) -> Result<(), Failure> {
    let session = Session::open(connection, access)?;
    let credit = Credit::open(&session, format)?;
    match command {
        Command::Wallet(command) => wallet::run(&credit, command).await,
        Command::Reservation(command) => reservation::run(&credit, command).await,
        Command::Transactions(asked) => transaction::transactions(&credit, asked).await,
        Command::Statement(asked) => transaction::statement(&credit, asked).await,
        Command::Quota(command) => quota::run(&credit, command).await,
        Command::Price(command) => price::run(&credit, command).await,
    }
}
