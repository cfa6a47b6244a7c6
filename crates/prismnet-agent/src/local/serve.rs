//! The server on the socket: who may ask, and how much.

use std::{sync::Arc, time::Duration};

use photon_proto::photon::host::v1::{orphans_server::OrphansServer, ports_server::PortsServer};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::{Interceptor, InterceptorLayer},
    transport::{Server, server::UdsConnectInfo},
};

use super::{
    door::Door,
    known::Local,
    peer::{Allowed, incoming},
    socket::Socket,
};

/// The most bytes of a request.
const LARGEST: usize = 64 << 10;
/// The most calls of one connection at once.
const MOST_CALLS: u32 = 64;
/// How long a call may take, whatever it waits for.
const LONGEST: Duration = Duration::from_secs(150);

/// Until it is stopped; calls that wait then are cut off.
///
/// # Errors
/// If the socket fails.
pub async fn serve(
    socket: Socket,
    local: Arc<Local>,
    uids: Vec<u32>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let allowed = Allowed::new(uids);
    let door = Door::new(local);
    let ports = PortsServer::new(door.clone()).max_decoding_message_size(LARGEST);
    let orphans = OrphansServer::new(door).max_decoding_message_size(LARGEST);
    let Socket { listener, _alone } = socket;
    let server = Server::builder()
        .timeout(LONGEST)
        .max_concurrent_streams(MOST_CALLS)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .layer(InterceptorLayer::new(Guard(allowed.clone())))
        .add_service(ports)
        .add_service(orphans)
        .serve_with_incoming(incoming(listener, allowed));
    stop.run_until_cancelled(server).await.unwrap_or(Ok(()))
}

/// Lets in root and those of the configuration, as the kernel says who they are.
#[derive(Clone, Debug)]
struct Guard(Allowed);

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>();
        let uid = peer
            .and_then(|peer| peer.peer_cred)
            .map(|found| found.uid());
        match uid {
            Some(uid) if self.0.has(uid) => Ok(request),
            Some(uid) => Err(Status::permission_denied(format!(
                "user {uid} may not ask this agent"
            ))),
            None => Err(Status::permission_denied("nobody knows who asks")),
        }
    }
}
