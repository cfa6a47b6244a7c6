//! The door: what the control plane, and the agents of other hosts, ask of this one (`photon.plasmavmc.agent.v1`).
//!
//! ```text
//!   client certificate ──> caller.rs: who may ask what ──> blobs.rs    ──> crate::blobs
//!                                                 └─> consoles.rs ──> crate::console
//! ```
//!
//! One module for each service; all of them are put together in [`open`]. Without certificates it opens on loopback only, and only if
//! the store is there without them, too: whoever is on this machine may then ask everything.

mod blobs;
mod caller;
mod consoles;

use std::{net::SocketAddr, sync::Arc};

use photon_proto::photon::plasmavmc::agent::v1::{
    blobs_server::BlobsServer, consoles_server::ConsolesServer,
};
use photon_server::{Daemon, Listen, Mode, Running};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{blobs::Blobs, config::Config, console::Consoles};

/// Bytes of the largest message: a piece of content.
const LARGEST: usize = 2 * plasmavmc_door::blobs::PIECE;

/// A door that is open.
#[derive(Debug)]
pub struct Open {
    /// Where others find it.
    pub url: String,
    running: Running,
}

/// Opens the door; `None` if this host is to have none, with the reason.
///
/// # Errors
/// An address in use, certificates that cannot be used.
pub async fn open(
    config: &Config,
    blobs: Arc<Blobs>,
    consoles: Consoles,
    stop: CancellationToken,
) -> anyhow::Result<Result<Open, String>> {
    let door = &config.door;
    if door.tls.is_none() && config.store.tls.is_some() {
        let why =
            "door.tls is not set: nobody can copy images from or to this host, or reach a console";
        return Ok(Err(why.to_owned()));
    }
    let socket = TcpListener::bind(door.listen).await.map_err(|error| {
        anyhow::anyhow!("door.listen: cannot listen on {}: {error}", door.listen)
    })?;
    let is_encrypted = door.tls.is_some();
    let url = url(config, socket.local_addr()?);
    let keeper = caller::Keeper { is_encrypted };
    let blobs = blobs::Doors { keeper, blobs };
    let consoles = consoles::Doors { keeper, consoles };
    let routes = Routes::default()
        .add_service(
            BlobsServer::new(blobs)
                .max_decoding_message_size(LARGEST)
                .max_encoding_message_size(LARGEST),
        )
        .add_service(ConsolesServer::new(consoles));
    let mode = if is_encrypted {
        Mode::Enforce
    } else {
        Mode::Dev
    };
    let running = Daemon::new("plasmavmc-agent", env!("CARGO_PKG_VERSION"))
        .mode(mode)
        .grpc(Listen::bound(socket, door.tls.clone()), routes)
        .start(stop)?;
    Ok(Ok(Open { url, running }))
}

impl Open {
    /// Returns when it was told to close and has.
    pub async fn wait(self) {
        self.running.wait().await;
    }
}

/// What is advertised: as configured, with the port that was taken if none is named.
fn url(config: &Config, bound: SocketAddr) -> String {
    let scheme = match config.door.tls {
        Some(_) => "https",
        None => "http",
    };
    let address = config.door.advertise.clone();
    let address = address.unwrap_or_else(|| bound.to_string());
    format!("{scheme}://{address}")
}
