//! What the OpenAPI documents of all services share.

use std::collections::HashSet;

use http::Method;
use photon_auth::rest::Declared;
use photon_server::rest::{ErrorEnvelope, builtin};
use utoipa::{
    IntoResponses, Modify,
    openapi::{
        OpenApi, RefOr, Required, Schema,
        path::{Operation, PathItem},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::idempotency;

/// The failures every route shares.
#[derive(IntoResponses)]
pub enum Failure {
    /// The request is wrong; `details` name the field.
    #[response(status = 400)]
    Validation(ErrorEnvelope),
    /// No credential, or one that is not accepted.
    #[response(status = 401)]
    Unauthenticated(ErrorEnvelope),
    /// The caller may not do this.
    #[response(status = 403)]
    Forbidden(ErrorEnvelope),
    /// The thing does not exist, or the caller must not learn that it does.
    #[response(status = 404)]
    NotFound(ErrorEnvelope),
    /// The path has no such method; `Allow` names those it has.
    #[response(status = 405)]
    WrongMethod(ErrorEnvelope),
    /// It exists already, somebody else changed it meanwhile, or its state does not allow this; the code says which.
    #[response(status = 409)]
    Conflict(ErrorEnvelope),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorEnvelope),
    /// Path and query are too long.
    #[response(status = 414)]
    UriTooLong(ErrorEnvelope),
    /// The body is not JSON.
    #[response(status = 415)]
    NotJson(ErrorEnvelope),
    /// Too many attempts; `Retry-After` says how many seconds to wait.
    #[response(status = 429)]
    TooMany(ErrorEnvelope),
    /// The headers are too large.
    #[response(status = 431)]
    HeadersTooLarge(ErrorEnvelope),
    /// A defect of ours.
    #[response(status = 500)]
    Internal(ErrorEnvelope),
    /// The store cannot be reached, or there is too much to do: try again.
    #[response(status = 503)]
    Unavailable(ErrorEnvelope),
    /// The store's space quota is used up.
    #[response(status = 507)]
    NoSpace(ErrorEnvelope),
}

/// The ways to say who one is, and that most routes want one of them.
pub struct Credentials;

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

/// Makes a service's document whole: with what the daemon answers, which routes need no credential, which heed an
/// `Idempotency-Key`, and which bodies may be absent.
pub fn complete(document: &mut OpenApi, declared: &[Declared]) {
    document.merge(builtin::document());
    let open = declared.iter().filter(|route| route.permission.is_none());
    let open = open.map(|route| (&route.method, route.path.as_str()));
    let built_in = builtin::OPEN.map(|path| (&Method::GET, path));
    for (method, path) in open.chain(built_in) {
        if let Some(operation) = operation(document, method, path) {
            operation.security = Some(Vec::new());
        }
    }
    for route in declared.iter().filter(|route| route.creates) {
        if let Some(operation) = operation(document, &route.method, &route.path) {
            idempotency::add_header(operation);
        }
    }
    for item in document.paths.paths.values_mut() {
        changes(item).for_each(idempotency::add_refusal);
    }
    say_which_bodies_may_be_absent(document);
}

/// The operations of a path that may have a body.
fn changes(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let operations = [
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    operations.into_iter().flatten()
}

/// A body that is absent is read as `{}`: it may be left out where nothing in it is required.
fn say_which_bodies_may_be_absent(document: &mut OpenApi) {
    let schemas = document.components.as_ref().map(|all| &all.schemas);
    let needed: HashSet<String> = schemas
        .into_iter()
        .flatten()
        .filter(|(_, schema)| matches!(schema, RefOr::T(Schema::Object(object)) if !object.required.is_empty()))
        .map(|(name, _)| format!("#/components/schemas/{name}"))
        .collect();
    for item in document.paths.paths.values_mut() {
        for operation in changes(item) {
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

/// What a document says of a route.
pub fn operation<'a>(
    document: &'a mut OpenApi,
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
