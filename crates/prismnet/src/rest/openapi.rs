//! The OpenAPI document of all routes.

use photon_service::openapi::{Credentials, complete};
use utoipa::OpenApi;

use crate::{external, floating, group, port, route, rule, subnet, vpc};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "PrismNET",
        description = "Tenant networks: VPCs, subnets, ports with addresses, security groups, routes; external networks and floating \
                       IPs. In dev mode no credential is needed; a credential that is shown is checked in either mode. What belongs to others, or does not \
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
        external::rest::create, external::rest::list, external::rest::get, external::rest::update,
        external::rest::delete,
        floating::rest::create, floating::rest::list, floating::rest::get, floating::rest::update,
        floating::rest::delete,
    ),
    modifiers(&Credentials),
    tags(
        (name = "vpcs", description = "Networks of projects"),
        (name = "subnets", description = "Their segments"),
        (name = "ports", description = "Addresses in them, of guests, pods and services"),
        (name = "security-groups", description = "What ports may send and receive"),
        (name = "routes", description = "Ways that a VPC knows"),
        (name = "external-networks", description = "The world outside; operators make them"),
        (name = "floating-ips", description = "Addresses outside, for ports"),
    )
)]
struct Document;

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/prismnet.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    complete(&mut document, &super::declared());
    document
}
