//! Every route and method there is, with every credential that must not open it.

use photon_auth::sweep::{Sweep, Tokens, declared, methods};
use photon_testkit::enforcing_iam;
use serde_json::json;

use crate::local::Caller;

/// Somebody with a good token who may do nothing any more.
async fn stranger(admin: &Caller) -> String {
    admin.tenant("other", "lab").await;
    admin.user("stranger").await;
    let bound = admin.bind("user:stranger", "viewer", "project:lab").await;
    let asked = json!({ "principal_id": "stranger", "scope_id": "lab" });
    let token = admin.post("/api/v1/auth/token", asked).await;
    let token = token.data()["token"].as_str().unwrap().to_owned();
    let binding = bound.data()["id"].as_str().unwrap();
    admin
        .delete(&format!("/api/v1/bindings/{binding}"))
        .await
        .data();
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_opens_to_a_bad_credential_or_to_a_stranger() {
    let iam = Box::pin(enforcing_iam()).await.unwrap();
    let admin = Caller::admin(&iam).await;
    admin.tenant("acme", "shop").await;
    admin.user("victim").await;
    let tokens = Tokens::from_stranger(&stranger(&admin).await).unwrap();
    let routes = iam::rest::declared();
    // Bodies that are good, so that what is refused is the caller.
    let bodies = [
        ("POST /api/v1/orgs", json!({ "name": "x" })),
        (
            "POST /api/v1/projects",
            json!({ "name": "x", "org_id": "acme" }),
        ),
        ("POST /api/v1/users", json!({ "name": "x" })),
        (
            "POST /api/v1/service-accounts",
            json!({ "name": "x", "project_id": "shop" }),
        ),
        (
            "POST /api/v1/roles",
            json!({ "id": "x", "permissions": ["a.b.c"] }),
        ),
        (
            "POST /api/v1/bindings",
            json!({ "principal": "user:victim", "role": "viewer", "scope": "project:shop" }),
        ),
        (
            "POST /api/v1/deny-rules",
            json!({ "permissions": ["a.b.c"], "scope": "project:shop" }),
        ),
        (
            "POST /api/v1/auth/revoke",
            json!({ "principal_id": "victim" }),
        ),
        ("POST /api/v1/auth/verify", json!({ "token": "x" })),
        (
            "POST /api/v1/credentials",
            json!({ "principal": "user:victim", "kind": "api_key" }),
        ),
        (
            "PUT /api/v1/users/{id}/password",
            json!({ "password": "a long enough password" }),
        ),
        ("POST /api/v1/host-tokens", json!({ "host": "h" })),
        (
            "POST /api/v1/host-tokens/redeem",
            json!({ "token": "x", "csr": "x" }),
        ),
        ("POST /api/v1/pki/renew", json!({ "csr": "x" })),
        (
            "POST /access/v1/evaluation",
            json!({
                "subject": { "type": "user", "id": "victim" },
                "action": { "name": "iam.users.get" },
                "resource": { "type": "project", "id": "shop" },
            }),
        ),
        (
            "POST /access/v1/evaluations",
            json!({ "evaluations": [{
                "subject": { "type": "user", "id": "victim" },
                "action": { "name": "iam.users.get" },
                "resource": { "type": "project", "id": "shop" },
            }] }),
        ),
    ];
    let sweep = Sweep::new(tokens)
        .rest(&iam.rest_url(), declared(&routes))
        .grpc(&iam.grpc_url(), methods(&iam::methods()))
        // About oneself everybody may ask.
        .everybody("GET /api/v1/whoami")
        .everybody("GET /api/v1/credentials")
        .everybody("POST /api/v1/auth/verify")
        .path_value("id", "victim")
        .path_value("kind", "user")
        .path_value("member", "victim");
    let sweep = bodies
        .into_iter()
        .fold(sweep, |sweep, (route, body)| sweep.body(route, body));
    // Where what is asked about has an id, it is the first field.
    let named = [&[0x0a, 6], "victim".as_bytes()].concat();
    let sweep = iam::methods().into_keys().fold(sweep, |sweep, method| {
        let about_one = [
            "Get",
            "Update",
            "Delete",
            "SetPassword",
            "AddMember",
            "RemoveMember",
        ];
        match method.rsplit('/').next() {
            Some(verb) if about_one.contains(&verb) => sweep.message(&method, named.clone()),
            _ => sweep,
        }
    });
    let mut report = sweep.run().await.unwrap();
    // Refused for what was left out, before anything was looked at.
    report.unclear.retain(|finding| {
        let target = finding.target.as_str();
        let left_out = target.starts_with("photon.iam.v1.") || target.contains(" /api/v1/audit");
        assert!(left_out, "{finding}");
        let about_one = target.ends_with("/Get") || target.ends_with("/Delete");
        about_one && !target.contains("Credentials")
    });
    report.assert_closed();
    iam.stop().await;
}
