//! Queries and bodies that a route does not take: refused by the first field's name, so that what was sent to the wrong
//! route, or misspelt, is not taken for heeded. What a route takes, the OpenAPI document says.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequest as _, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::Method;
use photon_core::Error;
use serde_json::Value;

use super::{Json, Nothing, RestError, from_query};

/// The routes there are, those that take a query, and those that take a body.
#[derive(Debug, Default)]
pub struct Taken {
    routes: HashSet<(Method, String)>,
    queries: HashSet<(Method, String)>,
    bodies: HashSet<(Method, String)>,
}

impl Taken {
    /// Reads a document.
    ///
    /// # Errors
    /// One that is none.
    pub fn of(document: &utoipa::openapi::OpenApi) -> Result<Self, Error> {
        let document = serde_json::to_value(document).map_err(Error::internal)?;
        let mut taken = Self::default();
        for (path, operations) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in operations.as_object().into_iter().flatten() {
                let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else {
                    continue;
                };
                let route = (method, path.clone());
                if takes_query(operation) {
                    taken.queries.insert(route.clone());
                }
                if operation.get("requestBody").is_some() {
                    taken.bodies.insert(route.clone());
                }
                taken.routes.insert(route);
            }
        }
        Ok(taken)
    }
}

fn takes_query(operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array();
    let mut parameters = parameters.into_iter().flatten();
    parameters.any(|parameter| parameter["in"] == "query")
}

/// Around every route: refuses what it does not take.
pub async fn refuse_surplus(
    State(taken): State<Arc<Taken>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let method = match request.method() {
        &Method::HEAD => Method::GET,
        method => method.clone(),
    };
    let route = (method, path.as_str().to_owned());
    if !taken.routes.contains(&route) {
        // A method that the path does not have: 405, whatever it comes with.
        return next.run(request).await;
    }
    if !taken.queries.contains(&route)
        && let Err(error) = no_query(&request)
    {
        return RestError(error).into_response();
    }
    if taken.bodies.contains(&route) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match Json::<Nothing>::from_request(Request::new(body), &()).await {
        Ok(Json(Nothing {})) => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(error) => error.into_response(),
    }
}

fn no_query(request: &Request) -> Result<(), Error> {
    from_query::<Nothing>(request.uri().query().unwrap_or_default()).map(|Nothing {}| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[derive(utoipa::OpenApi)]
    #[openapi(paths(list, create))]
    struct Document;

    #[utoipa::path(get, path = "/things", params(("limit" = Option<u32>, Query)), responses((status = 200)))]
    #[expect(dead_code, reason = "only described")]
    fn list() {}

    #[utoipa::path(post, path = "/things", request_body = String, responses((status = 201)))]
    #[expect(dead_code, reason = "only described")]
    fn create() {}

    #[test]
    fn what_is_taken_is_what_is_documented() {
        use utoipa::OpenApi as _;

        let taken = Taken::of(&Document::openapi()).unwrap();
        let things = |method| (method, "/things".to_owned());
        assert!(taken.queries.contains(&things(Method::GET)));
        assert!(!taken.queries.contains(&things(Method::POST)));
        assert!(taken.bodies.contains(&things(Method::POST)));
        assert!(!taken.bodies.contains(&things(Method::GET)));
        assert!(taken.routes.contains(&things(Method::GET)));
        assert!(!taken.routes.contains(&things(Method::DELETE)));
    }
}
