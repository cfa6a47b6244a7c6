//! etcd's JSON gateway on the client port: `POST /v3/kv/range` and the like.
//!
//! ```text
//!   JSON body --transcode--> message --> the gRPC services, in this process --> message --> JSON body
//! ```
//!
//! A request here is a gRPC call like any other, so rights, limits and refusals are the same; only a client
//! certificate does not say who calls, because etcd's gateway does not hand it on. Paths, names of fields and
//! error bodies are those of etcd 3.6, whose gateway is grpc-gateway v2.

mod call;
mod face;
mod methods;
mod transcode;
mod values;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::Request, routing::post};
use photon_server::{Bodies, Daemon, Door};
use prost_reflect::DescriptorPool;

use self::{call::Call, face::GatewayFace, methods::METHODS};
use crate::{app::App, etcd};

/// Base64 makes three bytes four, and JSON may escape and indent.
const JSON_GROWTH: usize = 2;

/// Methods that wait for other callers: the client's patience ends them, and at the latest this.
const WAITING: &[&str] = &["v3lockpb.Lock/Lock", "v3electionpb.Election/Campaign"];
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The gateway's paths, with their door.
///
/// # Errors
/// When a method of the table is not in the descriptors of this build.
pub(crate) fn router(app: &Arc<App>, daemon: &Daemon) -> anyhow::Result<Router> {
    let limits = app.config().http.clone();
    let patience = limits.request_timeout();
    let body_bytes = app.config().limits.request_bytes * JSON_GROWTH + limits.body_bytes;
    let door = |waits: bool| -> Door {
        let mut limits = limits.clone();
        limits.body_bytes = body_bytes;
        if waits {
            limits.request_timeout_ms = u64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(u64::MAX);
        }
        daemon
            .door("gateway")
            .face(GatewayFace)
            .bodies(Bodies::Any)
            .handlers_authenticate()
            .limits(limits)
    };

    let pool = DescriptorPool::decode(photon_proto::FILE_DESCRIPTOR_SET)
        .context("the protobuf descriptors cannot be read")?;
    let services = etcd::grpc(app).prepare();
    let (mut quick, mut waiting) = (Router::new(), Router::new());
    for (path, method) in METHODS {
        let call = Call::new(&pool, method, services.clone(), patience)?;
        let handler = post(move |request: Request| call.clone().answer(request));
        if WAITING.contains(method) {
            waiting = waiting.route(path, handler);
        } else {
            quick = quick.route(path, handler);
        }
    }
    Ok(door(false).wrap(quick).merge(door(true).wrap(waiting)))
}
