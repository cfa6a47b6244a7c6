//! The OpenAPI document of all routes.

use photon_service::openapi::{Credentials, complete};
use utoipa::OpenApi;

use crate::{
    access, audit, binding, credential, deny_rule, group, oauth, org, pki, project, role,
    service_account, signing, token, user, wellknown,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "IAM",
        description = "Who someone is, and what they may do. In dev mode no credential is needed; a credential that is \
                       shown is checked in either mode. What belongs to others, or does not exist, answers 404.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        org::rest::create, org::rest::list, org::rest::get, org::rest::update, org::rest::delete,
        project::rest::create, project::rest::list, project::rest::get, project::rest::update, project::rest::delete,
        user::rest::create, user::rest::list, user::rest::get, user::rest::update, user::rest::delete,
        group::rest::create, group::rest::list, group::rest::get, group::rest::update, group::rest::delete,
        group::rest::add_member, group::rest::remove_member,
        service_account::rest::create, service_account::rest::list, service_account::rest::get,
        service_account::rest::update, service_account::rest::delete,
        role::rest::create, role::rest::list, role::rest::get, role::rest::update, role::rest::delete,
        binding::rest::create, binding::rest::list, binding::rest::get, binding::rest::update, binding::rest::delete,
        deny_rule::rest::create, deny_rule::rest::list, deny_rule::rest::get, deny_rule::rest::delete,
    ),
    modifiers(&Credentials),
    tags(
        (name = "tokens", description = "Issued, verified, revoked"),
        (name = "orgs", description = "Customers, or departments: they own projects"),
        (name = "projects", description = "Where resources live"),
        (name = "users", description = "People"),
        (name = "groups", description = "Several principals under one name"),
        (name = "service-accounts", description = "Programs of a project"),
        (name = "credentials", description = "What principals prove themselves with"),
        (name = "roles", description = "Named sets of permissions"),
        (name = "bindings", description = "Who has which role where"),
        (name = "deny-rules", description = "What is taken away, whatever bindings say"),
        (name = "access", description = "Whether somebody may do something"),
    )
)]
struct Document;

/// The document, as it is served at `/openapi.json` and kept in `docs/api/openapi/iam.yaml`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for part in parts() {
        document.merge(part);
    }
    complete(&mut document, &super::declared());
    document
}

/// The documents of the modules that have their own.
fn parts() -> [utoipa::openapi::OpenApi; 8] {
    [
        token::RestDoc::openapi(),
        credential::RestDoc::openapi(),
        signing::RestDoc::openapi(),
        wellknown::RestDoc::openapi(),
        oauth::RestDoc::openapi(),
        access::RestDoc::openapi(),
        audit::RestDoc::openapi(),
        pki::RestDoc::openapi(),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::collections::HashMap;

    use super::*;

    /// The first one to be merged would stand for both.
    #[test]
    fn no_two_things_have_the_same_name() {
        let mut seen = HashMap::new();
        let mut twice = Vec::new();
        for document in std::iter::once(Document::openapi()).chain(parts()) {
            let document = serde_json::to_value(document).unwrap();
            let schemas = document["components"]["schemas"].as_object();
            for (name, schema) in schemas.into_iter().flatten() {
                let first = seen.entry(name.clone()).or_insert_with(|| schema.clone());
                if first != schema {
                    twice.push(name.clone());
                }
            }
        }
        assert!(twice.is_empty(), "{twice:?}");
        assert!(seen.contains_key("Envelope_Users"), "{:?}", seen.keys());
    }
}
