//! gRPC beside HTTP on one port, health, reflection, and the common error as a gRPC status.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{Router, extract::Request, response::IntoResponse as _};
use futures::{TryFutureExt as _, future::MapOk};
use http::{HeaderValue, header};
use photon_core::{Code, Error};
use tonic::{Status, server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::{Service, ServiceExt as _};

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

/// A gRPC service that refuses messages beyond its limit as Go's servers do: `RESOURCE_EXHAUSTED` and
/// `grpc: received message larger than max (… vs. …)`, with `photon-error-code: PAYLOAD_TOO_LARGE`. tonic says
/// `OUT_OF_RANGE`, which in a store means that a revision is.
#[derive(Clone, Debug)]
pub struct SaysTooLarge<S>(pub S);

impl<S: NamedService> NamedService for SaysTooLarge<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = http::Response<tonic::body::Body>;

impl<S, R> Service<R> for SaysTooLarge<S>
where
    S: Service<R, Response = Answer>,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(Answer) -> Answer>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.call(request).map_ok(name_too_large)
    }
}

fn name_too_large(answer: Answer) -> Answer {
    const OUT_OF_RANGE: &[u8] = b"11";
    let status = answer.headers().get(Status::GRPC_STATUS);
    if status.is_none_or(|status| status.as_bytes() != OUT_OF_RANGE) {
        return answer;
    }
    let Some(text) =
        Status::from_header_map(answer.headers()).and_then(|status| too_large(&status))
    else {
        return answer;
    };
    let mut answer = Status::resource_exhausted(text).into_http();
    answer.headers_mut().insert(
        "photon-error-code",
        HeaderValue::from_static(Code::PAYLOAD_TOO_LARGE.name),
    );
    answer
}

/// Go's text for a refusal of tonic's decoder.
fn too_large(status: &Status) -> Option<String> {
    let text = status
        .message()
        .strip_prefix("Error, decoded message length too large: found ")?;
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|number| !number.is_empty());
    let (found, limit) = (numbers.next()?, numbers.next()?);
    Some(format!(
        "grpc: received message larger than max ({found} vs. {limit})"
    ))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_the_decoders_refusal_is_renamed() {
        let tonics = Status::out_of_range(
            "Error, decoded message length too large: found 30 bytes, the limit is: 20 bytes",
        );
        let renamed = name_too_large(tonics.into_http());
        let renamed = Status::from_header_map(renamed.headers()).unwrap();
        assert_eq!(renamed.code(), tonic::Code::ResourceExhausted);
        assert_eq!(
            renamed.message(),
            "grpc: received message larger than max (30 vs. 20)"
        );
        for other in [
            Status::out_of_range("etcdserver: mvcc: required revision has been compacted"),
            Status::internal("Error, decoded message length too large: found 30"),
        ] {
            let code = other.code();
            let kept = name_too_large(other.into_http());
            assert_eq!(
                Status::from_header_map(kept.headers()).unwrap().code(),
                code
            );
        }
    }
}
