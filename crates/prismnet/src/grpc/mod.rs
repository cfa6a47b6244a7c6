//! The gRPC doors: `photon.prismnet.v1`, the use cases of the REST doors in other words.
//!
//! ```text
//!   request ─> photon_auth's Guard: who it is, the method's permission ─> door: message -> parsed types ─> use case
//!                                                                                        │
//!   response or status <── message <───────────────────────────────────────────────────┘
//! ```
//! Each service's is the `grpc.rs` of its resource. Nothing is decided here. Every method of the proto stands in `methods.rs` with what it needs; one that
//! does not keeps the service from starting.

pub(crate) mod fields;
mod methods;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    middleware::{Next, from_fn_with_state},
    response::Response as HttpResponse,
};
use photon_auth::{Auth, Context};
use photon_core::Error;
use photon_proto::{
    PRISMNET_FILE_DESCRIPTOR_SET,
    photon::prismnet::v1::{
        ports_server::PortsServer, routes_server::RoutesServer,
        security_groups_server::SecurityGroupsServer, subnets_server::SubnetsServer,
        vpcs_server::VpcsServer,
    },
};
use photon_server::{
    Peer,
    grpc::{GoWords, reflection, reflection_v1alpha, status},
};
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
    let guarded = methods::guard(PRISMNET_FILE_DESCRIPTOR_SET).around(&app.auth, services(app))?;
    let reflected = for_the_known(&app.auth, reflection_routes()?);
    // Each has what answers for unknown paths; the daemon's own comes behind both.
    let routes = guarded.into_axum_router().merge(reflected.reset_fallback());
    Ok(routes.into())
}

/// What each method needs, for tests that try them all.
#[must_use]
pub fn declared() -> std::collections::BTreeMap<String, photon_auth::grpc::Needs> {
    methods::guard(PRISMNET_FILE_DESCRIPTOR_SET)
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
        VpcsServer,
        SubnetsServer,
        PortsServer,
        SecurityGroupsServer,
        RoutesServer
    )
}

fn reflection_routes() -> Result<Routes, Error> {
    let described = [PRISMNET_FILE_DESCRIPTOR_SET];
    let routes = Routes::new(reflection(&described)?);
    Ok(routes.add_service(reflection_v1alpha(&described)?))
}

/// Routes for every caller that proves to be somebody: what strangers cannot call need not be described to them.
fn for_the_known(auth: &Auth, routes: Routes) -> Router {
    let layer = from_fn_with_state(auth.clone(), refuse_unknown);
    routes.into_axum_router().layer(layer)
}

async fn refuse_unknown(
    State(auth): State<Auth>,
    request: HttpRequest,
    next: Next,
) -> HttpResponse {
    let (parts, body) = request.into_parts();
    let caller = auth.caller(&parts, parts.extensions.get::<Peer>()).await;
    let refused = match caller {
        Ok(Some(_)) => return next.run(HttpRequest::from_parts(parts, body)).await,
        Ok(None) => Error::unauthenticated("a credential is required"),
        Err(error) => error,
    };
    status(&refused).into_http()
}
