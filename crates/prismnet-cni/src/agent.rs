//! The agent of this host.

use std::{path::Path, time::Duration};

use photon_proto::photon::host::v1::ports_client::PortsClient;
use tonic::{
    Code as Grpc, Request, Status,
    transport::{Channel, Endpoint},
};

use crate::failure::{Code, Failure};

/// How long a call may take: the agent waits that long for the port to be there.
const CALL: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(2);

/// It does not answer.
#[derive(Clone, Debug)]
pub struct Away(pub String);

/// Connects.
///
/// # Errors
/// Nobody serves the socket.
pub async fn connect(socket: &Path) -> Result<PortsClient<Channel>, Away> {
    let away = |error: &dyn std::error::Error| {
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            said = format!("{said}: {error}");
            cause = error.source();
        }
        Away(format!("{}: {said}", socket.display()))
    };
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()));
    let endpoint = endpoint.map_err(|error| away(&error))?;
    let endpoint = endpoint.connect_timeout(CONNECT);
    let channel = tokio::time::timeout(CONNECT, endpoint.connect()).await;
    let channel = channel.map_err(|late| away(&late))?;
    channel.map(PortsClient::new).map_err(|error| away(&error))
}

/// A request with its end.
pub fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

impl From<Away> for Failure {
    fn from(Away(why): Away) -> Self {
        Self::new(Code::Later, "prismnet-agent does not answer").because(why)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Grpc::NotFound => Code::NoPort,
            Grpc::FailedPrecondition => Code::Unfit,
            Grpc::PermissionDenied | Grpc::Unauthenticated => Code::Forbidden,
            Grpc::InvalidArgument => Code::Config,
            Grpc::DeadlineExceeded
            | Grpc::Cancelled
            | Grpc::Unavailable
            | Grpc::ResourceExhausted => Code::Later,
            _ => Code::Agent,
        };
        Self::new(code, status.message())
    }
}
