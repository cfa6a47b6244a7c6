//! What stands around every REST handler, once.
//!
//! ```text
//! request ─> load shed ─> dev gate ─> media type, lengths ─> identity ─> handler (deadline, panics caught)
//!                                                                          │
//! answer  <─ headers, log, metrics <── face renders <── rest of the body <─┘
//! ```

mod gate;
mod record;
mod unread;

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use http_body_util::Limited;
use jiff::Timestamp;
use photon_core::{Code, Error};
use tokio::{sync::Semaphore, time::Instant};
use uuid::Uuid;

use crate::{
    auth::{Admission, Authenticator, CertificateAuthenticator, Identity},
    config::{LimitsConfig, Mode},
    face::{Face, GuideFace, Meta},
    metrics::{HttpMetrics, Metrics},
    peer::Peer,
    rest::{Deadline, Outcome, RequestId, RestError},
};
use record::Record;
use unread::Unread;

/// Paths that answer without a credential, and also when everything else is shed.
const OPEN_PATHS: &[&str] = &["/health", "/livez", "/readyz"];

/// Path and query of a request. hyper, below us, refuses 64 KiB by itself and without our envelope.
const URI_BYTES: usize = 32 << 10;

/// Names and values of a request's headers; hyper refuses some 400 KiB.
const HEADER_BYTES: usize = 64 << 10;

const REQUEST_ID: &str = "x-request-id";

/// Which bodies a door takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// `application/json` only; anything else is 415.
    Json,
    /// Any media type: for protocols whose clients do not declare one.
    Any,
}

/// The things around a router's handlers. Made by [`crate::Daemon::door`].
#[derive(Clone)]
pub struct Door {
    name: &'static str,
    face: Arc<dyn Face>,
    mode: Mode,
    authenticator: Option<Arc<dyn Authenticator>>,
    limits: LimitsConfig,
    bodies: Bodies,
    in_flight: Arc<Semaphore>,
    metrics: HttpMetrics,
}

impl Door {
    /// A door in the guide's style: its envelope, JSON bodies, client certificates.
    /// `name` is the `door` label of its metrics.
    #[must_use]
    pub fn new(name: &'static str, mode: Mode, limits: LimitsConfig, metrics: &Metrics) -> Self {
        Self {
            name,
            face: Arc::new(GuideFace),
            mode,
            authenticator: Some(Arc::new(CertificateAuthenticator)),
            in_flight: Arc::new(Semaphore::new(limits.max_in_flight)),
            limits,
            bodies: Bodies::Json,
            metrics: metrics.http().clone(),
        }
    }

    /// Renders with another face.
    #[must_use]
    pub fn face(mut self, face: impl Face) -> Self {
        self.face = Arc::new(face);
        self
    }

    /// Takes other bodies.
    #[must_use]
    pub fn bodies(mut self, bodies: Bodies) -> Self {
        self.bodies = bodies;
        self
    }

    /// Finds callers another way.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = Some(authenticator);
        self
    }

    /// Leaves finding the caller, and refusing requests without one, to the handlers. The gate against
    /// browsers in dev mode stays.
    #[must_use]
    pub fn handlers_authenticate(mut self) -> Self {
        self.authenticator = None;
        self
    }

    /// Other limits than the daemon's.
    #[must_use]
    pub fn limits(mut self, limits: LimitsConfig) -> Self {
        self.in_flight = Arc::new(Semaphore::new(limits.max_in_flight));
        self.limits = limits;
        self
    }

    /// The router with this door around all its routes, and around the answers for paths and methods it
    /// does not have.
    pub fn wrap(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), pass))
    }

    /// Everything that can refuse a request before its handler, then the handler.
    async fn admit(
        &self,
        id: RequestId,
        request: Request,
        next: Next,
        record: &mut Record,
    ) -> Response {
        let open = OPEN_PATHS.contains(&request.uri().path());
        let _permit = match self.in_flight.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) if open => None,
            Err(_) => {
                return refuse(Error::new(
                    Code::OVERLOADED,
                    "too many requests are in flight",
                ));
            }
        };
        let deadline = Instant::now() + self.limits.request_timeout();
        let (parts, body) = request.into_parts();
        let has_body = !hyper::body::Body::is_end_stream(&body);
        // With h2 a request that is not read to its end costs its own stream only.
        if !has_body || parts.version >= Version::HTTP_2 {
            let request = Request::from_parts(parts, body);
            return self.serve(id, request, next, record, deadline).await;
        }
        let unread = Unread::of(&parts.headers);
        let request = Request::from_parts(parts, unread.lend(body));
        let response = self.serve(id, request, next, record, deadline).await;
        if unread.is_cut() {
            record.client_left();
            return response;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let patience = left.min(self.limits.header_timeout());
        unread.discard(patience).await;
        response
    }

    async fn serve(
        &self,
        id: RequestId,
        request: Request,
        next: Next,
        record: &mut Record,
        deadline: Instant,
    ) -> Response {
        let (mut parts, body) = request.into_parts();
        let has_body = !hyper::body::Body::is_end_stream(&body);
        if let Err(error) = self.check(&parts, has_body) {
            return refuse(error);
        }
        parts.extensions.insert(id);
        parts.extensions.insert(Deadline(deadline));
        let open = OPEN_PATHS.contains(&parts.uri.path());
        match self.identify(&mut parts, open).await {
            Ok(Some(identity)) => {
                record.identity = Some(identity.to_string());
                parts.extensions.insert(identity);
            }
            Ok(None) => {}
            Err(error) => return refuse(error),
        }
        let body = Body::new(Limited::new(body, self.limits.body_bytes));
        let handler = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind();
        match tokio::time::timeout_at(deadline, handler).await {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => refuse(Error::internal(panic_text(panic.as_ref()))),
            Err(_) => refuse(Error::new(
                Code::DEADLINE_EXCEEDED,
                "the request took too long; a change it asks for may still take effect",
            )),
        }
    }

    fn check(&self, parts: &Parts, has_body: bool) -> Result<(), Error> {
        if self.mode == Mode::Dev {
            gate::refuse_browsers(parts)?;
        }
        check_head(parts)?;
        if self.bodies == Bodies::Json && has_body {
            gate::require_json(parts)?;
        }
        match content_length(&parts.headers) {
            Some(length) if length > self.limits.body_bytes as u64 => Err(Error::new(
                Code::PAYLOAD_TOO_LARGE,
                format!(
                    "the body has {length} bytes; at most {} are taken",
                    self.limits.body_bytes
                ),
            )),
            _ => Ok(()),
        }
    }

    async fn identify(&self, parts: &mut Parts, open: bool) -> Result<Option<Identity>, Error> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(None);
        };
        if open {
            return Ok(None);
        }
        let peer = parts.extensions.get::<Peer>().cloned();
        let admission = authenticator.admit(parts, peer.as_ref()).await?;
        match (admission, self.mode) {
            (Admission::Known(identity), _) => Ok(Some(identity)),
            (Admission::Open, _) => Ok(None),
            (Admission::Anonymous, Mode::Dev) => Ok(Some(Identity::DevOperator)),
            (Admission::Anonymous, Mode::Enforce) => {
                Err(Error::unauthenticated("a credential is required"))
            }
        }
    }

    /// The final form of an answer.
    fn render(
        &self,
        response: Response,
        id: RequestId,
        method: &Method,
        record: &mut Record,
    ) -> Response {
        let meta = Meta {
            request_id: id.0,
            timestamp: Timestamp::now(),
        };
        let (mut parts, body) = response.into_parts();
        let outcome = parts.extensions.remove::<Outcome>();
        let error = match (outcome, parts.status) {
            (Some(Outcome::Data(json)), status) => {
                return with_headers(self.face.data(status, &json, &meta), &parts.headers);
            }
            // The router knows the path but not the method, and adds `Allow` to whatever passes here.
            (_, StatusCode::METHOD_NOT_ALLOWED) if method == Method::OPTIONS => {
                return with_headers(StatusCode::NO_CONTENT.into_response(), &parts.headers);
            }
            (Some(Outcome::Error(error)), _) => error,
            (None, status) if status.is_client_error() || status.is_server_error() => {
                Arc::new(without_outcome(status, method))
            }
            (None, _) => return Response::from_parts(parts, body),
        };
        record.note(&error);
        let mut response = with_headers(self.face.error(&error, &meta), &parts.headers);
        if let Some(seconds) = retry_after(&error) {
            let headers = response.headers_mut();
            headers.entry(header::RETRY_AFTER).or_insert(seconds.into());
        }
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(challenge) = self.challenge()
        {
            let headers = response.headers_mut();
            headers.entry(header::WWW_AUTHENTICATE).or_insert(challenge);
        }
        response
    }

    fn challenge(&self) -> Option<HeaderValue> {
        self.authenticator.as_ref()?.challenge()
    }
}

/// About as long as an election takes.
const SOON_SECONDS: u64 = 1;

async fn pass(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    let method = request.method().clone();
    let theirs = client_request_id(request.headers());
    let record = Record::begin(door.name, &request, id, theirs.as_ref());
    let mut on_its_way = OnItsWay::new(record, &door.metrics);
    let record = &mut on_its_way.record;
    let response = door.admit(id, request, next, record).await;
    let mut response = door.render(response, id, &method, record);

    let echoed = theirs.or_else(|| HeaderValue::from_str(&id.0.to_string()).ok());
    let headers = response.headers_mut();
    if let Some(value) = echoed {
        headers.insert(REQUEST_ID, value);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    on_its_way.answered = Some(response.status());
    response
}

/// A request that is not done yet. It is counted down, logged and counted also when its client goes away and the future is dropped.
struct OnItsWay<'a> {
    record: Record,
    answered: Option<StatusCode>,
    metrics: &'a HttpMetrics,
}

impl<'a> OnItsWay<'a> {
    fn new(record: Record, metrics: &'a HttpMetrics) -> Self {
        metrics.in_flight.inc();
        Self {
            record,
            answered: None,
            metrics,
        }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.record.finish(self.answered, self.metrics);
    }
}

fn refuse(error: Error) -> Response {
    RestError(error).into_response()
}

/// An error answer that no handler of ours gave: the router's own, or an extractor's of axum.
fn without_outcome(status: StatusCode, method: &Method) -> Error {
    match status {
        StatusCode::NOT_FOUND => Error::new(Code::NOT_FOUND, "there is nothing at this path"),
        StatusCode::METHOD_NOT_ALLOWED => Error::new(
            Code::METHOD_NOT_ALLOWED,
            format!("{method} is not possible here; see the Allow header"),
        ),
        status => {
            let reason = status.canonical_reason().unwrap_or("the request failed");
            Error::new(Code::by_http(status.as_u16()), reason.to_ascii_lowercase())
        }
    }
}

/// When to ask again, in seconds: what an error's details say in `retry_after_seconds`, and soon for what is away.
fn retry_after(error: &Error) -> Option<u64> {
    let said = error
        .details()
        .and_then(|details| details.get("retry_after_seconds")?.as_u64());
    let away = error.code().http == StatusCode::SERVICE_UNAVAILABLE.as_u16();
    said.or(away.then_some(SOON_SECONDS))
}

/// Keeps what a handler set beside its content, as `Allow`, `Location` or `Retry-After`.
fn with_headers(mut response: Response, handler: &HeaderMap) -> Response {
    for (name, value) in handler {
        if !matches!(
            *name,
            header::CONTENT_LENGTH | header::CONTENT_TYPE | header::TRANSFER_ENCODING
        ) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// Heads that are too long, within what hyper lets pass.
fn check_head(parts: &Parts) -> Result<(), Error> {
    let uri = parts
        .uri
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    if uri > URI_BYTES {
        return Err(Error::new(
            Code::URI_TOO_LONG,
            format!("path and query have {uri} bytes; at most {URI_BYTES} are taken"),
        ));
    }
    let headers = parts.headers.iter();
    let bytes: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > HEADER_BYTES {
        return Err(Error::new(
            Code::HEADERS_TOO_LARGE,
            format!("the headers have {bytes} bytes; at most {HEADER_BYTES} are taken"),
        ));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A client's own id for the request, if it is fit to be echoed and logged.
fn client_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(REQUEST_ID)?;
    let bytes = value.as_bytes();
    (!bytes.is_empty() && bytes.len() <= 128 && bytes.iter().all(u8::is_ascii_graphic))
        .then(|| value.clone())
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text");
    format!("handler panicked: {text}")
}
