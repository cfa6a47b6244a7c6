//! etcd v3 on the client port: gRPC services and HTTP paths. Thin doors: they find out who calls, hand the
//! message to [`App`] and render its answer.
//!
//! Source of the behaviour: etcd 3.6, `server/etcdserver/api/v3rpc`. Where 3.4 differs, 3.6 holds.

mod auth;
mod cluster;
mod election;
mod enter;
mod gate;
mod http;
mod kv;
mod lease;
mod line;
mod lock;
mod maintenance;
mod watch;

use std::sync::Arc;

use axum::Router;
use photon_proto::{
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer,
        watch_server::WatchServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use photon_server::grpc::GoWords;
use tonic::service::Routes;

pub use self::gate::Gate;
pub(crate) use self::{enter::refuse, gate::admit};
use crate::app::App;

/// What a gRPC message may exceed the largest write by: etcd's allowance for everything around it.
const GRPC_OVERHEAD: usize = 512 << 10;

/// Marks a call that came by the JSON gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByGateway;

/// Names of the gRPC services, for health reports.
pub const SERVICES: &[&str] = &[
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
];

/// etcd's gRPC services.
pub fn grpc(app: &Arc<App>) -> Routes {
    let limit = app.config().limits.request_bytes + GRPC_OVERHEAD;
    macro_rules! service {
        ($server:ident, $door:expr) => {
            Gate::before(
                GoWords(
                    $server::new($door(Arc::clone(app)))
                        .max_decoding_message_size(limit)
                        .max_encoding_message_size(usize::MAX),
                ),
                app,
                refuse,
            )
        };
    }
    Routes::new(service!(KvServer, kv::KvDoor))
        .add_service(service!(WatchServer, watch::WatchDoor))
        .add_service(service!(LeaseServer, lease::LeaseDoor))
        .add_service(service!(ClusterServer, cluster::ClusterDoor))
        .add_service(service!(MaintenanceServer, maintenance::MaintenanceDoor))
        .add_service(service!(AuthServer, auth::AuthDoor))
        .add_service(service!(LockServer, lock::LockDoor))
        .add_service(service!(ElectionServer, election::ElectionDoor))
}

/// etcd's plain HTTP paths: `/version`, `/health`, `/livez`, `/readyz`.
pub fn http(app: &Arc<App>) -> Router {
    http::router(Arc::clone(app))
}
