//! gRPC beside HTTP on one port, health, reflection, and the common error as a gRPC status.

use std::{
    convert::Infallible,
    fmt::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, extract::Request, response::IntoResponse as _};
use http::{HeaderValue, Uri, header};
use photon_core::{Code, Error};
use tonic::{Status, metadata::AsciiMetadataValue, server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::{Service, ServiceExt as _};

use crate::health::Phase;

/// The suite's error code beside the coarser gRPC one.
pub const ERROR_CODE: &str = "photon-error-code";
/// What a program may read about an error, as JSON in ASCII.
pub const ERROR_DETAILS: &str = "photon-error-details";
/// The longest text put into metadata: clients limit all of an answer's together, often to 8 KiB.
const METADATA_BYTES: usize = 4096;

/// The common error as a gRPC status: the code's number and the public message, and as metadata [`ERROR_CODE`] and
/// [`ERROR_DETAILS`].
#[must_use]
pub fn status(error: &Error) -> Status {
    if error.code() == Code::INTERNAL {
        tracing::error!(
            cause = error.causes().as_deref().unwrap_or("none"),
            "request failed inside"
        );
    }
    let mut status = Status::new(tonic::Code::from_i32(error.code().grpc), error.message());
    put(&mut status, ERROR_CODE, error.code().name);
    if let Some(details) = error.details() {
        put(&mut status, ERROR_DETAILS, &in_ascii(&details.to_string()));
    }
    status
}

/// What does not fit into metadata stays out of it.
fn put(status: &mut Status, key: &'static str, text: &str) {
    if text.len() <= METADATA_BYTES
        && let Ok(value) = AsciiMetadataValue::try_from(text)
    {
        status.metadata_mut().insert(key, value);
    }
}

/// The same JSON in ASCII: other characters, which stand in strings only, escaped. An error's details quote what the
/// caller sent.
fn in_ascii(json: &str) -> String {
    json.chars().fold(String::new(), |mut text, c| {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}"); // writing to a string cannot fail
            }
        }
        text
    })
}

/// gRPC services, and beside them plain HTTP routes on the same port.
///
/// A path that is neither is answered by the HTTP routes' own 404, or, when the request is gRPC or there
/// are no HTTP routes, with `UNIMPLEMENTED` and grpc-go's `unknown service …`. gRPC requests pass nothing but the
/// router.
pub fn router(routes: Routes, http: Option<Router>) -> Router {
    let grpc = routes.prepare().into_axum_router();
    let http: Option<Router> = http.map(|http| http.with_state(()));
    let neither = tower::service_fn(move |request: Request| {
        let http = http.clone().filter(|_| !is_grpc(&request));
        async move {
            match http {
                Some(http) => http.oneshot(request).await,
                None => {
                    let status: Answer = unknown_service(request.uri().path()).into_http();
                    Ok::<_, Infallible>(status.into_response())
                }
            }
        }
    });
    grpc.reset_fallback().fallback_service(neither)
}

fn unknown_service(path: &str) -> Status {
    Status::unimplemented(match service_and_method(path) {
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {path:?}"),
    })
}

/// `/package.Service/Method`.
fn service_and_method(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.rsplit_once('/')
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A gRPC service that refuses in grpc-go's words what tonic refuses by itself:
///
/// - a message beyond its limit: `RESOURCE_EXHAUSTED` and `grpc: received message larger than max (… vs. …)`, with
///   `photon-error-code: PAYLOAD_TOO_LARGE`. tonic says `OUT_OF_RANGE`, which in a store means that a revision is.
/// - a method it does not have: `unknown method … for service …`. tonic says nothing beside `UNIMPLEMENTED`.
#[derive(Clone, Debug)]
pub struct GoWords<S>(pub S);

impl<S: NamedService> NamedService for GoWords<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = http::Response<tonic::body::Body>;

impl<S, B> Service<http::Request<B>> for GoWords<S>
where
    S: Service<http::Request<B>, Response = Answer>,
    S::Future: Unpin,
{
    type Response = Answer;
    type Error = S::Error;
    type Future = Reworded<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Reworded {
            asked: request.uri().clone(),
            answer: self.0.call(request),
        }
    }
}

/// The answer of a [`GoWords`].
#[derive(Debug)]
pub struct Reworded<F> {
    asked: Uri,
    answer: F,
}

impl<F, E> Future for Reworded<F>
where
    F: Future<Output = Result<Answer, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { asked, answer } = self.get_mut();
        Pin::new(answer)
            .poll(context)
            .map_ok(|answer| name_unknown_method(asked.path(), name_too_large(answer)))
    }
}

fn name_unknown_method(path: &str, answer: Answer) -> Answer {
    const UNIMPLEMENTED: &[u8] = b"12";
    let headers = answer.headers();
    let status = headers.get(Status::GRPC_STATUS);
    if status.is_none_or(|status| status.as_bytes() != UNIMPLEMENTED)
        || headers.contains_key(Status::GRPC_MESSAGE)
    {
        return answer;
    }
    let Some((service, method)) = service_and_method(path) else {
        return answer;
    };
    Status::unimplemented(format!("unknown method {method} for service {service}")).into_http()
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
        ERROR_CODE,
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

/// The reflection services (v1, and v1alpha for older clients) over encoded file descriptor sets.
pub(crate) fn with_reflection(
    routes: Routes,
    descriptors: &[&'static [u8]],
) -> Result<Routes, Error> {
    if descriptors.is_empty() {
        return Ok(routes);
    }
    Ok(routes
        .add_service(reflection(descriptors)?)
        .add_service(reflection_v1alpha(descriptors)?))
}

/// The reflection service (v1) by itself, for daemons that put something before it.
///
/// # Errors
/// Descriptors that cannot be read.
pub fn reflection(descriptors: &[&'static [u8]]) -> Result<impl GrpcService + use<>, Error> {
    let service = reflected(descriptors).build_v1();
    service.map(GoWords).map_err(Error::internal)
}

/// The same under its older name, which clients ask for that do not know the newer one.
///
/// # Errors
/// Descriptors that cannot be read.
pub fn reflection_v1alpha(
    descriptors: &[&'static [u8]],
) -> Result<impl GrpcService + use<>, Error> {
    let service = reflected(descriptors).build_v1alpha();
    service.map(GoWords).map_err(Error::internal)
}

/// What both names show: the services of `descriptors`, health, and each other.
fn reflected<'a>(descriptors: &[&'static [u8]]) -> tonic_reflection::server::Builder<'a> {
    let own: [&'static [u8]; 3] = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    own.iter().chain(descriptors).fold(
        tonic_reflection::server::Builder::configure().include_reflection_service(false),
        |builder, set| builder.register_encoded_file_descriptor_set(set),
    )
}

/// What [`Routes`] take.
pub trait GrpcService:
    NamedService
    + Service<
        http::Request<tonic::body::Body>,
        Response = Answer,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> GrpcService for S where
    S: NamedService
        + Service<
            http::Request<tonic::body::Body>,
            Response = Answer,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
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
            Phase::Ready(_) => ServingStatus::Serving,
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
    fn a_status_says_the_suites_code_and_details() {
        let found = status(&Error::required("key"));
        assert_eq!(found.code(), tonic::Code::InvalidArgument);
        assert_eq!(
            found.metadata().get(ERROR_CODE).unwrap(),
            "VALIDATION_ERROR"
        );
        let details = found.metadata().get(ERROR_DETAILS).unwrap();
        assert!(details.to_str().unwrap().contains("\"key\""));
        // Whatever was quoted.
        let foreign = Error::validation("ключ🔑", "pattern", "x");
        let found = status(&foreign);
        let details = found.metadata().get(ERROR_DETAILS).unwrap();
        let details: serde_json::Value = serde_json::from_str(details.to_str().unwrap()).unwrap();
        assert_eq!(details["field"], "ключ🔑");
        // Too much of it is left out, not an error.
        let long = status(&Error::validation(&"x".repeat(10_000), "length", "x"));
        assert!(long.metadata().get(ERROR_DETAILS).is_none());
    }

    #[test]
    fn only_tonics_own_unimplemented_is_named() {
        let path = "/a.b.C/D";
        let named = name_unknown_method(path, Status::unimplemented("").into_http());
        let named = Status::from_header_map(named.headers()).unwrap();
        assert_eq!(named.code(), tonic::Code::Unimplemented);
        assert_eq!(named.message(), "unknown method D for service a.b.C");
        for other in [Status::unimplemented("not here"), Status::internal("")] {
            let (code, text) = (other.code(), other.message().to_owned());
            let kept = name_unknown_method(path, other.into_http());
            let kept = Status::from_header_map(kept.headers()).unwrap();
            assert_eq!((kept.code(), kept.message()), (code, text.as_str()));
        }
    }

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
