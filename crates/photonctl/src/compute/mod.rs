//! The commands that speak to PlasmaVMC, over its REST API.
//!
//! ```text
//!   Session, Things (crate::rest) ─> vm.rs ─> wait.rs: until a VM is as it should be
//!                                    volume.rs, snapshot.rs ─> wait.rs
//!                                    image.rs ─> upload.rs: bytes, in pieces
//!                                    console.rs, operation.rs, host.rs, pool.rs
//! ```
//! A request only says what is wanted; what comes of it takes longer. Who wants to know how it ends waits: with `--wait`, `vm wait`
//! or `operation get --follow`, each with a deadline.

pub(crate) mod cli;

mod console;
mod host;
mod image;
mod operation;
mod pool;
mod snapshot;
mod upload;
mod vm;
mod volume;
mod wait;

use self::cli::Command;
pub(crate) use self::host::list as hosts;
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
    let service = session.compute()?;
    match command {
        Command::Vm(command) => {
            let vms = Things::new(&session, service, format, vm::for_people);
            vm::run(&vms, command).await
        }
        Command::Image(command) => {
            let images = Things::new(&session, service, format, std::convert::identity);
            image::run(&images, *command).await
        }
        Command::Volume(command) => {
            let volumes = Things::new(&session, service, format, vm::for_people);
            volume::run(&volumes, *command).await
        }
        Command::Snapshot(command) => {
            let snapshots = Things::new(&session, service, format, vm::for_people);
            snapshot::run(&snapshots, *command).await
        }
        Command::Pool(command) => {
            let pools = Things::new(&session, service, format, std::convert::identity);
            pool::run(&pools, command).await
        }
        Command::Operation(command) => operation::run(&service, format, command).await,
    }
}
