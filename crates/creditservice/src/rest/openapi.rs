//! The OpenAPI document of all routes.

use photon_service::openapi::{Credentials, complete};
use utoipa::OpenApi;

use crate::{billing, price, quota, reservation, statement, transaction, wallet};

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
        billing::rest::get, billing::rest::set, billing::rest::unset,
    ),
    modifiers(&Credentials),
    tags(
        (name = "wallets", description = "What projects pay from"),
        (name = "transactions", description = "What happened to them"),
        (name = "statements", description = "What a wallet had, what happened, what it has"),
        (name = "reservations", description = "Credit that is held until it is charged or given back"),
        (name = "quotas", description = "How much of each kind a project may have, and has"),
        (name = "prices", description = "What usage costs"),
        (name = "billing", description = "Whether projects must have a wallet"),
    )
)]
struct Document;

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/creditservice.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    complete(&mut document, &super::declared());
    document
}
