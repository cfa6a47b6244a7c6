//! What stands before every rpc of the client port in enforce mode: a client certificate, or a token that holds.
//!
//! Most services find out themselves who calls, and what of it counts; this is for those that ask nobody, as etcd's
//! `Status`, and for whatever is added and forgets to. Open stays `Authenticate`, which is where tokens come from.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use chainfire_engine::EtcdError;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Either},
};
use http::{HeaderMap, Request, Response};
use photon_server::Mode;
use tonic::{Extensions, Status, body::Body, codegen::Service, server::NamedService};

use super::enter::common_name;
use crate::app::{App, Credentials};

const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

/// Refuses a token that does not hold by itself, watch by watch.
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A gRPC service behind the gate.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    service: S,
    /// None in dev mode, which asks nobody.
    app: Option<Arc<App>>,
    refuse: fn(EtcdError) -> Status,
}

impl<S> Gate<S> {
    /// Puts the gate before a service; `refuse` says no in the service's way.
    pub(crate) fn before(service: S, app: &Arc<App>, refuse: fn(EtcdError) -> Status) -> Self {
        let enforced = app.config().auth.mode == Mode::Enforce;
        Self {
            service,
            app: enforced.then(|| Arc::clone(app)),
            refuse,
        }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

type Answer = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Answer>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(app) = self.app.as_ref().filter(|_| !passes(&request)) else {
            return Either::Left(self.service.call(request));
        };
        let (app, refuse) = (Arc::clone(app), self.refuse);
        let headers = request.headers().clone();
        // The clone was not asked whether it is ready: tonic's services always are.
        let mut service = self.service.clone();
        let admitted = async move {
            match admit(&app, &headers, &Extensions::new()).await {
                Ok(()) => service.call(request).await,
                Err(error) => Ok(refuse(error).into_http()),
            }
        };
        Either::Right(admitted.boxed())
    }
}

/// Whether nothing is to be asked, or only by the service.
fn passes(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    common_name(request.extensions()).is_some()
        || path == AUTHENTICATE
        || (path == WATCH && token(request.headers()).is_some())
}

/// Whether this is somebody, as far as what comes with a request says.
///
/// # Errors
/// In enforce mode without a certificate: `user name is empty` without a token, `invalid auth token`, timeout.
pub(crate) async fn admit(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(), EtcdError> {
    let (token, common_name) = (token(headers), common_name(extensions));
    if let Some(token) = token.filter(|_| common_name.is_none()) {
        app.await_token(token).await?;
    }
    app.admit(Credentials { token, common_name })
}

/// Bare as etcd's clients send it, or in the form of other headers.
fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers
        .get("token")
        .or_else(|| headers.get("authorization"))?;
    let token = value.to_str().ok()?;
    Some(token.strip_prefix("Bearer ").unwrap_or(token))
}
