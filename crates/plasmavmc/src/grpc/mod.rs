//! The gRPC doors: `photon.plasmavmc.v1`, the use cases of the REST doors in other words.
//!
//! Each service's is the `grpc.rs` of its resource. Nothing is decided here. Every method of the proto stands in `methods.rs`
//! with what it needs; one that does not keeps the service from starting.

pub(crate) mod fields;
mod methods;

use std::sync::Arc;

use photon_auth::Context;
use photon_core::Error;
use photon_proto::{
    PLASMAVMC_FILE_DESCRIPTOR_SET,
    photon::plasmavmc::v1::{
        hosts_server::HostsServer, images_server::ImagesServer,
        operations_server::OperationsServer, pools_server::PoolsServer,
        snapshots_server::SnapshotsServer, vms_server::VmsServer, volumes_server::VolumesServer,
    },
};
use photon_server::grpc::{GoWords, status};
use tonic::{Request, Response, Status, service::Routes};

use crate::app::App;

/// The doors: one value that implements every service.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    app: Arc<App>,
}

impl Doors {
    /// Runs a use case for the caller of `request` and sends what comes of it.
    pub(crate) async fn serve<Q, A, W>(
        &self,
        request: Request<Q>,
        work: impl FnOnce(Arc<App>, Context, Q) -> W,
    ) -> Result<Response<A>, Status>
    where
        W: Future<Output = Result<A, Error>>,
    {
        let ctx = Context::of(&request)?;
        let answer = work(Arc::clone(&self.app), ctx, request.into_inner()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }
}

/// Every service behind its guard, and reflection. Health is the daemon's.
///
/// # Errors
/// A method that `methods.rs` does not know.
pub(crate) fn routes(app: &Arc<App>) -> anyhow::Result<Routes> {
    let set = PLASMAVMC_FILE_DESCRIPTOR_SET;
    photon_service::grpc::routes(&app.auth, methods::guard(set), set, services(app))
}

/// What each method needs, for tests that try them all.
#[must_use]
pub fn declared() -> std::collections::BTreeMap<String, photon_auth::grpc::Needs> {
    methods::guard(PLASMAVMC_FILE_DESCRIPTOR_SET)
        .declared()
        .clone()
}

fn services(app: &Arc<App>) -> Routes {
    let doors = Doors {
        app: Arc::clone(app),
    };
    // As much as REST takes.
    let limit = app.config.http.body_bytes;
    macro_rules! served {
        ($($server:ident),*) => {
            Routes::default()$(.add_service(GoWords(
                $server::new(doors.clone()).max_decoding_message_size(limit),
            )))*
        };
    }
    served!(
        VmsServer,
        ImagesServer,
        SnapshotsServer,
        VolumesServer,
        PoolsServer,
        HostsServer,
        OperationsServer
    )
}
