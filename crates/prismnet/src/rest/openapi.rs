//! The OpenAPI document of all routes.

use std::collections::HashSet;

use http::Method;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr, Required, Schema,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{builtin, envelope, idempotency};
use crate::{group, port, route, rule, subnet, vpc};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "PrismNET",
        description = "Tenant networks: VPCs, subnets, ports with addresses, security groups, routes. In dev mode no credential is \
                       needed; a credential that is shown is checked in either mode. What belongs to others, or does not \
                       exist, answers 404.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        vpc::rest::create, vpc::rest::list, vpc::rest::get, vpc::rest::update, vpc::rest::delete,
        subnet::rest::create, subnet::rest::list, subnet::rest::get, subnet::rest::update, subnet::rest::delete,
        port::rest::create, port::rest::list, port::rest::get, port::rest::update, port::rest::delete,
        group::rest::create, group::rest::list, group::rest::get, group::rest::update, group::rest::delete,
        rule::rest::create, rule::rest::list, rule::rest::delete,
        route::rest::create, route::rest::list, route::rest::get, route::rest::delete,
        builtin::health, builtin::readyz, builtin::livez, builtin::metrics,
    ),
    components(schemas(envelope::ErrorEnvelope, envelope::ErrorBody, envelope::Meta)),
    modifiers(&Credentials),
    tags(
        (name = "vpcs", description = "Networks of projects"),
        (name = "subnets", description = "Their segments"),
        (name = "ports", description = "Addresses in them, of guests, pods and services"),
        (name = "security-groups", description = "What ports may send and receive"),
        (name = "routes", description = "Ways that a VPC knows"),
        (name = "process", description = "Whether the service is well, and what it counts"),
    )
)]
struct Document;

/// The ways to say who one is, and that most routes want one of them.
struct Credentials;

/// Bearer token.
const BEARER: &str = "bearer";
/// Client certificate.
const CERTIFICATE: &str = "certificate";

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let bearer = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A token of IAM's /api/v1/auth/token."))
            .build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        components.add_security_scheme(
            CERTIFICATE,
            SecurityScheme::MutualTls {
                description: Some("A client certificate of the suite.".to_owned()),
                deprecated: None,
                extensions: None,
            },
        );
        let either = [BEARER, CERTIFICATE]
            .map(|scheme| SecurityRequirement::new(scheme, Vec::<String>::new()));
        document.security = Some(either.into());
    }
}

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/prismnet.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let declared = super::declared();
    for route in declared.iter().filter(|route| route.creates) {
        if let Some(operation) = operation(&mut document, &route.method, &route.path) {
            idempotency::describe(operation);
        }
    }
    let built_in = ["/health", "/livez", "/readyz"].map(|path| (&Method::GET, path));
    // What the daemon answers to everybody.
    for (method, path) in built_in {
        if let Some(operation) = operation(&mut document, method, path) {
            operation.security = Some(Vec::new());
        }
    }
    say_which_bodies_may_be_absent(&mut document);
    document
}

/// A body that is absent is read as `{}`: it may be left out where nothing in it is required.
fn say_which_bodies_may_be_absent(document: &mut utoipa::openapi::OpenApi) {
    let schemas = document.components.as_ref().map(|all| &all.schemas);
    let needed: HashSet<String> = schemas
        .into_iter()
        .flatten()
        .filter(|(_, schema)| matches!(schema, RefOr::T(Schema::Object(object)) if !object.required.is_empty()))
        .map(|(name, _)| format!("#/components/schemas/{name}"))
        .collect();
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            if let Some(RefOr::T(body)) = &mut operation.request_body
                && let Some(RefOr::T(json)) = body.content.get("application/json")
                && let Some(RefOr::Ref(schema)) = &json.schema
                && !needed.contains(&schema.ref_location)
            {
                body.required = Some(Required::False);
            }
        }
    }
}

fn operation<'a>(
    document: &'a mut utoipa::openapi::OpenApi,
    method: &Method,
    path: &str,
) -> Option<&'a mut Operation> {
    let item = document.paths.paths.get_mut(path)?;
    match *method {
        Method::GET => item.get.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::PATCH => item.patch.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    }
}
