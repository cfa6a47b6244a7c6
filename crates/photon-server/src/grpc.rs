//! gRPC beside HTTP on one port, health, reflection, and the common error as a gRPC status.

use std::convert::Infallible;

use axum::{Router, extract::Request, response::IntoResponse as _};
use http::header;
use photon_core::{Code, Error};
use tonic::{Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::ServiceExt as _;

use crate::health::Phase;

/// The common error as a gRPC status: the code's number and the public message.
#[must_use]
pub fn status(error: &Error) -> Status {
    if error.code() == Code::INTERNAL {
        tracing::error!(
            cause = error.causes().as_deref().unwrap_or("none"),
            "request failed inside"
        );
    }
    Status::new(tonic::Code::from_i32(error.code().grpc), error.message())
}

/// gRPC services, and beside them plain HTTP routes on the same port.
///
/// A path that is neither is answered by the HTTP routes' own 404, or, when the request is gRPC or there
/// are no HTTP routes, with `UNIMPLEMENTED`. gRPC requests pass nothing but the router.
pub fn router(routes: Routes, http: Option<Router>) -> Router {
    let grpc = routes.prepare().into_axum_router();
    let Some(http) = http else { return grpc };
    let http = http.with_state(());
    let neither = tower::service_fn(move |request: Request| {
        let http = http.clone();
        async move {
            if is_grpc(&request) {
                let status: http::Response<tonic::body::Body> =
                    Status::unimplemented("unknown service or method").into_http();
                return Ok::<_, Infallible>(status.into_response());
            }
            http.oneshot(request).await
        }
    });
    grpc.reset_fallback().fallback_service(neither)
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The reflection service (v1) over encoded file descriptor sets.
pub(crate) fn with_reflection(
    routes: Routes,
    descriptors: &[&'static [u8]],
) -> Result<Routes, Error> {
    if descriptors.is_empty() {
        return Ok(routes);
    }
    let mut builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for set in descriptors {
        builder = builder.register_encoded_file_descriptor_set(set);
    }
    let service = builder.build_v1().map_err(Error::internal)?;
    Ok(routes.add_service(service))
}

/// Keeps `grpc.health.v1` in step with the process. Ends with the drain: whoever watches is told
/// `NOT_SERVING`, then its stream is closed so that it does not hold the drain up.
pub(crate) async fn follow_health(
    mut reporter: HealthReporter,
    mut phase: tokio::sync::watch::Receiver<Phase>,
) {
    loop {
        let now = phase.borrow_and_update().clone();
        let serving = match now {
            Phase::Ready => ServingStatus::Serving,
            Phase::Starting | Phase::NotReady(_) | Phase::Draining => ServingStatus::NotServing,
        };
        reporter.set_service_status("", serving).await;
        if now == Phase::Draining || phase.changed().await.is_err() {
            reporter.clear_service_status("").await;
            return;
        }
    }
}
