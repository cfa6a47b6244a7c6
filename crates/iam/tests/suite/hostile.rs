//! What nobody should send: it is refused with the field named, and nothing is done.

use photon_testkit::in_process_iam;
use reqwest::Method;
use serde_json::{Value, json};

use crate::local::Caller;

/// Bodies of each resource that are good.
fn good() -> Vec<(&'static str, Value)> {
    vec![
        ("/api/v1/orgs", json!({ "id": "i", "name": "n" })),
        (
            "/api/v1/projects",
            json!({ "id": "i", "name": "n", "org_id": "o" }),
        ),
        (
            "/api/v1/users",
            json!({ "id": "i", "name": "n", "email": "", "type": "user", "org_id": "o" }),
        ),
        (
            "/api/v1/groups",
            json!({ "id": "i", "title": "t", "org_id": "o", "members": [] }),
        ),
        (
            "/api/v1/service-accounts",
            json!({ "id": "i", "name": "n", "project_id": "p" }),
        ),
        (
            "/api/v1/roles",
            json!({ "id": "i", "title": "t", "org_id": "o", "permissions": ["a.b.c"] }),
        ),
        (
            "/api/v1/bindings",
            json!({ "principal": "user:a", "role": "viewer", "scope": "system", "condition": null, "expires_at": null }),
        ),
        (
            "/api/v1/deny-rules",
            json!({ "principal": "user:a", "permissions": ["a.b.c"], "scope": "system", "condition": null }),
        ),
    ]
}

/// Values that are no id.
fn no_ids() -> Vec<Value> {
    vec![
        json!(""),
        json!("a/b"),
        json!("../x"),
        json!("."),
        json!(".."),
        json!(".hidden"),
        json!("-dash"),
        json!("Upper"),
        json!("a b"),
        json!("a\u{0}b"),
        json!("日本"),
        json!("a".repeat(64)),
        json!("a".repeat(10_000)),
        json!(7),
        json!({}),
        json!([]),
    ]
}

#[tokio::test]
async fn ids_that_are_none_never_reach_a_key() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    for (path, body) in good() {
        for field in ["id", "org_id", "project_id", "role", "principal", "scope"] {
            if body.get(field).is_none() {
                continue;
            }
            for bad in no_ids() {
                let bad = match (field, bad) {
                    ("principal", Value::String(id)) => json!(format!("user:{id}")),
                    ("scope", Value::String(id)) => json!(format!("project:{id}")),
                    (_, bad) => bad,
                };
                let mut body = body.clone();
                body[field] = bad.clone();
                let answer = operator.post(path, body).await;
                assert_eq!(
                    answer.error(),
                    (400, "VALIDATION_ERROR", field),
                    "{path} {bad}"
                );
            }
        }
        for bad in ["a%2Fb", ".hidden", "A", "a%00b", &"a".repeat(10_000), "%20"] {
            for method in [Method::GET, Method::PATCH, Method::DELETE] {
                let body = (method == Method::PATCH).then(|| json!({}));
                let one = format!("{path}/{bad}");
                let answer = operator.call(method.clone(), &one, body, None).await;
                let (status, code, _) = answer.error();
                let of_rules = path.ends_with("deny-rules") && method == Method::PATCH;
                let expected = if of_rules {
                    (405, "METHOD_NOT_ALLOWED")
                } else {
                    (404, "NOT_FOUND")
                };
                assert_eq!((status, code), expected, "{method} {one}");
            }
        }
    }
    for plural in [
        "users?scope_id=a/b",
        "projects?org_id=A",
        "bindings?scope=nowhere",
        "bindings?principal=alice",
    ] {
        let field = plural.split(['?', '=']).nth(1).unwrap();
        let answer = operator.get(&format!("/api/v1/{plural}")).await;
        assert_eq!(answer.error(), (400, "VALIDATION_ERROR", field), "{plural}");
    }
    for plural in ["orgs", "projects", "users", "groups", "bindings"] {
        let all = operator.get(&format!("/api/v1/{plural}")).await;
        assert!(all.ids(plural).is_empty(), "{plural}: {all:?}");
    }
    iam.stop().await;
}

#[tokio::test]
async fn bodies_and_queries_are_read_strictly() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    let refused = |field| (400, "VALIDATION_ERROR", field);
    for (path, body) in good() {
        if body.get("condition").is_some() {
            for empty in [json!({}), json!({ "source_networks": [] })] {
                let mut body = body.clone();
                body["condition"] = empty.clone();
                let answer = operator.post(path, body).await;
                assert_eq!(answer.error(), refused("condition"), "{path} {empty}");
            }
        }
        let mut more = body.clone();
        more["colour"] = json!("red");
        assert_eq!(
            operator.post(path, more).await.error(),
            refused("colour"),
            "{path}"
        );
        let twisted = json!([body]);
        assert_eq!(
            operator.post(path, twisted).await.error(),
            refused("body"),
            "{path}"
        );
        let unasked = operator
            .post(&format!("{path}?colour=red"), body.clone())
            .await;
        assert_eq!(unasked.error(), refused("colour"), "{path}");
        for (query, field) in [
            ("colour=red", "colour"),
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("limit=many", "limit"),
            ("limit=1&limit=2", "limit"),
            ("page_token=x", "page_token"),
        ] {
            let answer = operator.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.error(), refused(field), "{path}?{query}");
        }
        let one = format!("{path}/bnd-0198c0de-0000-7000-8000-000000000001");
        let answer = operator.get(&format!("{one}?colour=red")).await;
        assert_eq!(answer.error(), refused("colour"), "{one}");
        let body = Some(json!({ "colour": "red" }));
        for method in [Method::GET, Method::DELETE] {
            let answer = operator
                .call(method.clone(), &one, body.clone(), None)
                .await;
            assert_eq!(answer.error(), refused("colour"), "{method} {one}");
        }
        for required in body_fields(path) {
            let mut less = good()
                .into_iter()
                .find(|(other, _)| *other == path)
                .unwrap()
                .1;
            less.as_object_mut().unwrap().remove(*required);
            assert_eq!(
                operator.post(path, less).await.error(),
                refused(required),
                "{path}"
            );
        }
    }
    for (path, body, field) in [
        ("orgs", json!({ "name": "" }), "name"),
        ("orgs", json!({ "name": " " }), "name"),
        ("orgs", json!({ "name": "a\nb" }), "name"),
        ("orgs", json!({ "name": "x".repeat(201) }), "name"),
        ("orgs", json!({ "id": "system", "name": "x" }), "id"),
        (
            "projects",
            json!({ "id": "system", "name": "x", "org_id": "o" }),
            "id",
        ),
        ("users", json!({ "name": "x", "email": "nobody" }), "email"),
        ("users", json!({ "name": "x", "type": "group" }), "type"),
        ("groups", json!({ "members": ["alice"] }), "members[0]"),
        (
            "groups",
            json!({ "members": vec!["user:a"; 101] }),
            "members",
        ),
        (
            "roles",
            json!({ "id": "r", "permissions": [] }),
            "permissions",
        ),
        (
            "roles",
            json!({ "id": "r", "permissions": ["a.b"] }),
            "permissions[0]",
        ),
        (
            "roles",
            json!({ "id": "viewer", "permissions": ["a.b.c"] }),
            "id",
        ),
        (
            "roles",
            json!({ "id": "service-mine", "permissions": ["a.b.c"] }),
            "id",
        ),
        (
            "bindings",
            json!({ "principal": "user:a", "role": "no-such", "scope": "system" }),
            "role",
        ),
        (
            "bindings",
            json!({ "principal": "user:a", "role": "viewer", "scope": "system", "expires_at": "2020-01-01T00:00:00Z" }),
            "expires_at",
        ),
        (
            "bindings",
            json!({ "principal": "user:a", "role": "viewer", "scope": "system", "expires_at": "soon" }),
            "expires_at",
        ),
        (
            "bindings",
            json!({ "principal": "user:a", "role": "viewer", "scope": "system", "condition": { "networks": [] } }),
            "condition.networks",
        ),
        (
            "bindings",
            json!({
                "principal": "user:a", "role": "viewer", "scope": "system",
                "condition": { "source_networks": ["10.0.0.0/8", "x"] },
            }),
            "condition.source_networks[1]",
        ),
        (
            "bindings",
            json!({
                "principal": "user:a", "role": "viewer", "scope": "system",
                "condition": { "not_before": "2030-01-02T00:00:00Z", "not_after": "2030-01-01T00:00:00Z" },
            }),
            "condition.not_after",
        ),
        (
            "deny-rules",
            json!({ "permissions": [], "scope": "system" }),
            "permissions",
        ),
    ] {
        let answer = operator
            .post(&format!("/api/v1/{path}"), body.clone())
            .await;
        assert_eq!(answer.error(), refused(field), "{path} {body}");
    }
    let bad = operator
        .call(Method::PATCH, "/api/v1/orgs/x", Some(json!({})), Some("7"))
        .await;
    assert_eq!(bad.error(), refused("If-Match"));
    iam.stop().await;
}

/// What a body must have.
fn body_fields(path: &str) -> &'static [&'static str] {
    match path.rsplit('/').next().unwrap() {
        "orgs" | "users" => &["name"],
        "projects" => &["name", "org_id"],
        "service-accounts" => &["name", "project_id"],
        "roles" => &["id", "permissions"],
        "bindings" => &["principal", "role", "scope"],
        "deny-rules" => &["permissions", "scope"],
        _ => &[],
    }
}

#[tokio::test]
async fn members_are_principals() {
    let iam = Box::pin(in_process_iam()).await.unwrap();
    let operator = Caller::of(&iam);
    operator
        .post("/api/v1/groups", json!({ "id": "ops" }))
        .await
        .data();
    for bad in ["person/alice", "user/A", "user/a%2Fb", "user/%20"] {
        let path = format!("/api/v1/groups/ops/members/{bad}");
        assert_eq!(operator.put(&path).await.error().0, 404, "{bad}");
        assert_eq!(operator.delete(&path).await.error().0, 404, "{bad}");
    }
    let path = "/api/v1/groups/ops/members/user/alice";
    let added = operator.put(path).await;
    assert_eq!(added.data()["members"], json!(["user:alice"]));
    assert_eq!(operator.put(path).await.revision(), added.revision());
    assert_eq!(operator.delete(path).await.data()["members"], json!([]));
    assert_eq!(operator.delete(path).await.error(), (404, "NOT_FOUND", ""));
    iam.stop().await;
}
