//! The OpenAPI document of all routes.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

use super::{builtin, envelope};
use crate::{price, quota, reservation, statement, transaction, wallet};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CreditService",
        description = "What projects pay from. Amounts are whole minor units of the currency (JPY has no smaller one): JSON \
                       integers, no strings, no fractions. In dev mode no credential is needed; a credential that is shown \
                       is checked in either mode. What belongs to others, or does not exist, answers 404.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        wallet::rest::create, wallet::rest::list, wallet::rest::get, wallet::rest::update,
        wallet::rest::top_up, wallet::rest::charge, wallet::rest::refund, wallet::rest::adjust,
        transaction::rest::list,
        statement::rest::get,
        reservation::rest::create, reservation::rest::list, reservation::rest::get,
        reservation::rest::commit, reservation::rest::release, reservation::rest::extend,
        quota::rest::list, quota::rest::set, quota::rest::unset, quota::rest::limits, quota::rest::register,
        price::rest::list, price::rest::publish,
        builtin::health, builtin::readyz, builtin::livez, builtin::metrics,
    ),
    components(schemas(envelope::ErrorEnvelope, envelope::ErrorBody, envelope::Meta)),
    modifiers(&Credentials),
    tags(
        (name = "wallets", description = "What projects pay from"),
        (name = "transactions", description = "What happened to them"),
        (name = "statements", description = "What a wallet had, what happened, what it has"),
        (name = "reservations", description = "Credit that is held until it is charged or given back"),
        (name = "quotas", description = "How much of each kind a project may have, and has"),
        (name = "prices", description = "What usage costs"),
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

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/creditservice.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    // What the daemon answers to everybody.
    for path in ["/health", "/livez", "/readyz"] {
        let item = document.paths.paths.get_mut(path);
        if let Some(operation) = item.and_then(|item| item.get.as_mut()) {
            operation.security = Some(Vec::new());
        }
    }
    document
}
