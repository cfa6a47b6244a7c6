//! A service's methods behind their guard, and reflection.

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use photon_auth::{Auth, grpc::Guard};
use photon_core::Error;
use photon_server::{
    Peer,
    grpc::{reflection, reflection_v1alpha, status},
};
use tonic::service::Routes;

/// Every method behind the guard, and reflection of what `descriptors` describe. Health is the daemon's.
///
/// # Errors
/// A method that the guard does not know.
pub fn routes(
    auth: &Auth,
    guard: Guard,
    descriptors: &'static [u8],
    services: Routes,
) -> anyhow::Result<Routes> {
    let guarded = guard.around(auth, services)?;
    let reflected = for_the_known(auth, reflection_routes(descriptors)?);
    // Each has what answers for unknown paths; the daemon's own comes behind both.
    let routes = guarded.into_axum_router().merge(reflected.reset_fallback());
    Ok(routes.into())
}

fn reflection_routes(descriptors: &'static [u8]) -> Result<Routes, Error> {
    let described = [descriptors];
    let routes = Routes::new(reflection(&described)?);
    Ok(routes.add_service(reflection_v1alpha(&described)?))
}

/// Routes for every caller that proves to be somebody: what strangers cannot call need not be described to them.
fn for_the_known(auth: &Auth, routes: Routes) -> Router {
    let layer = from_fn_with_state(auth.clone(), refuse_unknown);
    routes.into_axum_router().layer(layer)
}

async fn refuse_unknown(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let caller = auth.caller(&parts, parts.extensions.get::<Peer>()).await;
    let refused = match caller {
        Ok(Some(_)) => return next.run(Request::from_parts(parts, body)).await,
        Ok(None) => Error::unauthenticated("a credential is required"),
        Err(error) => error,
    };
    status(&refused).into_http()
}
